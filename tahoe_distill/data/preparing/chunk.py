"""One chunk of cells: rows of a file to a folder of shards for each split. Runs in a worker process."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from tahoe_distill.cells.formats import open_cells
from tahoe_distill.cells.values import are_integers, check_values
from tahoe_distill.data.batch import EXPRESSIONS, GENES, ID, TEACHER
from tahoe_distill.data.shards.writer import SHARD_BYTES, ShardWriter, take_entries
from tahoe_distill.files import replace_text, sync

SPLITS = ("train", "val")
# Non-zero values wanted in memory at a time; cells are read in blocks of about that many.
_BLOCK_VALUES = 1 << 21


@dataclass(frozen=True)
class Chunk:
    """What to write, complete and picklable.

    Args:
        number: Number of the chunk among all, which names its folders.
        path: File to read.
        layer: Layer to read.
        turned: Folder of the row-wise copy of a matrix that is stored by columns, or None.
        start: First row.
        stop: Row after the last.
        first_id: ``id`` of the first row.
        tokens: (genes,) vocabulary numbers of the file's genes, -1 where unknown.
        cls: Number and value of the token put first.
        in_val: (stop - start,) bool, true for validation.
        kept: Values of the kept columns, by name.
        teacher_key: Key of ``obsm`` with teacher embeddings, or None.
        min_genes: Cells with fewer expressed known genes are left out.
        columns: MDS columns.
        compression: MDS compression, or None.
        hashes: MDS hash names.
        folder: Folder that holds the splits' folders.
    """

    number: int
    path: str
    layer: str | None
    turned: str | None
    start: int
    stop: int
    first_id: int
    tokens: np.ndarray
    cls: tuple[int, float]
    in_val: np.ndarray
    kept: dict[str, Sequence[Any]]
    teacher_key: str | None
    min_genes: int
    columns: dict[str, str]
    compression: str | None
    hashes: tuple[str, ...]
    folder: str

    @property
    def name(self) -> str:
        """Name of the chunk's folder in each split."""
        return f"chunk-{self.number:06d}"

    @property
    def report_path(self) -> str:
        """File that says the chunk is complete."""
        return os.path.join(self.folder, "done", f"{self.name}.json")


def write_chunk(chunk: Chunk, progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Write the shards of ``chunk`` and, last, its report. A report found on disk is returned as it is.

    Args:
        chunk: What to write.
        progress: Called with a number of cells when they are done.

    Returns:
        Report: cells and shard entries by split, cells dropped, counts seen and matched, whether all are integers.
    """
    for split in SPLITS:
        shutil.rmtree(os.path.join(chunk.folder, split, chunk.name), ignore_errors=True)
    writers: dict[str, ShardWriter] = {}
    report: dict[str, Any] = {"dropped": 0, "total": 0.0, "matched": 0.0, "integer": True, "cells": {}, "shards": {}}
    try:
        with open_cells(chunk.path, layer=chunk.layer, turned=chunk.turned) as source:
            for start, stop in _blocks(source, chunk):
                _write_block(source, chunk, start, stop, writers, report)
                if progress is not None:
                    progress(stop - start)
        for split, writer in writers.items():
            writer.finish()
            folder = os.path.join(chunk.folder, split, chunk.name)
            report["shards"][split] = take_entries(folder, report["cells"][split])
    except BaseException:
        for writer in writers.values():
            writer.cancel_future_jobs()
        raise
    for split in writers:
        # Its report says that it need not be written again, whatever happens to the machine.
        sync(os.path.join(chunk.folder, split, chunk.name))
    replace_text(chunk.report_path, json.dumps(report))
    return report


def _blocks(source, chunk):
    """Row ranges of about ``_BLOCK_VALUES`` values, judged by the first cells."""
    start, size = chunk.start, min(64, chunk.stop - chunk.start)
    while start < chunk.stop:
        stop = min(start + size, chunk.stop)
        yield start, stop
        start, size = stop, max(64, _BLOCK_VALUES // source.width())


def _write_block(source, chunk, start, stop, writers, report):
    rows = source.rows(start, stop)
    check_values(rows.data, f"{chunk.path}, cells {start} to {stop}")
    report["integer"] &= are_integers(rows.data)
    report["total"] += float(rows.data.sum(dtype=np.float64))
    indptr, genes, values = tokenised(rows, chunk.tokens)
    report["matched"] += float(values.sum(dtype=np.float64))
    sizes = np.diff(indptr)
    enough = sizes >= max(chunk.min_genes, 1)
    report["dropped"] += int((~enough).sum())
    teacher = None
    if chunk.teacher_key is not None:
        teacher = np.asarray(source.embedding(chunk.teacher_key)[start:stop]).astype(np.float32)
    for row in np.flatnonzero(enough):
        offset = start + int(row) - chunk.start
        sample = {name: column[offset] for name, column in chunk.kept.items()}
        if teacher is not None:
            sample[TEACHER] = teacher[row]
        sample[ID] = chunk.first_id + offset
        sample[GENES], sample[EXPRESSIONS] = _with_cls(chunk, genes, values, indptr[row], indptr[row + 1])
        split = SPLITS[int(chunk.in_val[offset])]
        if split not in writers:
            writers[split] = _writer(chunk, split)
            report["cells"][split] = 0
        writers[split].write(sample)
        report["cells"][split] += 1


def tokenised(rows: sparse.csr_matrix, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A CSR matrix's cells as vocabulary numbers.

    Args:
        rows: (cells, genes) CSR matrix.
        tokens: (genes,) vocabulary numbers, -1 for columns to leave out. Columns of one number are summed.

    Returns:
        ``indptr`` (cells + 1,), ``genes`` int32 and ``values`` float32 of the non-zero entries.
    """
    known = np.flatnonzero(tokens >= 0)
    unique, inverse = np.unique(tokens[known], return_inverse=True)
    if unique.size < known.size:
        pick = sparse.csr_matrix((np.ones(known.size), (known, inverse)), shape=(tokens.size, unique.size))
        rows, tokens = (rows.astype(np.float64) @ pick).tocsr(), unique
        rows.sort_indices()
    genes = tokens[rows.indices].astype(np.int32)
    kept = (genes >= 0) & (rows.data > 0)
    indptr = np.concatenate([[0], np.cumsum(kept)])[rows.indptr]
    return indptr, genes[kept], rows.data[kept].astype(np.float32)


def _with_cls(chunk, genes, values, start, stop):
    token, value = chunk.cls
    cell_genes = np.empty(stop - start + 1, dtype=np.int32)
    cell_values = np.empty(stop - start + 1, dtype=np.float32)
    cell_genes[0], cell_values[0] = token, value
    cell_genes[1:], cell_values[1:] = genes[start:stop], values[start:stop]
    return cell_genes, cell_values


def _writer(chunk, split):
    return ShardWriter(
        out=os.path.join(chunk.folder, split, chunk.name),
        columns=chunk.columns,
        compression=chunk.compression,
        hashes=list(chunk.hashes),
        size_limit=SHARD_BYTES,
    )
