"""The data path: AnnData files to MDS shards, shards to batches."""

import importlib

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


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tahoe_distill.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted([*globals(), *_PUBLIC])
