"""Column-compressed matrices turned into row-compressed ones through files, so that memory does not grow with them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from scipy import sparse

from tahoe_distill.files import finished_folder

# Values handled at a time: about a hundred megabytes with all that is worked out of them.
_SPAN = 1 << 20


class Vector:
    """A vector in a file, of which no more than the asked slice is read.

    Args:
        path: The file: values and nothing else.
        dtype: Their type.
    """

    def __init__(self, path: Path, dtype: np.dtype):
        self.path, self.dtype = path, dtype
        self.shape = (path.stat().st_size // dtype.itemsize,)

    def __getitem__(self, part: slice) -> np.ndarray:
        return np.fromfile(self.path, self.dtype, part.stop - part.start, offset=part.start * self.dtype.itemsize)


def turned_rows(node: Any, shape: tuple[int, int], folder: str | os.PathLike[str], *, where: str) -> Mapping[str, Any]:
    """The CSR arrays of a CSC matrix, from ``folder``, where they are written first if they are not there yet.

    Args:
        node: Group with ``data``, ``indices`` (rows) and ``indptr`` (columns).
        shape: (cells, genes).
        folder: Folder of this matrix's arrays; it appears whole or not at all.
        where: What the matrix is, for messages.

    Returns:
        ``data`` and ``indices`` (columns) on the disk, ``indptr`` (rows) in memory.

    Raises:
        ValueError: When the matrix is damaged.
    """
    folder = Path(folder)
    if not folder.exists():
        with finished_folder(folder) as growing:
            _turn(node, shape, growing, where)
    vectors = {name: Vector(folder / name, dtype) for name, dtype in _types(node, shape).items() if name != "rows"}
    return {**vectors, "indptr": np.load(folder / "indptr.npy")}


def _types(node: Any, shape: tuple[int, int]) -> dict[str, np.dtype]:
    number = np.dtype(np.int32 if max(shape) < 1 << 31 else np.int64)
    return {"rows": number, "indices": number, "data": node["data"].dtype}


def _turn(node: Any, shape: tuple[int, int], folder: Path, where: str) -> None:
    """Write ``data``, ``indices`` and ``indptr.npy``.

    Values go, in the order of the columns, into the stretch of a file that belongs to their block of rows; then each
    block is put in order by itself, where it stands. Everything is read and written a block or a span at a time.
    """
    columns = _column_bounds(node, shape, where)
    indptr = np.concatenate([[0], np.cumsum(_row_counts(node, shape, where))])
    bounds = _blocks(indptr)
    types = _types(node, shape)
    with ExitStack() as stack:
        files = {name: stack.enter_context(open(folder / name, "wb+", buffering=0)) for name in types}
        _distribute(node, columns, indptr[bounds], bounds, files, types)
        for first, last in zip(bounds[:-1], bounds[1:]):
            _sort_block(files, types, indptr[first : last + 1], first, shape[1])
    os.remove(folder / "rows")
    np.save(folder / "indptr.npy", indptr)


def _column_bounds(node: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    columns = np.asarray(node["indptr"][:]).astype(np.int64)
    total = node["data"].shape[0]
    sound = columns.size == shape[1] + 1 and columns[0] == 0 and columns[-1] == total == node["indices"].shape[0]
    if not sound or (np.diff(columns) < 0).any():
        raise ValueError(
            f"{where}: indptr does not run from 0 to the {total} values in {shape[1]} steps that never go back; the "
            "file is damaged. Copy or download it again"
        )
    return columns


def _row_counts(node: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    """(cells,) values of each row, from one pass over all row numbers."""
    counts = np.zeros(shape[0], dtype=np.int64)
    for start, stop in _spans(node):
        rows = np.asarray(node["indices"][start:stop])
        if rows.min() < 0 or rows.max() >= shape[0]:
            raise ValueError(
                f"{where}: found cell number {rows.min() if rows.min() < 0 else rows.max()} in a matrix of {shape[0]} "
                "cells; the file is damaged. Copy or download it again"
            )
        counts += np.bincount(rows, minlength=shape[0])
    return counts


def _spans(node: Any) -> Iterator[tuple[int, int]]:
    total = node["data"].shape[0]
    yield from ((start, min(start + _SPAN, total)) for start in range(0, total, _SPAN))


def _blocks(indptr: np.ndarray) -> np.ndarray:
    """Rows at which blocks begin, and the end: each holds about ``_SPAN`` values, or is one row."""
    rows = np.searchsorted(indptr, np.arange(0, indptr[-1], _SPAN), side="left")
    return np.unique(np.concatenate([[0], rows, [indptr.size - 1]]))


def _distribute(
    node: Any,
    columns: np.ndarray,
    free: np.ndarray,
    bounds: np.ndarray,
    files: Mapping[str, BinaryIO],
    types: Mapping[str, np.dtype],
) -> None:
    """Write each value, its row and its column where the next free place (``free``) of its block is."""
    small = np.uint16 if bounds.size < 1 << 16 else np.int64
    for start, stop in _spans(node):
        rows = np.asarray(node["indices"][start:stop])
        blocks = (np.searchsorted(bounds, rows, side="right") - 1).astype(small)
        # Stable, so that the values of a row stay in the order of their columns.
        order = np.argsort(blocks, kind="stable")
        parts = {
            "rows": rows[order],
            "indices": (np.searchsorted(columns, np.arange(start, stop), side="right") - 1)[order],
            "data": np.asarray(node["data"][start:stop])[order],
        }
        counts = np.bincount(blocks, minlength=bounds.size)
        stops = np.cumsum(counts)
        for block in np.flatnonzero(counts):
            stretch = slice(stops[block] - counts[block], stops[block])
            for name, part in parts.items():
                files[name].seek(free[block] * types[name].itemsize)
                files[name].write(part[stretch].astype(types[name]).data)
            free[block] += counts[block]


def _sort_block(
    files: Mapping[str, BinaryIO], types: Mapping[str, np.dtype], indptr: np.ndarray, first: int, genes: int
) -> None:
    """Put the values of one block in the order of their rows, those of a row in that of their columns."""
    start, count = int(indptr[0]), int(indptr[-1] - indptr[0])
    parts = {}
    for name, dtype in types.items():
        files[name].seek(start * dtype.itemsize)
        parts[name] = np.fromfile(files[name], dtype, count)
    columns = np.concatenate([[0], np.cumsum(np.bincount(parts["indices"], minlength=genes))])
    block = (parts["data"], parts["rows"] - first, columns)
    rows = sparse.csc_matrix(block, shape=(indptr.size - 1, genes)).tocsr()
    for name in ("indices", "data"):
        files[name].seek(start * types[name].itemsize)
        files[name].write(getattr(rows, name).astype(types[name]).data)
