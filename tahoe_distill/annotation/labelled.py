"""Vectors of cells with their labels: of a file and a model, or of a teacher cache."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.cache.read import first_views
from tahoe_distill.cache.record import CACHE_FILE, CacheRecord
from tahoe_distill.cells import Cells
from tahoe_distill.cells.formats import Source
from tahoe_distill.data.batch import CACHED, EXPRESSIONS, GENES, TEACHER
from tahoe_distill.embedding.in_memory import vectors_in_memory
from tahoe_distill.embedding.options import Options
from tahoe_distill.embedding.session import open_session
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.teacher.load import fingerprint_of

Check = Callable[[np.ndarray, str], object]


@dataclass(frozen=True)
class Labelled:
    """Vectors with their labels.

    Args:
        vectors: (n, e).
        labels: (n,) texts, ``""`` where a cell has none.
        fingerprint: Of the model that gave the vectors.
        where: What the cells are, for messages.
        source: What the model is.
        column: Where the labels come from.
        groups: (n,) texts; cells of one group are never divided.
        group: Where the groups come from.
    """

    vectors: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    fingerprint: str
    where: str = "the cells"
    source: str = "not recorded"
    column: str = ""
    groups: np.ndarray | None = field(default=None, repr=False)
    group: str | None = None


def labelled_cells(
    cells: Source,
    model: tuple[Tx1Model, Tx1Processor],
    label: str,
    *,
    group: str | None = None,
    source: str = "in memory",
    check: Check | None = None,
    options: Options | None = None,
    reading: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Labelled:
    """The vectors of labelled cells, without a copy of their counts in memory.

    Args:
        cells: File (h5ad, zarr, 10x ``.h5``) or AnnData.
        model: Model and processor.
        label: Column of ``obs`` with the labels.
        group: Column of ``obs`` with groups, such as donors.
        source: What the model is, for the record.
        check: Called with the labels and what the cells are, before they are embedded.
        options: How to embed.
        reading: ``layer``, ``gene_key``, ``symbols``, ``drug_key`` and ``force``, as in :func:`tahoe_distill.embed`.
        progress: Show a progress bar.

    Raises:
        ValueError: When a column is missing, or the cells do not fit the model.
    """
    with open_session(cells, model, options, **(reading or {})) as session:
        stored = session.cells.source
        labels, groups = _column(stored, label), None if group is None else _column(stored, group)
        _check_groups(groups, group, stored.where)
        if check is not None:
            check(labels, stored.where)
        found = vectors_in_memory(session, progress)
        found.totals.warn()
        where = stored.where
    fingerprint = fingerprint_of(model[0].state_dict(), model[1].vocab)
    return Labelled(found.vectors, labels, fingerprint, where, source=source, column=label, groups=groups, group=group)


def labelled_cache(folder: str | os.PathLike[str], label: str, *, group: str | None = None) -> Labelled:
    """The vectors of a teacher cache whose shards carry labels.

    Args:
        folder: What ``tahoe-distill cache`` wrote.
        label: Column of the shards with the labels.
        group: Column of the shards with groups, such as donors.

    Raises:
        FileNotFoundError: When the cache is not finished.
        ValueError: When its cells were mixed, or its shards have no such column.
    """
    record = CacheRecord.load(Path(folder) / CACHE_FILE)
    vectors, columns = [], []
    for sample in first_views(folder, record):
        for name in (label, *([] if group is None else [group])):
            if name not in sample:
                carried = sorted(set(sample) - {GENES, EXPRESSIONS, *CACHED} - {key for key in sample if key[0] == "_"})
                raise ValueError(
                    f"{folder}: its shards carry no column {name!r}, found {', '.join(carried) or 'none'}; prepare "
                    f"them with --keep {name} and write the cache anew, or give the cells with --adata and the teacher"
                )
        vectors.append(np.asarray(sample[TEACHER], dtype=np.float32))
        columns.append((sample[label], None if group is None else sample[group]))
    labels, groups = (_texts(pd.Series(list(column))) for column in zip(*columns, strict=True))
    teacher = record.teacher
    where = str(folder)
    if group is not None:
        _check_groups(groups, group, where)
    return Labelled(
        np.stack(vectors),
        labels,
        teacher["fingerprint"],
        where,
        source=str(teacher["source"]),
        column=label,
        groups=None if group is None else groups,
        group=group,
    )


def _column(cells: Cells, name: str) -> np.ndarray:
    return _texts(cells.obs_column(name))


def _texts(column: pd.Series) -> np.ndarray:
    """(n,) texts, ``""`` where there is none."""
    return np.where(column.isna(), "", column.astype(object).astype(str).str.strip()).astype(str)


def _check_groups(groups: np.ndarray | None, column: str | None, where: str) -> None:
    missing = 0 if groups is None else int((groups == "").sum())
    if missing:
        raise ValueError(
            f"{where}: {missing:,} cells have no group in {column!r} (NaN or empty); expected one for each: leave "
            "these cells out, or leave --group (group) out"
        )
