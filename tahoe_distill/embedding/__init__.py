"""Cells in, vectors out: everything a user of a student calls."""

import importlib

# Name -> module that defines it, handed out when asked for.
_PUBLIC = {
    "CellEncoder": "tahoe_distill.models",
    "Options": "tahoe_distill.embedding.options",
    "TahoePreprocessor": "tahoe_distill.embedding.preprocessor",
    "check_determinism": "tahoe_distill.embedding.determinism",
    "decode": "tahoe_distill.embedding.decoding",
    "embed": "tahoe_distill.embedding.in_memory",
    "embed_file": "tahoe_distill.embedding.files",
    "examine": "tahoe_distill.embedding.doctor",
    "export_onnx": "tahoe_distill.embedding.backends",
    "load_student": "tahoe_distill.embedding.loading",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value
