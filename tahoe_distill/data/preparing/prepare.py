"""AnnData files to MDS shards for training: plan, write chunks, merge the index, and only then take the final name."""

import fcntl
import importlib.metadata
import json
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from tahoe_distill.cells.formats import open_cells
from tahoe_distill.data.preparing.chunk import SPLITS, Chunk, write_chunk
from tahoe_distill.data.preparing.plan import Options, Plan
from tahoe_distill.data.shards.writer import METADATA_FILE, merged_index
from tahoe_distill.files import sync, sync_names
from tahoe_distill.models import GeneVocab

log = logging.getLogger(__name__)


def prepare_shards(
    inputs: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    vocab: GeneVocab | str | os.PathLike[str],
    *,
    val_fraction: float = 0.1,
    split_by: str | None = None,
    seed: int = 17,
    layer: str | None = None,
    gene_key: str | None = None,
    symbols: Mapping[str, str] | str | os.PathLike[str] | None = None,
    keep: str | Iterable[str] = (),
    teacher_key: str | None = None,
    min_genes: int = 1,
    format: str = "typed",
    workers: int = 1,
    compression: str | None = None,
    hashes: Iterable[str] | None = ("xxh64",),
    chunk_cells: int = 16384,
    pad_value: float = -2.0,
    progress: bool = False,
) -> dict[str, Any]:
    """Write ``out/train`` and ``out/val`` (MDS), ``out/vocab.json`` and ``out/metadata.json``.

    All is written into a hidden folder beside ``out`` that takes its name when complete. Interrupted, the same call
    carries on with the chunks that are missing.

    Args:
        inputs: h5ad files, zarr stores and 10x ``.h5`` files: paths or globs, one or several.
        out: Folder to write; must not exist, or be empty.
        vocab: A :class:`GeneVocab`, or the path of a ``vocab.json``.
        val_fraction: Share of the cells for validation; 0 writes no validation split.
        split_by: Column of ``obs`` whose groups are kept whole in one split.
        seed: Decides the split.
        layer: Layer to read instead of ``X``; ``"raw"`` for ``raw.X`` where no layer has that name.
        gene_key: Column of ``var`` with gene ids or symbols; found by itself when left out.
        symbols: Table of gene symbols that overrides all others, as :func:`tahoe_distill.cells.read_symbols` takes it.
        keep: Columns of ``obs`` to carry along.
        teacher_key: Key of ``obsm`` with a teacher's embedding, carried along as ``teacher_embedding``.
        min_genes: Cells with fewer expressed genes of the vocabulary are dropped; empty cells always are.
        format: ``"typed"``, or ``"tahoe"`` for shards in the encoding of Tahoe's own (pickled tensors).
        workers: Processes.
        compression: MDS compression such as ``zstd:1``, for shards to upload; local reading unpacks a second copy.
        hashes: MDS hashes, in sorted order.
        chunk_cells: Cells a chunk; a chunk is what is written, and redone, at once.
        pad_value: Expression value of the ``<cls>`` token.
        progress: Show a progress bar.

    Returns:
        Contents of ``metadata.json``.

    Raises:
        FileExistsError: When ``out`` holds something already.
        ValueError: When the input is at fault; nothing is left behind.
        OSError: When writing fails; finished chunks stay for the next attempt.
    """
    out = os.path.abspath(os.fspath(out))
    _refuse_existing(out)
    options = Options(
        val_fraction=val_fraction,
        split_by=split_by,
        seed=seed,
        layer=layer,
        gene_key=gene_key,
        keep=(keep,) if isinstance(keep, str) else tuple(keep),
        teacher_key=teacher_key,
        min_genes=min_genes,
        format=format,
        compression=compression,
        hashes=tuple(hashes or ()),
        chunk_cells=chunk_cells,
        pad_value=pad_value,
    )
    began = time.time()
    plan = Plan(inputs, vocab, symbols=symbols, options=options)
    with _partial_folder(out, plan.fingerprint()) as folder:
        reports = _write_all(plan, folder, workers, progress)
        metadata = _metadata(plan, reports, time.time() - began)
        _complete(plan, reports, folder, metadata)
        if os.path.isdir(out):
            os.rmdir(out)
        sync(os.path.join(folder, "whole"))
        os.rename(os.path.join(folder, "whole"), out)
        sync_names(os.path.dirname(out))
    return metadata


def _refuse_existing(out: str) -> None:
    if os.path.exists(out) and not (os.path.isdir(out) and not os.listdir(out)):
        raise FileExistsError(f"{out} exists and is not empty; choose another folder, or remove it first")


@contextmanager
def _partial_folder(out: str, fingerprint: str) -> Iterator[str]:
    """The hidden folder to work in; kept when interrupted, gone on success or when the input is at fault."""
    folder = os.path.join(os.path.dirname(out), f".{os.path.basename(out)}.partial")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(
                f"{folder} is in use: another process prepares {out}; wait, or choose another"
            ) from error
        _take_over(folder, fingerprint)
        try:
            yield folder
        except ValueError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except OSError as error:
            raise OSError(
                error.errno,
                f"writing {out} failed ({error}). Finished chunks stay in {folder}: make room or mend the cause and "
                "run the same command again to carry on, or remove that folder",
            ) from error
        shutil.rmtree(folder, ignore_errors=True)


def _take_over(folder: str, fingerprint: str) -> None:
    """Keep finished chunks of the same plan, and nothing of another."""
    path = os.path.join(folder, "plan")
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            if file.read() != fingerprint:
                log.warning("%s was left by a run with other arguments or inputs; starting afresh", folder)
                for name in ("whole", "rows"):
                    shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    os.makedirs(os.path.join(folder, "whole", "done"), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(fingerprint)


def _write_all(plan: Plan, folder: str, workers: int, progress: bool) -> list[dict[str, Any]]:
    """Reports of all chunks in order, written now or found from an interrupted run."""
    reports: dict[int, dict[str, Any]] = {}
    bar = tqdm(total=plan.cells, unit=" cells", unit_scale=True, disable=not progress)
    with bar:
        pending = []
        for chunk in plan.chunks(folder):
            if os.path.isfile(chunk.report_path):
                with open(chunk.report_path, encoding="utf-8") as file:
                    reports[chunk.number] = json.load(file)
                bar.update(chunk.stop - chunk.start)
            elif workers <= 1:
                reports[chunk.number] = write_chunk(chunk, bar.update)
            else:
                pending.append(chunk.number)
        if pending:
            reports.update(_write_parallel(plan, folder, workers, set(pending), bar))
    return [{"chunk": f"chunk-{number:06d}", **reports[number]} for number in sorted(reports)]


def _write_parallel(plan: Plan, folder: str, workers: int, wanted: set[int], bar: tqdm) -> dict[int, dict[str, Any]]:
    """Write the ``wanted`` chunks in worker processes, a few in flight at a time."""
    reports: dict[int, dict[str, Any]] = {}
    running: dict[Future, Chunk] = {}
    # Fork would copy locks of threads that this process may run.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            for chunk in plan.chunks(folder):
                if chunk.number not in wanted:
                    continue
                _turn_rows(chunk)
                running[pool.submit(write_chunk, chunk)] = chunk
                if len(running) >= 2 * workers:
                    _collect(running, reports, bar)
            while running:
                _collect(running, reports, bar)
        except BrokenProcessPool as error:
            raise ChildProcessError("a worker process died, often for want of memory; use fewer workers") from error
        finally:
            pool.shutdown(cancel_futures=True)
    return reports


def _turn_rows(chunk: Chunk) -> None:
    """Turn a matrix that is stored by columns around here, before several processes ask for its rows."""
    if chunk.turned is not None and not os.path.isdir(chunk.turned):
        with open_cells(chunk.path, layer=chunk.layer, turned=chunk.turned) as cells:
            cells.rows(0, 0)


def _collect(running: dict[Future, Chunk], reports: dict[int, dict[str, Any]], bar: tqdm) -> None:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        chunk = running.pop(future)
        reports[chunk.number] = future.result()
        bar.update(chunk.stop - chunk.start)


def _complete(plan: Plan, reports: list[dict[str, Any]], folder: str, metadata: Mapping[str, Any]) -> None:
    """Indices, vocabulary and metadata of the whole set."""
    whole = os.path.join(folder, "whole")
    for split in SPLITS:
        parts = [(report["chunk"], report["shards"][split]) for report in reports if split in report["shards"]]
        if parts:
            merged_index(os.path.join(whole, split), parts)
    plan.vocab.save(whole)
    with open(os.path.join(whole, METADATA_FILE), "w", encoding="utf-8") as file:
        json.dump(metadata, file, indent=2)
        file.write("\n")
    shutil.rmtree(os.path.join(whole, "done"))


def _metadata(plan: Plan, reports: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    cells = {split: sum(report["cells"].get(split, 0) for report in reports) for split in SPLITS}
    dropped = sum(report["dropped"] for report in reports)
    if not cells["train"]:
        raise ValueError(
            f"no cell is left for training: {dropped} of {plan.cells} have fewer than {max(plan.options.min_genes, 1)} "
            f"expressed genes of the vocabulary, {cells['val']} are for validation; lower min_genes or check the genes"
        )
    if dropped:
        log.warning("%d of %d cells dropped: fewer than %d genes", dropped, plan.cells, max(plan.options.min_genes, 1))
    total, matched = (sum(report[name] for report in reports) for name in ("total", "matched"))
    return {
        "cells": {**cells, "dropped": dropped},
        "columns": plan.columns,
        "integer_counts": all(report["integer"] for report in reports),
        "counts_matched": matched / total if total else 0.0,
        "inputs": [
            {"path": item.path, "cells": item.cells, "values": item.kind, "gene_report": item.match.report()}
            for item in plan.inputs
        ],
        "arguments": asdict(plan.options),
        "versions": {
            name: importlib.metadata.version(package)
            for name, package in (("anndata", "anndata"), ("streaming", "mosaicml-streaming"), ("torch", "torch"))
        },
        "seconds": round(seconds, 1),
    }
