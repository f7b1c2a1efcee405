"""What a model costs: parameters, bytes, speed and memory, the last two measured in a process of its own."""

import logging
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from anndata import AnnData

from tahoe_distill.evaluation.base import Evaluator, Scores, register_evaluator
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.subjects import KEY, STUDENT, TEACHER, Subject
from tahoe_distill.models import Tx1Model

log = logging.getLogger(__name__)

# Each model embeds these many cells so many times, in turn with the other one.
CELLS = 256
ROUNDS = 3


def outside_gene_table(model: Tx1Model) -> int:
    """Parameters of a model without its gene table."""
    return model.num_parameters() - model.gene_table_size


@register_evaluator
class Cost(Evaluator):
    """Size, and speed beside the teacher's: both embed the same cells in turn, each in a process of its own.

    ``cells_per_second`` is the median of three rounds of at most 256 cells on this machine, tokenising included;
    ``peak_memory`` the peak of the process's resident set in bytes, all libraries included. ``compression`` and
    ``speedup`` are over the teacher.
    """

    name = "cost"
    needs = frozenset({"model"})
    primary = "cells_per_second"
    lower_is_better = frozenset({"parameters", "parameters_outside_genes", "bytes", "peak_memory"})
    of_controls = False

    def evaluate(self, subject: Subject, bench: Bench) -> Scores:
        """See the class."""
        measured = _measured(bench)
        values = _size(subject) | measured[subject.name]
        if subject.role != TEACHER and bench.teacher.model is not None:
            teacher, least = _size(bench.teacher), max(values["parameters_outside_genes"], 1.0)
            values["compression"] = teacher["parameters"] / values["parameters"]
            values["compression_outside_genes"] = teacher["parameters_outside_genes"] / least
            values["speedup"] = values["cells_per_second"] / measured[TEACHER]["cells_per_second"]
        return Scores(values)


def _size(subject: Subject) -> dict[str, float]:
    model = subject.pair[0]
    return {
        "parameters": float(model.num_parameters()),
        "parameters_outside_genes": float(outside_gene_table(model)),
        "bytes": float(sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())),
    }


def _measured(bench: Bench) -> dict[str, dict[str, float]]:
    """Speed and memory of the teacher and of every student, measured once, in turn."""
    key = ("cost", "")
    if key not in bench.memory:
        roles = (TEACHER, STUDENT)
        models = {x.name: x for x in bench.subjects.values() if x.role in roles and x.model is not None}
        with tempfile.TemporaryDirectory() as folder:
            bench.memory[key] = _race(models, _write_cells(bench, Path(folder)), Path(folder))
    return bench.memory[key]


def _race(models: dict[str, Subject], cells: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Let each model embed the cells in turn, the first time to warm up."""
    runners = [_Runner(subject, cells, folder / str(number)) for number, subject in enumerate(models.values())]
    try:
        rounds = [[runner.embed() for runner in runners] for _ in range(ROUNDS + 1)]
    finally:
        for runner in runners:
            runner.stop()
    return {
        name: {
            "cells_per_second": statistics.median(turn[place][0] for turn in rounds[1:]),
            "peak_memory": float(max(turn[place][1] for turn in rounds)),
        }
        for place, name in enumerate(models)
    }


class _Runner:
    """A model in a process of its own, which embeds when it is told to."""

    def __init__(self, subject: Subject, cells: Path, folder: Path):
        for part in subject.pair:
            part.save_pretrained(folder)
        context = multiprocessing.get_context("spawn")
        self._name = subject.name
        self._pipe, there = context.Pipe()
        self._process = context.Process(
            target=_embed_on_demand, args=(there, folder, cells, subject.reading.options), daemon=True
        )
        self._process.start()
        there.close()

    def embed(self) -> tuple[float, float]:
        """Cells per second of one pass, and the peak memory so far in bytes."""
        self._pipe.send("go")
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join(timeout=10)
            raise RuntimeError(
                f"the process that measured {self._name} ended with code {self._process.exitcode}, perhaps for lack of "
                "memory; leave speed out with --skip cost"
            ) from None

    def stop(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(timeout=10)
        self._process.terminate()


def _write_cells(bench: Bench, folder: Path) -> Path:
    """A file of the cells to embed, evenly spread over all."""
    numbers = np.unique(np.linspace(0, bench.query.n_obs - 1, min(CELLS, bench.query.n_obs)).astype(int))
    chosen = bench.query[numbers]
    path = folder / "cells.h5ad"
    AnnData(chosen.X, obs=chosen.obs, var=chosen.var).write_h5ad(path)
    return path


def _embed_on_demand(pipe: Connection, model: Path, cells: Path, options: dict) -> None:
    """A process: embed all cells each time it is told to, and answer with seconds and peak memory."""
    import anndata

    from tahoe_distill.embedding import embed
    from tahoe_distill.embedding.loading import load_student

    logging.disable(logging.WARNING)
    pair, adata = load_student(model), anndata.read_h5ad(cells)
    try:
        while pipe.recv() == "go":
            started = time.perf_counter()
            embed(adata, pair, key_added=KEY, **options)
            taken = time.perf_counter() - started
            del adata.obsm[KEY], adata.uns[KEY]
            # Kilobytes on Linux, bytes on macOS.
            unit = 1 if sys.platform == "darwin" else 1024
            pipe.send((adata.n_obs / taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit))
    except EOFError:
        return
