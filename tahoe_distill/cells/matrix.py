"""Windows of rows, as CSR, of a matrix on the disk or in memory, however it is stored."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from tahoe_distill.cells.turning import turned_rows

# Values looked at a time when all of them are, and rows where a matrix can only be read by rows.
_STEP = 1 << 24
_STEP_ROWS = 1024
# Values, or rows, looked at in each of three places to tell what a matrix holds.
_SAMPLE = 1 << 16
_SAMPLE_ROWS = 32
# How files say that a matrix is stored, in all versions of AnnData.
_ENCODINGS = {"csr_matrix": "csr", "csc_matrix": "csc", "csr": "csr", "csc": "csc", "array": "dense", "": "dense"}


class Matrix(Protocol):
    """What a reader needs of a matrix.

    Args:
        storage: ``csr``, ``csc`` or ``dense``: how it was found.
        shape: (cells, genes).
    """

    storage: str
    shape: tuple[int, int]

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows ``start`` to ``stop - 1``, canonical CSR (n, genes); not to be changed, for it may share memory."""

    def values(self) -> Iterator[np.ndarray]:
        """All stored values, in pieces and any order."""

    def sample(self) -> np.ndarray:
        """Some of the values, from start, middle and end."""

    def width(self) -> int:
        """Values of a row that reading takes into memory, on average."""

    def close(self) -> None:
        """Let go of what was opened or written."""


class StoredMatrix:
    """A matrix in HDF5 or zarr, of which no more than the asked rows is in memory.

    Where it is stored by columns, the first rows asked for turn it into rows on the disk, once.

    Args:
        node: Data set, or group of ``data``, ``indices`` and ``indptr``.
        where: What it is, for messages.
        storage: How it is stored; what the node itself says when left out.
        shape: (cells, genes); what the node itself says when left out.
        turned: Folder for the row-wise copy of a matrix stored by columns, taken as it is where it exists; a temporary
            one when left out.

    Raises:
        ValueError: When it is stored in another way.
    """

    def __init__(
        self,
        node: Any,
        where: str,
        *,
        storage: str | None = None,
        shape: tuple[int, int] | None = None,
        turned: Path | None = None,
    ):
        encoding = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
        self.storage = storage or _ENCODINGS.get(encoding, "")
        if not self.storage or (self.storage == "dense" and not hasattr(node, "shape")):
            raise ValueError(f"{where}: the matrix is stored as {encoding!r}; expected an array, csr or csc matrix")
        sizes: tuple[int, ...] | None = shape
        if sizes is None:
            found = getattr(node, "shape", None) or node.attrs.get("shape", node.attrs.get("h5sparse_shape", ()))
            sizes = tuple(int(size) for size in found)
        self.shape = _two(sizes, where)
        self.where = where
        self._check_parts(node)
        self._node = node
        self._turned = turned
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._rows = node if self.storage == "csr" else None

    def _check_parts(self, node: Any) -> None:
        """Refuse what cannot be such a matrix, by what is known without reading it."""
        if self.storage == "dense":
            _numbers(node.dtype, self.where)
            return
        parts = {name: node[name] for name in ("data", "indices", "indptr")}
        _numbers(parts["data"].dtype, self.where)
        sizes = {name: part.shape for name, part in parts.items()}
        bounds = self.shape[self.storage == "csc"] + 1
        sound = sizes["indptr"] == (bounds,) and len(sizes["data"]) == 1 and sizes["data"] == sizes["indices"]
        if not sound or any(parts[name].dtype.kind not in "iu" for name in ("indices", "indptr")):
            raise ValueError(
                f"{self.where}: a {self.storage} matrix of {self.shape[0]} by {self.shape[1]} needs {bounds} bounds "
                f"(indptr) and as many indices as values, all whole numbers; found {sizes['indptr']}, "
                f"{sizes['indices']} and {sizes['data']}. The file is damaged; copy or download it again"
            )

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows ``start`` to ``stop - 1``, canonical CSR (n, genes).

        Raises:
            ValueError: When the file is damaged there.
        """
        where = f"{self.where}: cells {start} to {stop}"
        try:
            if self.storage == "dense":
                return sparse.csr_matrix(np.asarray(self._node[start:stop]))
            rows = self._window(start, stop, where)
        except (OSError, KeyError, IndexError, RuntimeError) as error:
            raise ValueError(
                f"{where} cannot be read ({error}); the file is damaged. Copy or download it again"
            ) from error
        return _canonical(rows)

    def _window(self, start: int, stop: int, where: str) -> sparse.csr_matrix:
        if self._rows is None:
            self._rows = turned_rows(self._node, self.shape, self._folder(), where=self.where)
        node = self._rows
        indptr = np.asarray(node["indptr"][start : stop + 1]).astype(np.int64)
        # Compiled code trusts these numbers, and a damaged file would take the whole process down.
        total = node["data"].shape[0]
        # Values before the first row or behind the last would belong to no cell.
        least, most = 0 if start else indptr[0], total if stop < self.shape[0] else indptr[-1]
        ends = indptr.size == stop - start + 1 and indptr[0] >= 0 == least and indptr[-1] <= total == most
        if not ends or (np.diff(indptr) < 0).any():
            raise ValueError(f"{where} begin and end nowhere (indptr); the file is damaged. Copy or download it again")
        span = slice(int(indptr[0]), int(indptr[-1]))
        indices = np.asarray(node["indices"][span])
        if indices.size and (indices.min() < 0 or indices.max() >= self.shape[1]):
            raise ValueError(
                f"{where} name gene {indices.min() if indices.min() < 0 else indices.max()} of {self.shape[1]} "
                "(indices); the file is damaged. Copy or download it again"
            )
        parts = (np.asarray(node["data"][span]), indices, indptr - indptr[0])
        return sparse.csr_matrix(parts, shape=(stop - start, self.shape[1]))

    def _folder(self) -> Path:
        if self._turned is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="tahoe-distill-rows-")
            self._turned = Path(self._scratch.name) / "rows"
        return self._turned

    def values(self) -> Iterator[np.ndarray]:
        """All stored values, in pieces and any order."""
        if self.storage == "dense":
            for start in range(0, self.shape[0], _STEP_ROWS):
                yield np.asarray(self._node[start : start + _STEP_ROWS]).reshape(-1)
            return
        data = self._node["data"]
        for start in range(0, data.shape[0], _STEP):
            yield np.asarray(data[start : start + _STEP])

    def sample(self) -> np.ndarray:
        """Some of the values that are not zero, from start, middle and end."""
        stored, size = (self._node, _SAMPLE_ROWS) if self.storage == "dense" else (self._node["data"], _SAMPLE)
        return _looked_at(stored, stored.shape[0], size)

    def width(self) -> int:
        """Values of a row that reading takes into memory, on average; all genes for a dense matrix."""
        stored = self.shape[0] * self.shape[1] if self.storage == "dense" else self._node["data"].shape[0]
        return max(stored // max(self.shape[0], 1), 1)

    def close(self) -> None:
        """Remove the temporary copy, where one was written."""
        self._rows = None
        if self._scratch is not None:
            self._scratch.cleanup()


class MemoryMatrix:
    """A matrix in memory: NumPy, SciPy, or what turns into them by slices of rows.

    Args:
        matrix: (cells, genes).
    """

    def __init__(self, matrix: Any):
        self.storage = str(getattr(matrix, "format", "dense"))
        self.shape = _two(tuple(matrix.shape), "adata")
        _numbers(np.dtype(matrix.dtype), "adata")
        # Rows of a matrix stored by columns cost a pass over the whole of it.
        self._matrix = matrix.tocsr() if self.storage not in ("csr", "dense") else matrix

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows ``start`` to ``stop - 1``, canonical CSR (n, genes)."""
        return _canonical(sparse.csr_matrix(_computed(self._matrix[start:stop])))

    def values(self) -> Iterator[np.ndarray]:
        """All stored values, in pieces and any order."""
        if self.storage == "dense":
            for start in range(0, self.shape[0], _STEP_ROWS):
                yield np.asarray(_computed(self._matrix[start : start + _STEP_ROWS])).reshape(-1)
            return
        for start in range(0, self._matrix.data.size, _STEP):
            yield self._matrix.data[start : start + _STEP]

    def sample(self) -> np.ndarray:
        """Some of the values that are not zero, from start, middle and end."""
        stored, size = (self._matrix, _SAMPLE_ROWS) if self.storage == "dense" else (self._matrix.data, _SAMPLE)
        return _looked_at(stored, stored.shape[0], size)

    def width(self) -> int:
        """Values of a row, on average; all genes for a dense matrix."""
        stored = self.shape[0] * self.shape[1] if self.storage == "dense" else self._matrix.nnz
        return max(stored // max(self.shape[0], 1), 1)

    def close(self) -> None:
        """Nothing is held open."""


def _two(shape: tuple[int, ...], where: str) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 0:
        raise ValueError(f"{where}: the matrix has the shape {shape}; expected (cells, genes)")
    return int(shape[0]), int(shape[1])


def _numbers(dtype: np.dtype, where: str) -> None:
    if dtype.kind not in "biuf":
        raise ValueError(f"{where}: the matrix holds values of type {dtype}; expected counts, whole or real numbers")


def _canonical(rows: sparse.csr_matrix) -> sparse.csr_matrix:
    if rows.has_canonical_format:
        return rows
    # A slice may share its arrays with the user's matrix, or with a file.
    rows = rows.copy()
    rows.sum_duplicates()
    return rows


def _computed(block: Any) -> Any:
    """A slice of a lazy array as what it stands for."""
    return block.compute() if hasattr(block, "compute") else block


def _looked_at(stored: Any, count: int, size: int) -> np.ndarray:
    starts = sorted({0, max(count // 2 - size // 2, 0), max(count - size, 0)})
    parts = [np.asarray(_computed(stored[start : start + size])).reshape(-1) for start in starts]
    values = np.concatenate(parts)
    return values[values != 0]
