"""MDS shards on disk and in stores: written, fetched, checked and read as a data set."""
