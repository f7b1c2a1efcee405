"""Vectors as a TileDB-SOMA array in the schema of embeddings that are contributed to CELLxGENE's Census.

A sparse array of ``soma_joinid`` by dimension: float32 at the precision of bfloat16, every number of an embedded cell
stored, zeros too, so that a cell without numbers is one that was not embedded.
"""

import json
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.atlas.outputs import BFLOAT16, Extent, Output, plain, register_output
from tahoe_distill.cells import open_cells
from tahoe_distill.cells.formats import is_address
from tahoe_distill.cells.soma import JOINID, MEASUREMENT, Address, experiment_rows
from tahoe_distill.lazy import needed
from tahoe_distill.naming import check_keys

log = logging.getLogger(__name__)

# Where the schema has its fields, as JSON, and where ours are.
INFO, NOTES = "CxG_embedding_info", "tahoe_distill"
# Fields that the schema requires and nobody but the contributor or the Census can know.
_FROM_USER = (
    "id", "title", "description", "contact_name", "contact_email", "contact_affiliation", "submission_date",
)  # fmt: skip
_FROM_SOURCE = ("census_version", "experiment_name", "measurement_name")
_OPTIONAL = ("DOI", "additional_information", "model_link")
FIELDS = (*_FROM_USER, *_FROM_SOURCE, *_OPTIONAL)
MISSING = "to be supplied"
# How the Census' releases lie in their bucket.
_RELEASE = re.compile(r"/cell-census/([^/]+)/soma/census_data/([^/]+)$")
# Cells of a fragment.
_CELLS = 8192


class SomaWriter:
    """A sparse array of (rows of obs, width) float32.

    Args:
        path: The array.
        extent: What is going to be written; ``about`` are fields of the schema.

    Raises:
        ValueError: When the cells have no ascending ``soma_joinid``.
    """

    def __init__(self, path: Path, extent: Extent):
        self._soma, self._arrow = needed("tiledbsoma", "soma"), needed("pyarrow", "soma")
        self._path, self.extent = path, extent
        rows = max(_rows(source, extent.layer) for source in extent.sources)
        self._array = self._soma.SparseNDArray.create(str(path), type=self._arrow.float32(), shape=(rows, extent.width))
        self._array.metadata[INFO] = json.dumps(information(extent))
        self._array.metadata[NOTES] = json.dumps({"key": extent.key, "notes": extent.notes}, default=plain)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []
        self._last = -1

    def add(self, obs: pd.DataFrame, vectors: np.ndarray) -> None:
        """Write some cells, whose ``soma_joinid`` are above all before."""
        joinids = obs[JOINID].to_numpy(dtype=np.int64)
        _refuse_disorder(joinids, self._last, str(self._path))
        self._last = int(joinids[-1])
        self._waiting.append((joinids, vectors))
        if sum(len(part) for part, _ in self._waiting) >= _CELLS:
            self._flush()

    def close(self) -> None:
        """Write what waits."""
        if self._waiting:
            self._flush()
        self._array.close()

    def _flush(self) -> None:
        joinids = np.concatenate([part for part, _ in self._waiting])
        vectors = as_bfloat16(np.concatenate([part for _, part in self._waiting]))
        self._waiting = []
        columns = {
            "soma_dim_0": np.repeat(joinids, vectors.shape[1]),
            "soma_dim_1": np.tile(np.arange(vectors.shape[1], dtype=np.int64), len(joinids)),
            "soma_data": vectors.reshape(-1),
        }
        self._array.write(self._arrow.table(columns))


class SomaWritten:
    """An array that :class:`SomaWriter` wrote; its cells are numbered in the order of their ``soma_joinid``.

    Args:
        path: The array.
        key: Key that the vectors were given.

    Raises:
        ValueError: When it is something else.
    """

    def __init__(self, path: Path, key: str):
        soma = needed("tiledbsoma", "soma")
        try:
            self._array = soma.SparseNDArray.open(str(path))
        except (soma.SOMAError, RuntimeError, TypeError) as error:
            raise ValueError(f"{path} cannot be read as a SOMA array ({str(error).splitlines()[0]})") from error
        found = json.loads(self._array.metadata.get(NOTES, "{}"))
        if found.get("key") != key:
            self._array.close()
            raise ValueError(f"{path} has no vectors {key!r}; found {found.get('key')!r}, name it with --key-added")
        self.notes: dict[str, Any] = {**found["notes"], "stored_as": BFLOAT16}
        table = self._array.read((slice(None), 0)).tables().concat()
        self.joinids = np.sort(table.column("soma_dim_0").to_numpy())
        self.cells, self._width = len(self.joinids), int(self._array.shape[1])

    @property
    def obs(self) -> pd.DataFrame:
        """The numbers of the cells, which is all that is kept of their table."""
        return pd.DataFrame({JOINID: self.joinids})

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """(n, e) float32 vectors of cells."""
        wanted = self.joinids[numbers]
        table = self._array.read((wanted,)).tables().concat()
        cells, places, values = (table.column(number).to_numpy() for number in range(3))
        vectors = np.full((len(wanted), self._width), np.nan, dtype=np.float32)
        vectors[np.searchsorted(wanted, cells), places] = values
        return vectors

    def close(self) -> None:
        """Let go of it."""
        self._array.close()


def as_bfloat16(vectors: np.ndarray) -> np.ndarray:
    """Float32 numbers of any shape at the precision of bfloat16, to the nearest, ties to even."""
    bits = np.ascontiguousarray(vectors, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(vectors), np.float32(np.nan), rounded.view(np.float32))


def information(extent: Extent) -> dict[str, Any]:
    """The fields of the schema; those that nobody gave say so, and are named in a warning."""
    address = Address.read(extent.sources[0]) if is_address(extent.sources[0]) else None
    known = {"measurement_name": MEASUREMENT if address is None else address.measurement}
    if address is not None and (release := _RELEASE.search(address.uri.rstrip("/"))):
        known |= {"census_version": release[1], "experiment_name": release[2]}
    found = {**{name: MISSING for name in (*_FROM_USER, *_FROM_SOURCE)}, **known, **extent.about}
    missing = [name for name, value in found.items() if value == MISSING]
    if missing:
        log.warning(
            "the array says %r for %s; a contribution needs them: give them with --about NAME=TEXT (about=), or "
            "write them into its metadata %r later",
            MISSING, ", ".join(missing), INFO,
        )  # fmt: skip
    return {**found, "data_type": "obs_embedding", "n_embeddings": extent.cells, "n_features": extent.width}


def check_sources(sources: Sequence[str], layer: str | None, about: dict[str, str]) -> None:
    """See before any work that all cells have numbers of their own, in order.

    Raises:
        ValueError: When they do not, or a field is none of the schema.
    """
    check_keys(about, FIELDS, "about (--about)")
    last = -1
    for source in sources:
        with open_cells(source, layer=layer) as cells:
            try:
                joinids = cells.obs_column(JOINID).to_numpy(dtype=np.int64)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"{source}: a .soma output is numbered by whole numbers in a column {JOINID!r} of obs, which "
                    f"cells of SOMA experiments have ({error}); name a .zarr or .parquet output for others"
                ) from error
        _refuse_disorder(joinids, last, source)
        last = int(joinids[-1])


def _rows(source: str, layer: str | None) -> int:
    """Rows of the table that a source's numbers are of, as far as it tells."""
    if is_address(source):
        return experiment_rows(source)
    with open_cells(source, layer=layer) as cells:
        return int(cells.obs_column(JOINID).max()) + 1


def _refuse_disorder(joinids: np.ndarray, last: int, where: str) -> None:
    if joinids[0] <= last or (np.diff(joinids) <= 0).any():
        raise ValueError(
            f"{where}: {JOINID} must ascend from cell to cell and from file to file, each number once; sort the cells "
            "by it, and name the inputs in that order"
        )


register_output(Output(".soma", SomaWriter, SomaWritten, check_sources))
