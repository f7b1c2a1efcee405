"""Cells of h5ad files and zarr stores, those of AnnData before 0.7 included."""

import os
import shutil
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from anndata import AnnData, read_h5ad

from tahoe_distill.cells.base import Cells
from tahoe_distill.cells.matrix import StoredMatrix
from tahoe_distill.cells.stores import close_store, is_zarr, open_store, opened

try:
    from anndata.io import read_elem
except ImportError:  # anndata before 0.11
    from anndata.experimental import read_elem

_TABLES = ("obs", "var")


class AnnDataStore(Cells):
    """Cells of an h5ad file or a zarr store; no more than the asked rows are in memory.

    Args:
        path: File (h5ad), folder or zip file (zarr).
        layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
        turned: Folder for the row-wise copy of a matrix that is stored by columns.

    Raises:
        ValueError: When it cannot be read, lacks the matrix, or its parts do not fit together.
    """

    is_anndata = True

    def __init__(self, path: str | os.PathLike[str], layer: str | None = None, turned: Path | None = None):
        self.path: Path = Path(path)
        self.where = str(path)
        self.suffix = None if self.path.suffix == ".zip" else ".zarr" if is_zarr(path) else ".h5ad"
        self._root = open_store(path)
        try:
            self._open(layer, turned)
        except KeyError as error:
            close_store(self._root)
            raise ValueError(
                f"{self.where}: a part of it is missing, or a link that leads nowhere ({error.args[0]}); the file is "
                "damaged, or one that belongs to it is not here"
            ) from error
        except BaseException:
            close_store(self._root)
            raise

    def _open(self, layer: str | None, turned: Path | None) -> None:
        # Files of AnnData before 0.7 keep whole tables in one data set.
        is_legacy = isinstance(self._root.get("obs"), h5py.Dataset)
        self._legacy = _read_legacy(self.path) if is_legacy else None
        name = self._find(layer)
        self.is_raw = name.startswith("raw")
        self.matrix = StoredMatrix(self._root[name], self.where, turned=turned)
        self._check_lengths(name)

    def _find(self, layer: str | None) -> str:
        missing = [name for name in _TABLES if name not in self._root]
        if missing:
            found = ", ".join(sorted(self._root)) or "nothing"
            raise ValueError(f"{self.where}: has no {missing[0]!r}, so it is not AnnData; found {found}")
        names = {None: ["X"], "X": ["layers/X", "X"], "raw": ["layers/raw", "raw/X", "raw.X"]}
        wanted = names.get(layer, [f"layers/{layer}"])
        for name in wanted:
            if name in self._root:
                return name
        there = [name for name in ("X", "raw/X", "raw.X") if name in self._root]
        there += [f"layers/{name}" for name in self._root["layers"]] if "layers" in self._root else []
        raise ValueError(
            f"{self.where}: has no {wanted[-1]}; found {', '.join(there) or 'no matrix at all'}. Choose one with layer "
            "(a layer's name, or raw)"
        )

    def _check_lengths(self, name: str) -> None:
        """Compare with the matrix whatever has something for each cell: what does not fit, no copy would either."""
        obs = self._root["obs"]
        if self._legacy is not None:
            parts = {"obs": obs}
        else:
            index = obs.attrs.get("_index", "_index")
            columns = [column for column in obs.attrs.get("column-order", ()) if column != index]
            parts = {"obs": obs[index], **{f"obs column {column!r}": obs[column] for column in columns}}
            for group in ("obsm", "layers"):
                parts |= {f"{group}/{key}": self._root[group][key] for key in self._root.get(group, ())}
        for part, node in parts.items():
            count = _length(node)
            if count is not None and count != self.n_obs:
                raise ValueError(
                    f"{self.where}: {name} has {self.n_obs} rows, but {part} has {count} cells; the file is damaged. "
                    "Copy or download it again"
                )

    @cached_property
    def var(self) -> pd.DataFrame:
        """Table of the genes; read when asked for, since chunks of cells do without."""
        name = "raw.var" if self.is_raw else "var"
        var = self._table(name)
        if len(var) != self.n_vars:
            raise ValueError(f"{self.where}: the matrix has {self.n_vars} columns, but {name} has {len(var)} rows")
        return var

    @cached_property
    def obs(self) -> pd.DataFrame:
        """Table of the cells."""
        return self._table("obs")

    def _table(self, name: str) -> pd.DataFrame:
        try:
            if self._legacy is None:
                return read_elem(self._root[name.replace(".", "/")])
            return self._legacy.raw.var if name == "raw.var" else getattr(self._legacy, name)
        # AnnData's readers pass on whatever HDF5, zarr or pandas raise on a damaged table.
        except Exception as error:
            raise ValueError(
                f"{self.where}: {name} cannot be read ({error}); the file is damaged or not AnnData"
            ) from error

    def obs_column(self, name: str) -> pd.Series:
        """A column of ``obs`` without its index; the other columns stay unread."""
        if self._legacy is not None:
            return super().obs_column(name)
        obs = self._root["obs"]
        columns = list(obs.attrs.get("column-order", obs.keys()))
        if name not in columns:
            found = ", ".join(map(str, columns)) or "none"
            raise ValueError(f"{self.where}: obs has no column {name!r}; found {found}")
        return pd.Series(read_elem(obs[name]))

    def embedding(self, key: str) -> Any:
        """An array-like of ``obsm`` that reads rows when sliced."""
        obsm = self._root.get("obsm", {}) if self._legacy is None else self._legacy.obsm
        if key not in obsm or not hasattr(obsm[key], "shape"):
            raise ValueError(f"{self.where}: obsm has no array {key!r}; found {', '.join(obsm) or 'none'}")
        return obsm[key]

    def copy_to(self, path: str | os.PathLike[str]) -> None:
        """Copy the store; one of AnnData before 0.7 is written anew."""
        if self._legacy is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._legacy.to_memory().write_h5ad(path)
        elif self.suffix == ".zarr":
            shutil.copytree(self.path, path)
        else:
            shutil.copyfile(self.path, path)

    def close(self) -> None:
        """Close the store and remove what was written beside it."""
        super().close()
        if self._legacy is not None:
            self._legacy.file.close()
        close_store(self._root)


def _read_legacy(path: Path) -> AnnData:
    with warnings.catch_warnings():
        # That it is old is known, and the copy that is written is not.
        warnings.simplefilter("ignore")
        try:
            return read_h5ad(path, backed="r")
        # AnnData's readers pass on whatever HDF5 or pandas raise on a damaged file.
        except Exception as error:
            raise ValueError(
                f"{path}: cannot be read as a file of AnnData before 0.7 ({error}); read it with the AnnData that "
                "wrote it and write it anew, or copy or download it again"
            ) from error


def _length(node: Any) -> int | None:
    """For how many cells a part has something; ``None`` where only reading it would tell."""
    if hasattr(node, "shape"):
        return node.shape[0] if node.shape else None
    if "shape" in node.attrs:
        return int(node.attrs["shape"][0])
    # Categories and columns with missing values keep one number a cell; tables name their index.
    part = next((name for name in ("codes", "values", node.attrs.get("_index", "_index")) if name in node), None)
    return None if part is None else _length(node[part])


def recognises(source: object) -> bool:
    """Whether a source is a path of a store that has something of AnnData."""
    if not isinstance(source, (str, os.PathLike)):
        return False
    try:
        with opened(source) as root:
            return any(name in root for name in ("X", *_TABLES, "layers"))
    except ValueError:
        return False
