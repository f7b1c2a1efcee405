"""Cells of one source, whatever its format: what every reader has."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from tahoe_distill.cells.matrix import Matrix

if TYPE_CHECKING:
    from anndata import AnnData

# Cells copied at a time.
_STEP = 4096


class Cells:
    """Cells by genes. A format subclasses it, sets the attributes and says where tables and embeddings come from.

    Args:
        where: What the source is, for messages.
        matrix: The matrix that was chosen.
        path: The file; ``None`` for cells in memory.
        is_raw: Whether the genes are those of ``raw``, so that they need not be those of ``var``.
        is_anndata: Whether the source is AnnData, so that a copy keeps all there is.
        suffix: Suffix of the file that :meth:`copy_to` writes; ``None`` where it cannot.
    """

    where: str
    matrix: Matrix
    path: Path | None = None
    is_raw: bool = False
    is_anndata: bool = False
    suffix: str | None = ".h5ad"

    @property
    def var(self) -> pd.DataFrame:
        """Table of the genes."""
        raise NotImplementedError

    @property
    def obs(self) -> pd.DataFrame:
        """Table of the cells."""
        raise NotImplementedError

    def embedding(self, key: str) -> Any:
        """An array-like of ``obsm`` that reads rows when sliced.

        Raises:
            ValueError: When there is none of that name.
        """
        raise ValueError(f"{self.where}: obsm has no array {key!r}; found none")

    def obs_column(self, name: str) -> pd.Series:
        """A column of ``obs`` without its index.

        Raises:
            ValueError: When there is none of that name.
        """
        obs = self.obs
        if name not in obs.columns:
            found = ", ".join(map(str, obs.columns)) or "none"
            raise ValueError(f"{self.where}: obs has no column {name!r}; found {found}")
        return pd.Series(obs[name].array)

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return self.matrix.shape[0]

    @property
    def n_vars(self) -> int:
        """Number of genes."""
        return self.matrix.shape[1]

    @property
    def storage(self) -> str:
        """How the matrix was found stored: ``csr``, ``csc`` or ``dense``."""
        return self.matrix.storage

    def __len__(self) -> int:
        return self.n_obs

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Cells ``start`` to ``stop - 1`` as canonical CSR (n, genes); not to be changed, for it may share memory."""
        return self.matrix.rows(start, stop)

    def values(self) -> Iterator[np.ndarray]:
        """All stored values, in pieces and any order."""
        return self.matrix.values()

    def sample(self) -> np.ndarray:
        """Some of the values that are not zero, from start, middle and end."""
        return self.matrix.sample()

    def width(self) -> int:
        """Non-zero values of a cell, on average; all genes for a dense matrix."""
        return self.matrix.width()

    def to_anndata(self, numbers: np.ndarray | None = None) -> "AnnData":
        """Cells in memory: the matrix as ``X``, and the two tables.

        Args:
            numbers: (n,) which cells; all where left out.
        """
        if numbers is None:
            return _anndata(self.rows(0, self.n_obs), obs=self.obs, var=self.var)
        rows = sparse.vstack([self.rows(number, number + 1) for number in numbers.tolist()], format="csr")
        return _anndata(rows, obs=self.obs.iloc[numbers], var=self.var)

    def copy_to(self, path: str | os.PathLike[str]) -> None:
        """Write all of the source as AnnData that can be added to; memory does not grow with it."""
        _anndata(obs=self.obs, var=self.var).write_h5ad(path)
        with h5py.File(path, "r+") as file:
            self._copy_matrix(file.create_group("X"))

    def _copy_matrix(self, group: h5py.Group) -> None:
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": self.matrix.shape})
        dtypes = {"data": self.rows(0, min(1, self.n_obs)).dtype, "indices": np.int32}
        for name, dtype in dtypes.items():
            group.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(1 << 16,), dtype=dtype, compression="lzf")
        indptr = np.zeros(self.n_obs + 1, dtype=np.int64)
        for start in range(0, self.n_obs, _STEP):
            stop = min(start + _STEP, self.n_obs)
            rows = self.rows(start, stop)
            indptr[start + 1 : stop + 1] = indptr[start] + rows.indptr[1:]
            for name in dtypes:
                group[name].resize((int(indptr[stop]),))
                group[name][int(indptr[start]) :] = getattr(rows, name)
        group.create_dataset("indptr", data=indptr)

    def close(self) -> None:
        """Let go of what was opened or written."""
        self.matrix.close()

    def __enter__(self) -> "Cells":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _anndata(matrix: Any = None, **tables: pd.DataFrame) -> "AnnData":
    from anndata import AnnData

    with warnings.catch_warnings():
        # Symbols repeat; the matcher has its own word on that.
        warnings.filterwarnings("ignore", message=".*names are not unique")
        return AnnData(matrix, **{name: table.copy() for name, table in tables.items()})
