"""The data path: AnnData files to MDS shards, shards to batches."""

from tahoe_distill.lazy import hand_out

# Name -> module. Handed out lazily: collating must not pay for reading h5ad, nor preparing for the loader.
_PUBLIC = {
    "prepare_shards": "tahoe_distill.data.preparing.prepare",
    "Tx1Collator": "tahoe_distill.data.collating.collator",
    "CellDataset": "tahoe_distill.data.shards.dataset",
    "CellStream": "tahoe_distill.data.shards.stream",
    "ShardError": "tahoe_distill.data.shards.reader",
    "safe_loads": "tahoe_distill.data.shards.safe_pickle",
}

__all__ = list(_PUBLIC)
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
