"""Cells in, vectors out: everything a user of a student calls."""

from .api import embed
from .encoder import CellEncoder
from .loading import load_student

__all__ = ["CellEncoder", "embed", "load_student"]
