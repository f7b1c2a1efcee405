"""From the windows of a whole run to its output, source by source, so that memory does not grow with them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill import __version__
from tahoe_distill.atlas.job import Job, Source, Window, windows_of
from tahoe_distill.atlas.ledger import Ledger
from tahoe_distill.atlas.obs import ObsTable
from tahoe_distill.atlas.outputs import Extent, output_of, written
from tahoe_distill.cells import open_cells
from tahoe_distill.cells.formats import identity_of
from tahoe_distill.embedding.confidence import Confidence, confidence_columns, load_confidence
from tahoe_distill.embedding.loading import weights_fingerprint
from tahoe_distill.embedding.output import replace_output
from tahoe_distill.embedding.partial import drop, growing_of, telling_space
from tahoe_distill.files import remove, sync
from tahoe_distill.models import Tx1Model, Tx1Processor


def finish(
    job: Job,
    sources: Sequence[Source],
    ledger: Ledger,
    *,
    out: Path,
    key: str,
    pair: tuple[Tx1Model, Tx1Processor],
    confidence: bool,
    run: str,
    about: dict[str, str],
) -> None:
    """Write an output of finished windows, give it its name, and drop the windows.

    Args:
        job: How they were embedded.
        sources: All sources; those that are left out have no cells, and say why.
        ledger: Where the windows are.
        out: The output.
        key: Key of ``obsm`` and ``uns``.
        pair: The model and its processor.
        confidence: Write how far to trust each vector.
        run: What identifies the run.
        about: What the user has to say of the output.

    Raises:
        ValueError: When a source changed meanwhile, or a window is damaged.
        OSError: When the disk is full.
    """
    _refuse_changes(sources)
    table = _table(job, sources)
    trust = load_confidence(job.model) if confidence else None
    count = sum(source.cells for source in sources)
    notes = {**_notes(job, sources, pair), **_odd_cells(job, sources, ledger, pair[1]), "run": run}
    growing = growing_of(out)
    remove(growing)
    try:
        with telling_space(out.parent, 4 * count * pair[0].config.embedding_size):
            there = [source.path for source in sources if source.cells]
            extent = Extent(count, pair[0].config.embedding_size, key, notes, there, job.layer, about)
            writer = output_of(out).write(growing, extent)
            for obs, vectors in _pieces(job, sources, ledger, table=table, trust=trust):
                writer.add(obs, vectors)
            writer.close()
            sync(growing)
        replace_output(growing, out)
    finally:
        remove(growing)
    drop(ledger.folder)


def note_of_run(out: Path, key: str) -> dict[str, Any]:
    """What an output notes of the run that wrote it; empty for one that is none of ours."""
    try:
        with written(out, key) as found:
            return dict(found.notes)
    except (ValueError, OSError):
        return {}


def _refuse_changes(sources: Sequence[Source]) -> None:
    for source in sources:
        if source.cells and source.identity and identity_of(source.path) != source.identity:
            raise ValueError(
                f"{source.path} changed while it was read, so nothing was written; bring it back as it was, or pass "
                "--overwrite (overwrite=True) to begin anew"
            )


def _table(job: Job, sources: Sequence[Source]) -> ObsTable:
    table = ObsTable([source.path for source in sources])
    for source in sources:
        if source.cells:
            with open_cells(source.path, layer=job.layer) as cells:
                table.see(cells.obs)
    return table


def _pieces(
    job: Job, sources: Sequence[Source], ledger: Ledger, *, table: ObsTable, trust: Confidence | None
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """The cells of all sources, window by window."""
    for number, windows in _by_source(job, sources):
        with open_cells(sources[number].path, layer=job.layer) as cells:
            obs = cells.obs
        for window in windows:
            vectors, genes = ledger.read(window)
            rows = table.rows(obs.iloc[window.start : window.stop], number, start=window.start)
            for name, values in ({} if trust is None else confidence_columns(trust, vectors, genes)).items():
                rows[name] = values
            yield rows, vectors


def _by_source(job: Job, sources: Sequence[Source]) -> Iterator[tuple[int, list[Window]]]:
    found: dict[int, list[Window]] = {}
    for window in windows_of(sources, job.settings["window"]):
        found.setdefault(window.source, []).append(window)
    yield from found.items()


def _odd_cells(job: Job, sources: Sequence[Source], ledger: Ledger, processor: Tx1Processor) -> dict[str, int]:
    room = processor.max_length - len(processor.special_tokens)
    empty = full = 0
    for window in windows_of(sources, job.settings["window"]):
        genes = ledger.read(window)[1]
        empty += int((genes == 0).sum())
        full += int((genes == room).sum())
    return {"cells_empty": empty, "cells_at_context": full}


def _notes(job: Job, sources: Sequence[Source], pair: tuple[Tx1Model, Tx1Processor]) -> dict[str, Any]:
    """What to note to make the vectors again; no time, so that a rerun writes the same bytes."""
    options = job.settings
    skipped = [os.fspath(source.path) for source in sources if source.error is not None]
    return {
        "model": job.model,
        "weights": weights_fingerprint(pair[0]),
        "pooling": pair[0].config.pooling,
        "normalize": options["normalize"],
        "backend": options["backend"],
        "dtype": options["dtype"],
        "device": str(options["device"]).partition(":")[0],
        "tahoe_distill": __version__,
        "job": Job.to_json(job),
        "sources": np.array([source.path for source in sources], dtype=object),
        "cells": np.array([source.cells for source in sources], dtype=np.int64),
        "identities": np.array([source.identity for source in sources], dtype=object),
        **({"skipped": np.array(skipped, dtype=object)} if skipped else {}),
        **({"dim": options["dim"]} if options["dim"] is not None else {}),
    }
