"""Run a teacher over shards once and keep its outputs as shards: part by part, so that a killed run carries on."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset

from tahoe_distill.cache.collator import teacher_settings
from tahoe_distill.cache.record import CACHE_FILE, PARTIAL_FILE, CacheRecord, digest
from tahoe_distill.cache.rows import cache_columns, cache_rows, carried_columns
from tahoe_distill.data.batch import EPOCH
from tahoe_distill.data.collating.collator import Sample, Tx1Collator
from tahoe_distill.data.shards.dataset import CellDataset
from tahoe_distill.data.shards.writer import SHARD_BYTES, ShardWriter, merged_index, take_entries
from tahoe_distill.files import replace_text, sync, sync_names
from tahoe_distill.locks import LOCK_FILE
from tahoe_distill.models import GeneVocab, Tx1Processor
from tahoe_distill.objectives import Outputs

_HASHES = ["xxh64"]


@dataclass(frozen=True)
class Split:
    """Cells to run the teacher on.

    Args:
        name: Name of its folder in the cache.
        dataset: The cells.
        collator: What the teacher reads them with.
        batch_cells: Cells the teacher is given at once.
        workers: Processes that collate.
        views: How often each cell is collated, as in so many epochs of training.
        part_cells: Cells written, and redone after a kill, at once.
        cells: How many of the cells at most; ``None`` for all. They are whole parts that lie evenly over all shards, so
            each of several streams is there in the share of its size.
    """

    name: str
    dataset: CellDataset
    collator: Tx1Collator
    batch_cells: int
    workers: int
    views: int
    part_cells: int
    cells: int | None = None

    def parts(self) -> Iterator["Part"]:
        """Its parts, in the order of the cache's samples."""
        ranges = [(view, numbers) for view in range(self.views) for numbers in self._ranges()]
        for number, (view, numbers) in enumerate(ranges):
            yield Part(f"part-{number:06d}", view, numbers)

    def _ranges(self) -> list[range]:
        """Numbers of the cells of each part of a view."""
        cells = self.dataset.num_samples
        wanted = cells if self.cells is None else min(self.cells, cells)
        length = min(self.part_cells, max(wanted, 1))
        whole = [range(start, min(start + length, cells)) for start in range(0, cells, length)]
        if wanted == cells:
            return whole
        return [whole[place * len(whole) // (wanted // length)] for place in range(wanted // length)]

    def share(self, rank: int, world: int) -> list["Part"]:
        """The parts that fall to one of ``world`` processes."""
        return [part for number, part in enumerate(self.parts()) if number % world == rank]

    def record(self) -> dict[str, Any]:
        """What a cache's record has of it: cells, views, and a digest of the shards as their index names them."""
        shards: list[Any] = self.dataset.shards
        files = [
            (shard.raw_data.basename, shard.samples, shard.raw_data.bytes, shard.raw_data.hashes) for shard in shards
        ]
        return {"cells": sum(map(len, self._ranges())), "views": self.views, "data": digest(files)}


@dataclass(frozen=True)
class Part:
    """What is written at once.

    Args:
        name: Name of its folder.
        view: Which of the views of its cells.
        numbers: Numbers of its cells in the data set.
    """

    name: str
    view: int
    numbers: range


def make_record(
    teacher: Mapping[str, Any],
    vocab: GeneVocab,
    splits: Sequence[Split],
    *,
    stored: Sequence[str],
    sees_masks: bool,
    precision: str,
) -> CacheRecord:
    """The record of a cache to be written.

    Args:
        teacher: As in :class:`CacheRecord`.
        vocab: The teacher's vocabulary.
        splits: What it is run on.
        stored: As in :class:`CacheRecord`, and so the rest.
        sees_masks: The same.
        precision: The same.

    Raises:
        ValueError: When the splits are binned differently.
    """
    settings = {split.name: teacher_settings(split.collator) for split in splits}
    first = splits[0].name
    odd = [name for name in settings if settings[name]["num_bins"] != settings[first]["num_bins"]]
    if odd:
        raise ValueError(f"the collators of {first} and {odd[0]} have different num_bins")
    return CacheRecord(
        teacher=dict(teacher),
        collator=settings,
        vocabulary=digest(vocab.tokens),
        stored=tuple(stored),
        sees_masks=sees_masks,
        precision=precision,
        splits={split.name: split.record() for split in splits},
    )


def begin(folder: str | os.PathLike[str], record: CacheRecord, processor: Tx1Processor) -> bool:
    """Make ``folder`` ready for a cache: a new one, or one that was interrupted.

    Args:
        folder: Where it goes.
        record: The :class:`CacheRecord` that it will have.
        processor: The teacher's processor, which students trained from the cache inherit.

    Returns:
        Whether there is anything left to do.

    Raises:
        FileExistsError: When the folder holds something else, or a cache of another fingerprint.
    """
    for name in (CACHE_FILE, PARTIAL_FILE):
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            continue
        found = CacheRecord.load(path)
        if (found.fingerprint, found.splits) != (record.fingerprint, record.splits):
            raise FileExistsError(
                f"{folder} holds a cache of another teacher, collator, objectives or cells ({found.fingerprint[:12]}, "
                f"this one is {record.fingerprint[:12]}); choose another folder, or remove it"
            )
        if name == PARTIAL_FILE:
            _begin_files(folder, processor)
        return name == PARTIAL_FILE
    os.makedirs(folder, exist_ok=True)
    # A kill may have come before the record had its name.
    strays = sorted(set(os.listdir(folder)) - {LOCK_FILE, f"{PARTIAL_FILE}.new"})
    if strays:
        raise FileExistsError(
            f"{folder} holds other things than a teacher cache ({', '.join(strays[:3])}); choose another folder"
        )
    # First of all: whatever stands in the folder from here on is that of a cache to be carried on.
    record.save(os.path.join(folder, PARTIAL_FILE))
    _begin_files(folder, processor)
    return True


def _begin_files(folder: str | os.PathLike[str], processor: Tx1Processor) -> None:
    """What a cache has before its parts; written again where a kill may have left half of it."""
    os.makedirs(os.path.join(folder, "done"), exist_ok=True)
    processor.save_pretrained(folder)


def write_parts(
    folder: str | os.PathLike[str],
    split: Split,
    parts: Iterable[Part],
    *,
    forward: Callable[[dict[str, Any]], Outputs],
    record: CacheRecord,
    progress: Callable[[int], object],
) -> None:
    """Write those parts of a split that are not there yet.

    Args:
        folder: The cache, after :func:`begin`.
        split: The cells.
        parts: Those of its parts that fall to this process.
        forward: The teacher: a batch to its outputs.
        record: The cache's.
        progress: Called with a number of cells when they are done.

    Raises:
        ValueError: When an output does not fit the cache's precision, or the teacher lacks what is to be stored.
        ShardError: When the cells cannot be read.
    """
    for part in parts:
        report = _report_path(folder, split, part)
        if not os.path.isfile(report):
            entries = _write_part(os.path.join(folder, split.name, part.name), split, part, forward, record)
            # The report says that the part need not be written again, whatever happens to the machine.
            sync(os.path.join(folder, split.name, part.name))
            replace_text(report, json.dumps(entries))
        progress(len(part.numbers))


def finish(folder: str | os.PathLike[str], splits: Iterable[Split]) -> None:
    """Index the parts of all processes and name the cache whole.

    Raises:
        FileNotFoundError: When a part is missing.
    """
    for split in splits:
        parts = []
        for part in split.parts():
            with open(_report_path(folder, split, part), encoding="utf-8") as file:
                parts.append((part.name, json.load(file)))
        merged_index(os.path.join(folder, split.name), parts)
    os.replace(os.path.join(folder, PARTIAL_FILE), os.path.join(folder, CACHE_FILE))
    sync_names(folder)
    shutil.rmtree(os.path.join(folder, "done"))


def _report_path(folder: str | os.PathLike[str], split: Split, part: Part) -> str:
    return os.path.join(folder, "done", f"{split.name}-{part.name}.json")


class _Cells(Dataset):
    """The cells of a part, as a given epoch of training would see them."""

    def __init__(self, dataset: CellDataset, part: Part):
        self.dataset, self.part = dataset, part

    def __len__(self) -> int:
        return len(self.part.numbers)

    def __getitem__(self, place: int) -> Sample:
        return {**self.dataset[self.part.numbers[place]], EPOCH: self.part.view}


class _Collated:
    """Batches beside the columns of their samples that the cache carries along."""

    def __init__(self, collator: Tx1Collator, carried: Iterable[str]):
        self.collator, self.carried = collator, list(carried)

    def __call__(self, samples: Sequence[Sample]) -> tuple[dict[str, Any], list[Sample]]:
        return self.collator(samples), [{name: sample[name] for name in self.carried} for sample in samples]


def _write_part(
    out: str, split: Split, part: Part, forward: Callable[[dict[str, Any]], Outputs], record: CacheRecord
) -> list[dict[str, Any]]:
    """Write a part; return its entries of an index."""
    shutil.rmtree(out, ignore_errors=True)
    carried = carried_columns(split.dataset)
    loader = DataLoader(
        _Cells(split.dataset, part),
        batch_size=split.batch_cells,
        num_workers=split.workers,
        collate_fn=_Collated(split.collator, carried),
    )
    writer: ShardWriter | None = None
    try:
        for batch, extras in loader:
            rows = cache_rows(batch, forward(batch), split.collator, record=record)
            if writer is None:
                columns = {**carried, **cache_columns(rows[0])}
                writer = ShardWriter(out=out, columns=columns, hashes=_HASHES, size_limit=SHARD_BYTES)
            for row, extra in zip(rows, extras, strict=True):
                writer.write({**extra, **row})
        if writer is not None:
            writer.finish()
    except BaseException:
        if writer is not None:
            writer.cancel_future_jobs()
        raise
    return take_entries(out, len(part.numbers))
