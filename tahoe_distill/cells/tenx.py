"""Cells of 10x ``.h5`` files: Cell Ranger 3 and later (one matrix), and before (a matrix a genome)."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from tahoe_distill.cells.base import Cells
from tahoe_distill.cells.matrix import StoredMatrix
from tahoe_distill.cells.stores import close_store, open_store, opened

# What a genome's group has in files of Cell Ranger before 3.
_OLD_PARTS = ("barcodes", "data", "gene_names", "genes", "indices", "indptr", "shape")


class TenX(Cells):
    """Cells of a 10x file, whose matrix is features by cells, column by column: cells by features, row by row.

    Args:
        path: The file.
        layer: Must be left out.
        turned: Of no use here; every reader takes it.

    Raises:
        ValueError: When it holds several genomes or its parts do not fit together.
    """

    def __init__(self, path: str | os.PathLike[str], layer: str | None = None, turned: Path | None = None):
        if layer is not None:
            raise ValueError(f"{path}: a 10x file has one matrix; leave layer ({layer!r}) out")
        self.path: Path = Path(path)
        self.where = str(path)
        self._root = open_store(path)
        try:
            group = self._root["matrix"] if _is_new(self._root) else self._root[self._genome()]
            genes, cells = (int(n) for n in group["shape"][:])
            self.matrix = StoredMatrix(group, self.where, storage="csr", shape=(cells, genes))
            self._var = _features(group["features"]) if _is_new(self._root) else _old_genes(group)
            self._obs = pd.DataFrame(index=_texts(group["barcodes"]))
            self._check()
        except KeyError as error:
            close_store(self._root)
            raise ValueError(
                f"{self.where}: a part of it is missing, or a link that leads nowhere ({error.args[0]}); the file is "
                "damaged. Copy or download it again"
            ) from error
        except BaseException:
            close_store(self._root)
            raise

    def _genome(self) -> str:
        genomes = _genomes(self._root)
        if len(genomes) > 1:
            raise ValueError(
                f"{self.where}: holds a matrix for each of {len(genomes)} genomes ({', '.join(genomes)}); expected "
                "one. Keep the human cells in a file of their own"
            )
        return genomes[0]

    def _check(self) -> None:
        for name, table, count in (("genes", self._var, self.n_vars), ("barcodes", self._obs, self.n_obs)):
            if len(table) != count:
                raise ValueError(f"{self.where}: the matrix has {count} {name}, but {len(table)} are named")

    @property
    def var(self) -> pd.DataFrame:
        """Table of the genes: symbols as index and ``gene_name``, ids as ``gene_ids``."""
        return self._var

    @property
    def obs(self) -> pd.DataFrame:
        """Barcodes, as index, and no columns."""
        return self._obs

    def close(self) -> None:
        """Close the file."""
        super().close()
        close_store(self._root)


def recognises(source: object) -> bool:
    """Whether a source is the path of a 10x file."""
    if not isinstance(source, (str, os.PathLike)) or not os.path.isfile(source) or not h5py.is_hdf5(source):
        return False
    try:
        with opened(source) as root:
            return _is_new(root) or bool(_genomes(root))
    except ValueError:
        return False


def _is_new(root: Any) -> bool:
    return "matrix" in root and "features" in root["matrix"] and "barcodes" in root["matrix"]


def _genomes(root: Any) -> list[str]:
    return [
        name
        for name, group in root.items()
        if isinstance(group, h5py.Group) and all(part in group for part in _OLD_PARTS)
    ]


def _features(features: h5py.Group) -> pd.DataFrame:
    ids = _texts(features["id"])
    if "feature_type" in features:
        kinds = _texts(features["feature_type"])
        # Antibodies and guides stand in the same matrix; a clear name helps the report.
        other = kinds != "Gene Expression"
        ids[other] = kinds[other] + ":" + ids[other]
    return _genes(ids, _texts(features["name"]))


def _old_genes(group: h5py.Group) -> pd.DataFrame:
    return _genes(_texts(group["genes"]), _texts(group["gene_names"]))


def _genes(ids: np.ndarray, names: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"gene_ids": ids, "gene_name": names}, index=pd.Index(names))


def _texts(dataset: h5py.Dataset) -> np.ndarray:
    return np.array([item.decode() if isinstance(item, bytes) else str(item) for item in dataset[:]], dtype=object)
