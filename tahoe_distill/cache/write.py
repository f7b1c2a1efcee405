"""Run a teacher over shards once and keep what it says as shards: part by part, so that a killed run carries on."""

import json
import os
import shutil
from dataclasses import dataclass

from torch.utils.data import DataLoader, Dataset

from tahoe_distill.cache.record import CACHE_FILE, PARTIAL_FILE, CacheRecord
from tahoe_distill.cache.rows import cache_columns, cache_rows, carried_columns
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.data.schema import EPOCH
from tahoe_distill.data.shards.dataset import CellDataset
from tahoe_distill.data.shards.writer import SHARD_BYTES, ShardWriter, merged_index, take_entries

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
    """

    name: str
    dataset: CellDataset
    collator: Tx1Collator
    batch_cells: int
    workers: int
    views: int
    part_cells: int

    def parts(self):
        """``(name, view, first cell, cell after the last)`` of each part, in the order of the cache's samples."""
        cells = self.dataset.num_samples
        starts = [(view, start) for view in range(self.views) for start in range(0, cells, self.part_cells)]
        for number, (view, start) in enumerate(starts):
            yield f"part-{number:06d}", view, start, min(start + self.part_cells, cells)


def begin(folder, record, processor):
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
        return name == PARTIAL_FILE
    if os.path.isdir(folder) and os.listdir(folder):
        raise FileExistsError(f"{folder} holds other things than a teacher cache; choose another folder")
    os.makedirs(os.path.join(folder, "done"), exist_ok=True)
    processor.save_pretrained(folder)
    record.save(os.path.join(folder, PARTIAL_FILE))
    return True


def write_parts(folder, split, output, record, rank=0, world=1, progress=None):
    """Write the parts of a split that fall to this process and are not there yet.

    Args:
        folder: The cache, after :func:`begin`.
        split: The cells.
        output: The teacher: a batch to :class:`Outputs`.
        record: The cache's :class:`CacheRecord`.
        rank: Number of this process.
        world: Number of processes.
        progress: Called with a number of cells when they are done.

    Raises:
        ValueError: When an output does not fit the cache's precision, or the teacher lacks what is to be stored.
        ShardError: When the cells cannot be read.
    """
    for number, (name, view, start, stop) in enumerate(split.parts()):
        report = _report_path(folder, split.name, name)
        if number % world != rank:
            continue
        if not os.path.isfile(report):
            out = os.path.join(folder, split.name, name)
            entries = _write_part(out, split, view, range(start, stop), output, record)
            with open(f"{report}.tmp", "w", encoding="utf-8") as file:
                json.dump(entries, file)
            os.replace(f"{report}.tmp", report)
        if progress is not None:
            progress(stop - start)


def finish(folder, splits):
    """Index the parts of all processes and name the cache whole.

    Raises:
        FileNotFoundError: When a part is missing.
    """
    for split in splits:
        parts = []
        for name, *_ in split.parts():
            with open(_report_path(folder, split.name, name), encoding="utf-8") as file:
                parts.append((name, json.load(file)))
        merged_index(os.path.join(folder, split.name), parts)
    os.replace(os.path.join(folder, PARTIAL_FILE), os.path.join(folder, CACHE_FILE))
    shutil.rmtree(os.path.join(folder, "done"))


def _report_path(folder, split, part):
    return os.path.join(folder, "done", f"{split}-{part}.json")


class _Cells(Dataset):
    """Cells of a dataset by number, as a given epoch of training would see them."""

    def __init__(self, dataset, numbers, view):
        self.dataset, self.numbers, self.view = dataset, numbers, view

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, place):
        return {**self.dataset[self.numbers[place]], EPOCH: self.view}


class _Collated:
    """Batches beside the columns of their samples that the cache carries along."""

    def __init__(self, collator, carried):
        self.collator, self.carried = collator, carried

    def __call__(self, samples):
        return self.collator(samples), [{name: sample[name] for name in self.carried} for sample in samples]


def _write_part(out, split, view, numbers, output, record):
    """Write a part; return its entries of an index."""
    shutil.rmtree(out, ignore_errors=True)
    carried = carried_columns(split.dataset)
    loader = DataLoader(
        _Cells(split.dataset, numbers, view),
        batch_size=split.batch_cells,
        num_workers=split.workers,
        collate_fn=_Collated(split.collator, carried),
    )
    writer = None
    try:
        for batch, extras in loader:
            rows = cache_rows(batch, output(batch), split.collator, record)
            if writer is None:
                columns = {**carried, **cache_columns(rows[0])}
                writer = ShardWriter(out=out, columns=columns, hashes=_HASHES, size_limit=SHARD_BYTES)
            for row, extra in zip(rows, extras, strict=True):
                writer.write({**extra, **row})
        writer.finish()
    except BaseException:
        if writer is not None:
            writer.cancel_future_jobs()
        raise
    return take_entries(out, len(numbers))
