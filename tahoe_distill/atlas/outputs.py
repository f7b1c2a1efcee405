"""The formats that an atlas is written in, one entry each, and read again for an audit or a search."""

import contextlib
import importlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import pandas as pd

from tahoe_distill.cells.stores import close_store, open_zarr
from tahoe_distill.lazy import needed
from tahoe_distill.naming import unknown

try:
    from anndata.io import read_elem, write_elem
except ImportError:  # anndata before 0.11 kept it elsewhere
    from anndata.experimental import read_elem, write_elem

# Cells of a chunk, which is what a reader fetches, and chunks of a shard, which is one file.
_CHUNK, _CHUNKS = 4096, 8
# What `stored_as` in the notes of a finished output says where its numbers were rounded.
BFLOAT16 = "bfloat16"


@dataclass(frozen=True)
class Extent:
    """What is going to be written.

    Args:
        cells: Number of cells.
        width: Width of a vector.
        key: Key of ``obsm`` and ``uns``.
        notes: For ``uns[key]``: strings, numbers, and arrays of them.
        sources: The sources that the cells are of.
        layer: The layer that was read of them.
        about: What the user has to say of it, where the format has room for that.
    """

    cells: int
    width: int
    key: str
    notes: dict[str, Any]
    sources: Sequence[str] = ()
    layer: str | None = None
    about: dict[str, str] = field(default_factory=dict)


class Writer(Protocol):
    """Takes the cells in order."""

    def add(self, obs: pd.DataFrame, vectors: np.ndarray) -> None:
        """Write some cells: their table, in the same shape each time, and their (n, e) float32 vectors."""

    def close(self) -> None:
        """Finish the output."""


class Written(Protocol):
    """A finished output."""

    notes: dict[str, Any]
    cells: int

    @property
    def obs(self) -> pd.DataFrame:
        """The table of the cells, as far as the format keeps it."""

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, e) float32 vectors of cells, whose (n,) numbers ascend."""

    def close(self) -> None:
        """Let go of it."""


@dataclass(frozen=True)
class Output:
    """A format of outputs.

    Args:
        suffix: How its names end.
        write: Takes a path that does not exist and an :class:`Extent`; returns a :class:`Writer`.
        read: Takes a path and a key; returns a :class:`Written`.
        check: Takes sources, their layer and what the user has to say, before any work; raises where they do not fit.
    """

    suffix: str
    write: Callable[[Path, Extent], Writer]
    read: Callable[[Path, str], Written]
    check: Callable[[Sequence[str], str | None, dict[str, str]], None] | None = None


OUTPUTS: dict[str, Output] = {}


def register_output(output: Output) -> None:
    """Let atlases be written in another format.

    Raises:
        ValueError: When there is one of that suffix.
    """
    if output.suffix in OUTPUTS:
        raise ValueError(f"an output {output.suffix!r} is registered already; known: {', '.join(OUTPUTS)}")
    OUTPUTS[output.suffix] = output


def output_of(path: str | os.PathLike[str]) -> Output:
    """The format of an output by its name.

    Raises:
        ValueError: When it is none.
    """
    # Registers itself, and needs what stands above.
    importlib.import_module("tahoe_distill.atlas.soma_output")
    suffix = Path(path).suffix
    if suffix not in OUTPUTS:
        raise ValueError(f"{path}: {unknown('output', suffix or 'without a suffix', OUTPUTS)}")
    return OUTPUTS[suffix]


class ZarrWriter:
    """AnnData without a matrix: ``obs``, ``obsm[key]``, ``uns[key]``. Vectors lie in shards where zarr has them.

    Args:
        path: The store.
        extent: What is going to be written.
    """

    def __init__(self, path: Path, extent: Extent):
        zarr = needed("zarr", "atlas")
        self.extent, self._zarr, self._path = extent, zarr, path
        self._sharded = not zarr.__version__.startswith("2.")
        # anndata reads sharded stores by the same door as others.
        self._root = zarr.open_group(str(path), mode="w", **({"zarr_format": 3} if self._sharded else {}))
        self._root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        empty: dict[str, Any] = {name: {} for name in ("layers", "obsm", "varm", "obsp", "varp", "uns")}
        with _quiet():
            for name, value in {**empty, "var": pd.DataFrame(index=pd.Index([], dtype=object))}.items():
                write_elem(self._root, name, value)
            write_elem(self._root["uns"], extent.key, extent.notes)
        self._vectors = self._array()
        self._waiting: list[tuple[pd.DataFrame, np.ndarray]] = []
        self._done = 0

    def add(self, obs: pd.DataFrame, vectors: np.ndarray) -> None:
        """Write some cells."""
        self._waiting.append((obs, vectors))
        while sum(len(part) for part, _ in self._waiting) >= _CHUNK * _CHUNKS:
            self._flush(_CHUNK * _CHUNKS)

    def close(self) -> None:
        """Write what waits, and the metadata in one file."""
        if self._waiting:
            self._flush(_CHUNK * _CHUNKS)
        if self._done != self.extent.cells:
            raise ValueError(f"{self._path}: {self._done} cells were written, expected {self.extent.cells}")
        if not self._sharded:
            self._zarr.consolidate_metadata(str(self._path))
        close_store(self._root)

    def _array(self) -> Any:
        shape, chunks = (self.extent.cells, self.extent.width), (_CHUNK, self.extent.width)
        group, key = self._root["obsm"], self.extent.key
        if self._sharded:
            shards = (_CHUNK * _CHUNKS, self.extent.width)
            array = group.create_array(key, shape=shape, chunks=chunks, shards=shards, dtype="float32")
        else:
            array = group.create_dataset(key, shape=shape, chunks=chunks, dtype="float32")
        array.attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})
        return array

    def _flush(self, most: int) -> None:
        """Write the first cells that wait, whole shards of them."""
        obs = pd.concat([part for part, _ in self._waiting]) if len(self._waiting) > 1 else self._waiting[0][0]
        vectors = np.concatenate([part for _, part in self._waiting])
        self._waiting = [(obs.iloc[most:], vectors[most:])] if len(obs) > most else []
        obs, vectors = obs.iloc[:most], vectors[:most]
        start, stop = self._done, self._done + len(obs)
        self._vectors[start:stop] = vectors
        self._add_table(obs, start, stop)
        self._done = stop

    def _add_table(self, obs: pd.DataFrame, start: int, stop: int) -> None:
        """The first rows make the table; it is then as long as it will be, and the others are filled in."""
        if not start:
            with _quiet():
                write_elem(self._root, "obs", obs, dataset_kwargs={"chunks": (_CHUNK,)})
        table = self._root["obs"]
        columns = {table.attrs["_index"]: obs.index.to_numpy(dtype=object), **{name: obs[name] for name in obs}}
        for name, values in columns.items():
            codes = isinstance(values.dtype, pd.CategoricalDtype)
            array = table[f"{name}/codes"] if codes else table[name]
            if not start:
                array.resize((self.extent.cells,))
            else:
                array[start:stop] = values.cat.codes.to_numpy() if codes else np.asarray(values)


class ZarrWritten:
    """A store that :class:`ZarrWriter` wrote, or any zarr of AnnData with the key.

    Args:
        path: The store.
        key: Key of ``obsm`` and ``uns``.
    """

    def __init__(self, path: Path, key: str):
        self._root = open_zarr(path)
        if f"obsm/{key}" not in self._root or f"uns/{key}" not in self._root:
            raise ValueError(f"{path} has no vectors {key!r}; name their key of obsm with --key-added")
        self._vectors = self._root[f"obsm/{key}"]
        self.notes = dict(read_elem(self._root[f"uns/{key}"]))
        self.cells = int(self._vectors.shape[0])

    @property
    def obs(self) -> pd.DataFrame:
        """The table of the cells."""
        return read_elem(self._root["obs"])

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, e) float32 vectors of cells."""
        return np.asarray(self._vectors.oindex[numbers])

    def close(self) -> None:
        """Let go of it."""
        close_store(self._root)


class ParquetWriter:
    """One table: the index as ``cell``, the columns of ``obs``, the vector as a list of fixed size.

    Args:
        path: The file.
        extent: What is going to be written.
    """

    def __init__(self, path: Path, extent: Extent):
        self._arrow, self._parquet = _arrow()
        self._path, self.extent = path, extent
        self._writer: Any = None

    def add(self, obs: pd.DataFrame, vectors: np.ndarray) -> None:
        """Write some cells as a row group."""
        arrow = self._arrow
        flat = arrow.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
        columns = {"cell": arrow.array(obs.index.astype(str).to_numpy(dtype=object), arrow.string())}
        columns |= {str(name): arrow.Array.from_pandas(obs[name]) for name in obs}
        columns[self.extent.key] = arrow.FixedSizeListArray.from_arrays(flat, self.extent.width)
        table = arrow.table(columns)
        if self._writer is None:
            notes = json.dumps(self.extent.notes, default=plain)
            self._schema = table.schema.with_metadata({f"tahoe_distill:{self.extent.key}": notes})
            self._writer = self._parquet.ParquetWriter(self._path, self._schema)
        self._writer.write_table(table.cast(self._schema))

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            self._writer.close()


class ParquetWritten:
    """A file that :class:`ParquetWriter` wrote.

    Args:
        path: The file.
        key: Column of the vectors.
    """

    def __init__(self, path: Path, key: str):
        arrow, parquet = _arrow()
        try:
            self._file = parquet.ParquetFile(path)
        except (OSError, arrow.ArrowInvalid) as error:
            raise ValueError(f"{path} cannot be read as Parquet ({error})") from error
        notes = (self._file.schema_arrow.metadata or {}).get(f"tahoe_distill:{key}".encode())
        if notes is None:
            raise ValueError(f"{path} has no vectors {key!r}; name their column with --key-added")
        self._key, self.notes, self.cells = key, json.loads(notes), self._file.metadata.num_rows

    @property
    def obs(self) -> pd.DataFrame:
        """The table of the cells."""
        names = [name for name in self._file.schema_arrow.names if name != self._key]
        return self._file.read(names).to_pandas().set_index("cell")

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, e) float32 vectors of cells."""
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        bounds, parts = np.cumsum([0, *sizes]), []
        owners = np.searchsorted(bounds, numbers, side="right") - 1
        for group in np.unique(owners).tolist():
            column = self._file.read_row_group(group, [self._key]).column(0).combine_chunks()
            table = column.flatten().to_numpy().reshape(len(column), -1)
            parts.append(table[numbers[owners == group] - bounds[group]])
        return np.concatenate(parts)

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


@contextlib.contextmanager
def written(path: str | os.PathLike[str], key: str) -> Iterator[Written]:
    """A finished output, closed at the end.

    Raises:
        ValueError: When it is not there or something else.
    """
    if not os.path.exists(path):
        raise ValueError(f"{path}: no such output; expected one that tahoe-distill embed wrote")
    found = output_of(path).read(Path(path), key)
    try:
        yield found
    finally:
        found.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without anndata's announcement of what its next version will do about shards."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*autosharding")
        yield


def _arrow() -> tuple[ModuleType, ModuleType]:
    return needed("pyarrow", "atlas"), needed("pyarrow.parquet", "atlas")


def plain(value: Any) -> Any:
    """An array or a number of NumPy as JSON takes it."""
    return value.tolist()


register_output(Output(".zarr", ZarrWriter, ZarrWritten))
register_output(Output(".parquet", ParquetWriter, ParquetWritten))
