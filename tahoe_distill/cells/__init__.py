"""Cells from anywhere: one reader, one matcher of genes, one check of values, whatever the format."""

import importlib
from typing import Any

# Name -> module of this package that defines it, handed out when asked for: a light import pays for no file format.
_PUBLIC = {
    "Cells": "cells",
    "DrugTable": "drugs",
    "Format": "formats",
    "GeneMatch": "genes",
    "check_cells": "values",
    "describe_genes": "species",
    "expand_inputs": "formats",
    "human_symbols": "symbols",
    "match_genes": "genes",
    "open_cells": "formats",
    "read_symbols": "symbols",
    "register_format": "formats",
    "with_symbols": "symbols",
}

__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
