"""Cells from anywhere: one reader, one matcher of genes, one check of values, whatever the format."""
