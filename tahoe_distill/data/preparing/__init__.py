"""AnnData files to MDS shards: plan, chunks of cells, splits."""
