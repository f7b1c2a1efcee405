"""A teacher's outputs for the cells of a run, computed once and kept: record, writing, reading, collating."""
