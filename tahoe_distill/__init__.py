"""Distil Tahoe-x1 single-cell foundation models into small Hugging Face students, and embed cells with them."""

from tahoe_distill.lazy import hand_out

__version__ = "0.1.0"

# Name -> module that defines it; none for a module of this package.
_PUBLIC: dict[str, str | None] = {
    "Tx1Config": "tahoe_distill.models",
    "Tx1Model": "tahoe_distill.models",
    "Tx1Processor": "tahoe_distill.models",
    "GeneVocab": "tahoe_distill.models",
    "load_teacher": "tahoe_distill.teacher",
    "distill": "tahoe_distill.fitting",
    "annotate": "tahoe_distill.annotation",
    "embed": "tahoe_distill.embedding",
    "TahoePreprocessor": "tahoe_distill.embedding",
    "tl": None,
}

__all__ = ["__version__", *_PUBLIC]
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
