"""Cells on disk, read a slice of rows at a time: h5ad files, zarr stores and 10x ``.h5`` files."""

import glob
import os
from contextlib import contextmanager
from functools import cached_property

import h5py
import numpy as np
import pandas as pd
from anndata import read_h5ad
from scipy import sparse

from tahoe_distill.data.csc import transposed_rows

try:
    from anndata.io import read_elem
except ImportError:  # anndata before 0.11
    from anndata.experimental import read_elem

_CLASSES = {"csr_matrix": "csr", "csc_matrix": "csc", "csr": "csr", "csc": "csc", "array": "dense", "": "dense"}


def expand_inputs(inputs):
    """Paths for paths and globs, each once, in the order given.

    Raises:
        FileNotFoundError: When a path or a glob matches nothing.
    """
    paths = []
    for item in [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs:
        found = sorted(glob.glob(os.fspath(item), recursive=True)) or [os.fspath(item)]
        if not os.path.exists(found[0]):
            raise FileNotFoundError(f"{item}: found no such file, zarr store or match; expected h5ad, zarr or 10x h5")
        paths += [path for path in found if path not in paths]
    if not paths:
        raise ValueError("no input was given; expected at least one h5ad, zarr or 10x h5 file")
    return paths


@contextmanager
def open_cells(path, layer=None):
    """Open a file of cells as a :class:`Cells`.

    Args:
        path: h5ad file, zarr store, or 10x ``.h5``.
        layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X``.

    Raises:
        ValueError: When the file cannot be read, or lacks the matrix.
    """
    root = _open_root(path)
    try:
        yield _TenX(root, path, layer) if _is_tenx(root) else _AnnDataFile(root, path, layer)
    finally:
        if isinstance(root, h5py.File):
            root.close()


def _open_root(path):
    try:
        if os.path.isdir(path) or str(path).endswith(".zip"):
            import zarr

            return zarr.open_group(path, mode="r")
        # The default cache is smaller than a chunk of many files, which then unpack it anew for every slice.
        return h5py.File(path, "r", rdcc_nbytes=1 << 26)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: cannot be read as h5ad, zarr or 10x h5 ({error}); it may be truncated or of another format. "
            "Copy or download it again"
        ) from error


def _is_tenx(root):
    return isinstance(root, h5py.File) and "matrix" in root and "barcodes" in root["matrix"]


class Cells:
    """Rows of one file. Subclasses set ``path``, ``var`` and ``matrix``."""

    def __len__(self):
        return self.matrix.shape[0]

    def rows(self, start, stop):
        """Cells ``start`` to ``stop`` as a CSR matrix (n, genes)."""
        try:
            return self.matrix.rows(start, stop)
        except (OSError, KeyError, IndexError, RuntimeError) as error:
            raise ValueError(
                f"{self.path}: cells {start} to {stop} cannot be read ({error}); the file is damaged. Copy or "
                "download it again"
            ) from error

    def width(self):
        """Non-zero values of a cell, about, from the first cells; all genes for a dense matrix."""
        return self.matrix.width()

    def obs_column(self, name):
        """A column of ``obs`` as a pandas Series without its index.

        Raises:
            ValueError: When there is none of that name.
        """
        raise ValueError(f"{self.path}: obs has no column {name!r}; a 10x file has none")

    def embedding(self, key):
        """An array-like of ``obsm`` that reads rows when sliced.

        Raises:
            ValueError: When there is none of that name.
        """
        raise ValueError(f"{self.path}: obsm has no {key!r}; a 10x file has none")


class _AnnDataFile(Cells):
    def __init__(self, root, path, layer):
        self.root, self.path = root, path
        node, self._var_name = self._find(layer)
        self.matrix = _RowMatrix(node, path)
        # Files of anndata before 0.7 keep whole tables in one data set.
        self._legacy = read_h5ad(path, backed="r") if isinstance(root.get("obs"), h5py.Dataset) else None

    @cached_property
    def var(self):
        """Table of the genes; read when asked for, since chunks of cells do without."""
        try:
            var = self._legacy.var if self._legacy is not None else read_elem(self.root[self._var_name])
        # AnnData's readers pass on whatever HDF5, zarr or pandas raise on a damaged table.
        except Exception as error:
            raise ValueError(
                f"{self.path}: {self._var_name} cannot be read ({error}); the file is damaged or not AnnData"
            ) from error
        if len(var) != self.matrix.shape[1]:
            raise ValueError(
                f"{self.path}: the matrix has {self.matrix.shape[1]} columns, but {self._var_name} has {len(var)} rows"
            )
        return var

    def _find(self, layer):
        names = {None: "X", "X": "X", "raw": "raw/X"}
        where = names.get(layer, f"layers/{layer}")
        if where in self.root:
            return self.root[where], "raw/var" if layer == "raw" else "var"
        found = [name for name in ("X", "raw/X") if name in self.root]
        found += [f"layers/{name}" for name in self.root["layers"]] if "layers" in self.root else []
        raise ValueError(
            f"{self.path}: has no {where}; found {', '.join(found) or 'no matrix at all'}. Choose one with layer "
            "(a layer's name, or raw)"
        )

    def obs_column(self, name):
        obs = self._legacy.obs if self._legacy is not None else self.root["obs"]
        columns = list(obs.columns if isinstance(obs, pd.DataFrame) else obs.attrs.get("column-order", obs.keys()))
        if name not in columns:
            raise ValueError(f"{self.path}: obs has no column {name!r}; found {', '.join(map(str, columns)) or 'none'}")
        return pd.Series(obs[name].array if isinstance(obs, pd.DataFrame) else read_elem(obs[name]))

    def embedding(self, key):
        obsm = self.root.get("obsm", {})
        if key not in obsm or not hasattr(obsm[key], "shape"):
            raise ValueError(f"{self.path}: obsm has no array {key!r}; found {', '.join(obsm) or 'none'}")
        return obsm[key]


class _TenX(Cells):
    """Cell Ranger 3 and later: ``matrix`` with features by cells, column by column."""

    def __init__(self, root, path, layer):
        if layer is not None:
            raise ValueError(f"{path}: a 10x file has one matrix; leave layer ({layer!r}) out")
        self.path = path
        group = root["matrix"]
        features = group["features"]
        kinds = _texts(features["feature_type"]) if "feature_type" in features else None
        self.var = pd.DataFrame({"gene_ids": _texts(features["id"]), "gene_name": _texts(features["name"])})
        self.var.index = self.var["gene_name"].astype(str)
        if kinds is not None:
            # Antibodies and guides stand in the same matrix; a clear name helps the report.
            other = kinds != "Gene Expression"
            self.var.loc[other, "gene_ids"] = kinds[other] + ":" + self.var["gene_ids"].to_numpy()[other]
        genes, cells = (int(n) for n in group["shape"][:])
        self.matrix = _RowMatrix(group, path, kind="csr", shape=(cells, genes))


def _texts(dataset):
    return np.array([item.decode() if isinstance(item, bytes) else str(item) for item in dataset[:]], dtype=object)


class _RowMatrix:
    """Row slices of a dense, CSR or CSC matrix in an HDF5 or zarr group, as CSR."""

    def __init__(self, node, path, kind=None, shape=None):
        encoding = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
        if kind is None and encoding not in _CLASSES:
            raise ValueError(f"{path}: the matrix is stored as {encoding!r}; expected a dense, CSR or CSC matrix")
        self.kind = kind or _CLASSES[encoding]
        shape = shape or getattr(node, "shape", None) or node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
        self.shape = tuple(int(n) for n in shape)
        self.node = transposed_rows(node, self.shape) if self.kind == "csc" else node

    def rows(self, start, stop):
        """Rows ``start`` to ``stop`` as CSR."""
        if self.kind == "dense":
            return sparse.csr_matrix(np.asarray(self.node[start:stop]))
        indptr = np.asarray(self.node["indptr"][start : stop + 1])
        span = slice(int(indptr[0]), int(indptr[-1]))
        parts = (np.asarray(self.node["data"][span]), np.asarray(self.node["indices"][span]), indptr - indptr[0])
        rows = sparse.csr_matrix(parts, shape=(stop - start, self.shape[1]))
        if not rows.has_canonical_format:
            rows.sum_duplicates()
        return rows

    def width(self):
        """Values of a row that reading takes into memory, on average."""
        if self.kind == "dense":
            return max(self.shape[1], 1)
        return max(self.node["data"].shape[0] // max(self.shape[0], 1), 1)
