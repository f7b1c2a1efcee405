"""Distil Tahoe-x1 single-cell foundation models into small Hugging Face students, and embed cells with them."""

import importlib

__version__ = "0.1.0"

# Name -> module that defines it. Handed out lazily, so that a light import never pays for training.
_PUBLIC = {
    "Tx1Config": "tahoe_distill.models",
    "Tx1Model": "tahoe_distill.models",
    "Tx1Processor": "tahoe_distill.models",
    "GeneVocab": "tahoe_distill.models",
    "load_teacher": "tahoe_distill.teacher",
    "embed": "tahoe_distill.embedding",
    "TahoePreprocessor": "tahoe_distill.embedding",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tahoe_distill' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__():
    return sorted([*globals(), *_PUBLIC])
