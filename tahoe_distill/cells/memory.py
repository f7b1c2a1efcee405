"""Cells of an AnnData object: in memory, a view, or backed by a file."""

from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from anndata import AnnData

from tahoe_distill.cells.base import Cells
from tahoe_distill.cells.matrix import Matrix, MemoryMatrix, StoredMatrix


class MemoryCells(Cells):
    """Cells of an AnnData; what is backed by a file is read from it piece by piece.

    Args:
        adata: Cells by genes; not changed.
        layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
        turned: Folder for the row-wise copy of a backed matrix that is stored by columns.

    Raises:
        ValueError: When there is no such matrix.
    """

    where = "adata"
    is_anndata = True
    suffix = None

    def __init__(self, adata: AnnData, layer: str | None = None, turned: Path | None = None):
        self._adata = adata
        self.is_raw = layer == "raw" and layer not in adata.layers and adata.raw is not None
        if layer is not None and not self.is_raw and layer not in adata.layers:
            found = [*adata.layers, *(["raw"] if adata.raw is not None else [])]
            raise ValueError(f"layer {layer!r} is not there; found {', '.join(found) or 'none'}")
        matrix = adata.raw.X if self.is_raw else adata.X if layer is None else adata.layers[layer]
        if matrix is None:
            raise ValueError("adata.X is empty; expected counts there, or name their layer")
        self.matrix = _matrix(matrix, turned)

    @property
    def var(self) -> pd.DataFrame:
        """Table of the genes."""
        return self._adata.raw.var if self.is_raw else self._adata.var

    @property
    def obs(self) -> pd.DataFrame:
        """Table of the cells."""
        return self._adata.obs

    def embedding(self, key: str) -> Any:
        """An array of ``obsm``."""
        if key not in self._adata.obsm:
            found = ", ".join(self._adata.obsm) or "none"
            raise ValueError(f"{self.where}: obsm has no array {key!r}; found {found}")
        return self._adata.obsm[key]


def recognises(source: object) -> bool:
    """Whether a source is an AnnData object."""
    return isinstance(source, AnnData)


def _matrix(matrix: Any, turned: Path | None) -> Matrix:
    # Backed matrices are a data set, or an object around the group of a sparse one.
    node = getattr(matrix, "group", matrix)
    if isinstance(node, (h5py.Dataset, h5py.Group)):
        return StoredMatrix(node, MemoryCells.where, turned=turned)
    return MemoryMatrix(matrix)
