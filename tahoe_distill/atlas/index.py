"""An index of an atlas: its vectors and labels in a folder of their own, to be searched without the atlas.

Shapes: C cells of the atlas, E width of a vector, L columns of labels.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.atlas.obs import SOURCE_COLUMN
from tahoe_distill.atlas.outputs import Written, written
from tahoe_distill.files import finished_folder, replace_text
from tahoe_distill.lazy import needed
from tahoe_distill.naming import unknown

log = logging.getLogger(__name__)

FLAT, HNSW, IVF = "flat", "hnsw", "ivf"
KINDS = (FLAT, HNSW, IVF)
NOTES, VECTORS, LABELS, FAISS = "index.json", "vectors.npy", "labels.npy", "vectors.faiss"
_VERSION = 1
# Cells from which a graph, and from which lists, are worth what they miss.
_GRAPH, _LISTS = 100_000, 1_000_000
# Links of a cell in the graph, and candidates that are looked at when it is made.
_LINKS, _CANDIDATES = 32, 200
# Cells that lists are drawn up from, each.
_PER_LIST = 64
_STEP = 16384
# Cells by whose vectors an atlas is known again, and by which its spread is measured.
_KNOWN_BY, _MEASURED_BY = 64, 256
# Categories beyond which a column says who a cell is, and not what.
_MOST_LABELS = 1000


def build_index(
    atlas: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    key_added: str = "X_tx1",
    labels: Sequence[str] | None = None,
    kind: str = "auto",
    overwrite: bool = False,
) -> Path:
    """Make the vectors of an atlas searchable.

    Args:
        atlas: What :func:`tahoe_distill.atlas.embed_atlas` wrote, or any zarr of AnnData with such vectors.
        out: Folder of the index; ``ATLAS.index`` beside it when left out.
        key_added: Key of the vectors.
        labels: Columns of ``obs`` to carry along; those of categories when left out.
        kind: ``"flat"`` (exact), ``"hnsw"``, ``"ivf"`` (FAISS), or ``"auto"`` by the number of cells.
        overwrite: Replace an index that is there.

    Returns:
        The folder.

    Raises:
        ValueError: When there are no such vectors, columns or kind.
        FileExistsError: When there is an index already.
        ImportError: When a kind was asked for that needs FAISS, and it is not installed.
    """
    atlas = Path(atlas)
    out = atlas.with_name(f"{atlas.name}.index") if out is None else Path(out)
    with written(atlas, key_added) as found, finished_folder(out, overwrite) as folder:
        kind = _kind(kind, found.cells)
        width = found.vectors(np.arange(1)).shape[1]
        vectors = np.lib.format.open_memmap(folder / VECTORS, "w+", np.float32, (found.cells, width))
        for start in range(0, found.cells, _STEP):
            part = found.vectors(np.arange(start, min(start + _STEP, found.cells)))
            vectors[start : start + len(part)] = unit(part, f"{atlas}, cells {start} to {start + len(part)}")
        categories = _write_labels(folder, found.obs, labels, str(atlas))
        if kind != FLAT:
            _write_faiss(folder / FAISS, vectors, kind)
        near, apart = _spread(vectors)
        vectors.flush()
        del vectors
        content = {
            "version": _VERSION, "atlas": atlas.name, "key": key_added, "kind": kind, "cells": found.cells,
            "width": width, "model": str(found.notes.get("model")), "weights": str(found.notes.get("weights")),
            "vectors": fingerprint(found), "near": near, "apart": apart, "labels": categories,
            "files": {path.name: _mark(path) for path in sorted(folder.iterdir())},
        }  # fmt: skip
        replace_text(folder / NOTES, json.dumps(content, indent=2))
    return out


class Index:
    """A folder that :func:`build_index` wrote, checked and open.

    Args:
        folder: The folder.
        exact: Compare with all vectors, whatever the kind.

    Attributes:
        notes: What ``index.json`` says.

    Raises:
        ValueError: When it is no index, damaged, or of other vectors than the atlas beside it has now.
        ImportError: When it needs FAISS, and it is not installed; an exact search does not.
    """

    def __init__(self, folder: str | os.PathLike[str], *, exact: bool = False):
        self.folder = Path(folder)
        self.notes = _read_notes(self.folder)
        self.cells, self.width = int(self.notes["cells"]), int(self.notes["width"])
        skipped = {FAISS} if exact or self.notes["kind"] == FLAT else set()
        for name, mark in self.notes["files"].items():
            _refuse_damage(self.folder / name, mark, skip=name in skipped)
        self._vectors = np.load(self.folder / VECTORS, mmap_mode="r", allow_pickle=False)
        self._codes = np.load(self.folder / LABELS, allow_pickle=False)
        if self._vectors.shape != (self.cells, self.width) or len(self._codes) != self.cells:
            raise ValueError(f"{self.folder} is damaged: its arrays are not of {self.cells} cells; index again")
        self._refuse_other_vectors()
        self._faiss = None if skipped else self._read_faiss()

    def nearest(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The nearest cells by cosine.

        Args:
            queries: (n, E) float32 vectors of any length.
            k: How many.

        Returns:
            (n, k) int64 numbers of cells of the atlas, nearest first, and their (n, k) float32 cosines; -1 and -2 where
            an approximate search found fewer.

        Raises:
            ValueError: When the width is another one, or there are fewer than ``k`` cells.
        """
        if queries.ndim != 2 or queries.shape[1] != self.width:
            raise ValueError(
                f"{self.folder} is of vectors of {self.width} values, but queries have {queries.shape[-1]}; search "
                "with a model of the atlas' width"
            )
        if not 0 < k <= self.cells:
            raise ValueError(f"k is {k}; expected 1 to {self.cells}, the cells of {self.folder}")
        queries = unit(np.asarray(queries, dtype=np.float32), "the query")
        if self._faiss is None:
            return _exact(self._vectors, queries, k)
        cosines, numbers = self._faiss.search(queries, k)
        return numbers.astype(np.int64), np.where(numbers < 0, np.float32(-2), cosines)

    def labels(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Labels of cells by column, an object array in the shape of ``numbers``; ``None`` where there is none."""
        found = {}
        for place, (name, categories) in enumerate(self.notes["labels"].items()):
            values = np.array([*categories, None], dtype=object)
            found[name] = values[np.where(numbers < 0, -1, self._codes[numbers, place])]
        return found

    def _read_faiss(self) -> Any:
        faiss = _faiss(f"{self.folder} is of kind {self.notes['kind']}; or search it with --exact (exact=True)")
        try:
            found = faiss.read_index(str(self.folder / FAISS))
        except RuntimeError as error:
            raise ValueError(f"{self.folder / FAISS} cannot be read by FAISS ({error}); index again") from error
        if found.ntotal != self.cells or found.d != self.width:
            raise ValueError(
                f"{self.folder / FAISS} holds {found.ntotal} vectors of {found.d} values, expected {self.cells} of "
                f"{self.width}; index again"
            )
        return found

    def _refuse_other_vectors(self) -> None:
        atlas = self.folder.parent / self.notes["atlas"]
        if not atlas.exists():
            return
        with written(atlas, self.notes["key"]) as found:
            if fingerprint(found) != self.notes["vectors"]:
                raise ValueError(
                    f"{self.folder} is an index of other vectors than {atlas} has now; index it again "
                    f"(tahoe-distill index {atlas} --overwrite)"
                )


def fingerprint(found: Written) -> str:
    """16 hex digits of the number of vectors, and of 64 of them from all over."""
    numbers = np.unique(np.linspace(0, found.cells - 1, _KNOWN_BY).astype(np.int64))
    digest = hashlib.sha256(str(found.cells).encode())
    digest.update(np.ascontiguousarray(found.vectors(numbers), dtype="<f4").tobytes())
    return digest.hexdigest()[:16]


def unit(vectors: np.ndarray, where: str) -> np.ndarray:
    """(n, E) float32 vectors at length 1.

    Raises:
        ValueError: When one has no direction.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    wrong = ~(np.isfinite(lengths) & (lengths > 0))[:, 0]
    if wrong.any():
        raise ValueError(f"{where}: {int(wrong.sum())} vectors are zero or not finite; nothing is near them")
    return (vectors / lengths).astype(np.float32)


def _kind(kind: str, cells: int) -> str:
    if kind == "auto":
        kind = FLAT if cells < _GRAPH else HNSW if cells < _LISTS else IVF
        try:
            _faiss("") if kind != FLAT else None
        except ImportError as error:
            log.warning("%s; every search of %s cells will compare with all of them", error, f"{cells:,}")
            return FLAT
    if kind not in KINDS:
        raise ValueError(unknown("kind of index", kind, (*KINDS, "auto")))
    if kind != FLAT:
        _faiss(f"an index of kind {kind} was asked for")
    return kind


def _faiss(why: str) -> ModuleType:
    try:
        return needed("faiss", "search")
    except ImportError as error:
        raise ImportError(f"{error}{f' ({why})' if why else ''}") from error


def _write_labels(folder: Path, obs: pd.DataFrame, wanted: Sequence[str] | None, where: str) -> dict[str, list[str]]:
    """Write (C, L) int32 numbers of categories, -1 for none; return the categories of each column."""
    for name in wanted or ():
        if name not in obs:
            raise ValueError(f"{where}: {unknown('column of obs', name, map(str, obs.columns))}")
    names = [name for name in obs if _is_label(obs[name])] if wanted is None else list(wanted)
    columns = {str(name): pd.Categorical(obs[name].astype(object).where(obs[name].notna(), None)) for name in names}
    codes = np.stack([column.codes for column in columns.values()], axis=1) if columns else np.empty((len(obs), 0))
    np.save(folder / LABELS, codes.astype(np.int32), allow_pickle=False)
    return {name: [str(value) for value in column.categories] for name, column in columns.items()}


def _is_label(column: pd.Series) -> bool:
    is_category = isinstance(column.dtype, pd.CategoricalDtype) and len(column.cat.categories) <= _MOST_LABELS
    return column.name != SOURCE_COLUMN and (is_category or column.dtype == bool)


def _write_faiss(path: Path, vectors: np.ndarray, kind: str) -> None:
    faiss = _faiss("")
    cells, width = vectors.shape
    if kind == HNSW:
        index = faiss.IndexHNSWFlat(width, _LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = _CANDIDATES, _CANDIDATES
    else:
        lists = max(1, int(math.sqrt(cells)))
        index = faiss.index_factory(width, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
        numbers = np.random.default_rng(0).choice(cells, min(cells, _PER_LIST * lists), replace=False)
        index.train(np.ascontiguousarray(vectors[np.sort(numbers)]))
        index.nprobe = max(16, lists // 32)
    for start in range(0, cells, _STEP):
        index.add(np.ascontiguousarray(vectors[start : start + _STEP]))
    faiss.write_index(index, str(path))


def _spread(vectors: np.ndarray) -> tuple[float, float]:
    """Median cosine of a cell with its nearest other, and with any other, over some cells."""
    if len(vectors) < 2:
        return 1.0, 1.0
    rng = np.random.default_rng(0)
    some = np.sort(rng.choice(len(vectors), min(len(vectors), _MEASURED_BY), replace=False))
    cosines = _exact(vectors, vectors[some], 2)[1][:, 1]
    others = vectors[some] @ vectors[some].T
    return float(np.median(cosines)), float(np.median(others[~np.eye(len(some), dtype=bool)]))


def _exact(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Compare with all vectors, some at a time."""
    numbers, cosines = np.full((len(queries), k), -1, dtype=np.int64), np.full((len(queries), k), -2, dtype=np.float32)
    for start, part in _parts(vectors):
        found = queries @ part.T
        # In ascending order, so that of equals the first stays first.
        places = np.sort(np.argpartition(-found, min(k, len(part)) - 1, axis=1)[:, :k], axis=1)
        numbers = np.concatenate([numbers, places + start], axis=1)
        cosines = np.concatenate([cosines, np.take_along_axis(found, places, axis=1)], axis=1)
        chosen = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        numbers = np.take_along_axis(numbers, chosen, axis=1)
        cosines = np.take_along_axis(cosines, chosen, axis=1)
    return numbers, cosines


def _parts(vectors: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(vectors), _STEP):
        yield start, np.asarray(vectors[start : start + _STEP])


def _mark(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 24):
            digest.update(part)
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}


def _read_notes(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / NOTES).read_text(encoding="utf-8"))
        if found["version"] != _VERSION or not {NOTES, *found["files"]} >= {VECTORS, LABELS}:
            raise KeyError("version" if found["version"] != _VERSION else "files")
    except OSError as error:
        raise ValueError(f"{folder} is no index ({error.strerror}); make one with `tahoe-distill index`") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / NOTES} is damaged, or of another version ({error}); index again") from error
    return found


def _refuse_damage(path: Path, mark: dict[str, Any], *, skip: bool) -> None:
    """Refuse a file that is not as it was written; one that is not going to be read need not be there."""
    if skip:
        return
    if path.parent / path.name != path or not path.is_file():
        raise ValueError(f"{path} is missing; copy the index again")
    if path.stat().st_size != mark["bytes"] or _mark(path) != mark:
        raise ValueError(f"{path} is damaged: {path.stat().st_size} bytes, expected {mark['bytes']} with another hash")
