"""Cells in, vectors out: everything a user of a student calls."""

import importlib

# Name -> module of this package that defines it, handed out when asked for.
_PUBLIC = {
    "CellEncoder": "encoder",
    "Options": "options",
    "TahoePreprocessor": "preprocessor",
    "check_determinism": "determinism",
    "decode": "decoding",
    "embed": "api",
    "embed_file": "files",
    "examine": "doctor",
    "export_onnx": "onnx",
    "load_student": "loading",
}

__all__ = list(_PUBLIC)


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
    globals()[name] = value
    return value
