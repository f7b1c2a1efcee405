"""How many cells a run reads, how often, and what of them has to be fetched."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from composer.core import Time, TimeUnit
from streaming import Stream
from streaming.base.format import get_index_basename

from tahoe_distill.data.shards.fetch import fetch
from tahoe_distill.settings import plain

# Cells of Tahoe's own streams, train and valid together, by the last folder of their address: for where no index can
# be read.
PUBLISHED_CELLS = {
    "tahoe_100m_MDS_v1": 96_000_000,
    "tahoe_100m_MDS_v2": 96_000_000,
    "cellxgene_2025_01_21_merged_MDS": 61_000_000,
    "scbasecamp_2025_02_25_MDS_v2": 112_000_000,
    "tahoe_100m_MDS_v2_filtered": 34_000_000,
    "cellxgene_2025_01_21_merged_MDS_filtered": 43_000_000,
    "scbasecamp_2025_02_25_MDS_v2_filtered": 76_000_000,
}
# Seconds to wait for a stream's index; it is all that a plan fetches.
_TIMEOUT = 20.0


@dataclass(frozen=True, kw_only=True)
class StreamCells:
    """One stream of a loader.

    Args:
        name: Its name in the YAML, empty for a loader with a single one.
        cells: How many cells it holds; ``None`` where its index could not be read and none were published.
        file_bytes: Of its shards, as they lie in the store; ``None`` without the index.
        to_fetch: How many of these are not on this disk.
        problem: Why the index could not be read, empty where it was.
    """

    name: str
    cells: int | None
    file_bytes: int | None
    to_fetch: int | None
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How a run goes over its cells; ``None`` stands for what cannot be told.

    Args:
        cells: Cells of all streams.
        epoch: Cells of an epoch, by the streams' ``proportion``, ``repeat`` or ``choose``.
        batch: Cells of a batch on all devices.
        batches: Batches of the whole run.
        drop_last: Whether a last batch that is not full is left out.
    """

    cells: int | None
    epoch: int | None
    batch: int
    batches: int | None
    drop_last: bool

    @property
    def batches_an_epoch(self) -> int | None:
        """Whole batches, and a last one that is not full where it counts."""
        if self.epoch is None:
            return None
        return self.epoch // self.batch if self.drop_last else -(-self.epoch // self.batch)

    @property
    def cells_seen(self) -> int | None:
        """Cells that go through the student, each as often as it does."""
        return None if self.batches is None else self.batches * self.batch

    @property
    def epochs(self) -> float | None:
        """How often the run goes over its cells."""
        if not self.batches_an_epoch or self.batches is None:
            return None
        return self.batches / self.batches_an_epoch


def read_streams(section: Mapping[str, Any]) -> list[StreamCells]:
    """The streams of a loader's section; of those in a store the index alone is fetched.

    Args:
        section: With the keys of the ``tahoe_mds`` loader.
    """
    return [_read(name, options) for name, options in _streams(section).items()]


def schedule(run: Mapping[str, Any], streams: list[StreamCells]) -> Schedule:
    """The schedule of a run.

    Args:
        run: The run, resolved.
        streams: Those of its ``train_loader``.
    """
    section = plain(run["train_loader"])
    counts = [stream.cells for stream in streams]
    known = [count for count in counts if count is not None]
    whole = len(known) == len(counts)
    epoch = _epoch_cells(section, known) if whole else None
    planned = Schedule(
        cells=sum(known) if whole else None,
        epoch=epoch,
        batch=int(run["global_train_batch_size"]),
        batches=None,
        drop_last=bool(section.get("drop_last", False)),
    )
    return Schedule(**{**planned.__dict__, "batches": _batches(run["max_duration"], planned)})


def _batches(duration: str | int, planned: Schedule) -> int | None:
    time = Time.from_input(duration, TimeUnit.EPOCH)
    if time.unit is TimeUnit.BATCH:
        return int(time.value)
    if time.unit is TimeUnit.SAMPLE:
        return -(-int(time.value) // planned.batch)
    if time.unit is TimeUnit.EPOCH and planned.batches_an_epoch is not None:
        return int(time.value) * planned.batches_an_epoch
    return None


def _epoch_cells(section: Mapping[str, Any], counts: list[int]) -> int:
    """By streaming's own arithmetic."""
    options = section["dataset"]
    shares = ("proportion", "repeat", "choose")
    if section.get("cache") is not None:
        return int(options.get("epoch_size") or sum(counts))
    streams = [
        Stream(local=f"unused-{number}", **{key: value for key, value in stream.items() if key in shares})
        for number, stream in enumerate(_streams(section).values())
    ]
    return int(Stream.apply_weights(streams, np.array(counts), _count(options.get("epoch_size")), 0))


def _count(value: Any) -> int | None:
    from streaming.base.util import number_abbrev_to_int

    return None if value is None else number_abbrev_to_int(value)


def _streams(section: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    section = plain(section)
    if section.get("cache") is not None:
        return {"": {"local": section["cache"]}}
    dataset = section["dataset"]
    found = {name: stream for name, stream in (dataset.get("streams") or {}).items() if stream is not None}
    return found or {"": {key: dataset[key] for key in ("remote", "local", "split") if dataset.get(key)}}


def _read(name: str, options: Mapping[str, Any]) -> StreamCells:
    split = options.get("split") or ""
    local = Path(options.get("local") or "", split)
    try:
        shards = _shards(local / get_index_basename(), options.get("remote"), split)
        found = sum(int(shard["samples"]) for shard in shards)
        files = [shard.get("zip_data") or shard["raw_data"] for shard in shards]
        sizes = {file["basename"]: int(file["bytes"]) for file in files}
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = {
            part: PUBLISHED_CELLS[part] for part in str(options.get("remote")).split("/") if part in PUBLISHED_CELLS
        }
        cells = next(iter(known.values()), None)
        return StreamCells(name=name, cells=cells, file_bytes=None, to_fetch=None, problem=str(error))
    fetched = sum(size for file, size in sizes.items() if not (local / file).is_file())
    remote = options.get("remote")
    return StreamCells(
        name=name, cells=found, file_bytes=sum(sizes.values()), to_fetch=fetched if remote is not None else 0
    )


def _shards(index: Path, remote: str | None, split: str) -> list[dict[str, Any]]:
    if index.is_file() or remote is None:
        return json.loads(index.read_text(encoding="utf-8"))["shards"]
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, index.name)
        fetch("/".join(part for part in (remote.rstrip("/"), split, index.name) if part), copy, _TIMEOUT)
        return json.loads(Path(copy).read_text(encoding="utf-8"))["shards"]
