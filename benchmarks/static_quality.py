"""How close students without attention come: by depth of the teacher, by number of cells, by views of each.

    python benchmarks/static_quality.py --cells a.h5ad b.h5ad --held-out c.h5ad --teachers 2=DIR 6=DIR 12=DIR --out runs/quality

Every student learns from the cells and their views as `tahoe-distill fit` does, and is judged by cells that neither it
nor its teacher saw: name only such in --held-out. Beside it stand a transformer that learns from the same views for ten
times its CPU seconds, ridge regression from the log-counts, and principal components. The first teacher is the one that
numbers of cells and views are tried with. Each number is kept in OUT as soon as it is there, so the same command carries
on; --table prints what is there.

Teachers of other depths are trained by Tahoe's own objective (see scripts/pretrain_nano.py):

    composer scripts/distill.py -f configs/nano.yaml variables.shards=SHARDS model.student.num_hidden_layers=6 max_duration=400ba
"""  # noqa: E501

import argparse
import copy
import json
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from tqdm.auto import tqdm

from tahoe_distill import load_teacher
from tahoe_distill.cells import open_cells
from tahoe_distill.fitting.cells import CountedCells, count_cells
from tahoe_distill.fitting.closed_form import logged, ridge_vectors, solve_head
from tahoe_distill.fitting.fit import OBJECTIVES, cell_objectives, expressed_vocabulary, first_student, static_spec
from tahoe_distill.fitting.labelled import FitSettings, Judge, own_tokens, rows_of, whole_rows
from tahoe_distill.fitting.refine import refine
from tahoe_distill.fitting.rows import Rows, encoded
from tahoe_distill.fitting.targets import label
from tahoe_distill.fitting.views import MIXED, THINNED, made_up
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.teacher import Teacher
from tahoe_distill.training.student.build import build_student, student_config, student_processor
from tahoe_distill.training.student.pruning import teacher_tokens
from tahoe_distill.training.student.spec import StudentSpec

# The quickstart's student, from its teacher's gene table.
TRANSFORMER = {
    "hidden_size": 44, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 88, "value_dropout": 0.0,
    "initializer_range": 0.02, "init": "teacher",
}  # fmt: skip
STATIC, ATTENTION, RIDGE, COMPONENTS = "static-small", "transformer", "ridge", "30 components"
STATIC_LR, TRANSFORMER_LR = 5e-3, 3e-3
CELLS, VIEWS, KINDS = (200, 500, 1000, 2500), (1, 4, 16), {"mixed": MIXED, "thinned": THINNED}
# Batches that tell how long one takes.
_PILOT = 6


@dataclass(frozen=True)
class Case:
    """What students learn from.

    Args:
        teacher: Its name.
        cells: How many.
        views: Of each, the measured one among them.
        kind: How views are made: ``mixed`` (and thinned) or ``thinned``.
        seed: Of the choice of cells, their views and the training.
    """

    teacher: str
    cells: int
    views: int
    kind: str
    seed: int

    def file(self, what: str) -> str:
        """Name of a file about it."""
        return f"{self.teacher}-{self.cells}-{self.views}-{self.kind}-{self.seed}-{what}".replace(" ", "-")


@dataclass(frozen=True)
class Labelled:
    """Cells and what the teacher gives them: to learn from (with all views), and to judge by."""

    teacher: Teacher
    train: CountedCells
    vectors: np.ndarray
    held_out: CountedCells
    judged: np.ndarray


class Study:
    """What is there, and what is not there yet.

    Args:
        args: Of the command.
    """

    def __init__(self, args: argparse.Namespace):
        self.args, self.out = args, Path(args.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.teachers = dict(pair.split("=", 1) for pair in args.teachers)
        self._loaded: dict[str, Any] = {}

    def depth(self) -> list[Case]:
        """The same cells with each teacher."""
        args = self.args
        return [Case(t, args.number, args.views, "mixed", seed) for seed in args.seeds for t in self.teachers]

    def amounts(self) -> list[Case]:
        """Numbers of cells and views with the first teacher; kinds of views differ only where there are several."""
        first = next(iter(self.teachers))
        pairs = [(views, kind) for views in VIEWS for kind in (KINDS if views > 1 else ["mixed"])]
        cases = [(n, views, kind) for views, kind in pairs for n in CELLS if n * views <= self.args.most]
        return [Case(first, *case, seed) for seed in self.args.seeds for case in cases]

    def run(self) -> None:
        """Measure what is missing, seed by seed."""
        depth, amounts = self.depth(), self.amounts()
        for number, seed in enumerate(self.args.seeds):
            for case in (case for case in depth if case.seed == seed):
                self._measure(case, STATIC)
                if number < self.args.transformer_seeds:
                    self._measure(case, ATTENTION)
            for case in (case for case in amounts if case.seed == seed):
                self._measure(case, STATIC)

    def found(self, case: Case, what: str) -> dict[str, Any]:
        """Numbers that are there; none where they are not."""
        path = self.out / f"{case.file(what)}.json"
        return json.loads(path.read_text()) if path.is_file() else {}

    def _measure(self, case: Case, what: str) -> None:
        if not self.found(case, what):
            numbers = self._transformer(case) if what == ATTENTION else self._baselines(case) | self._static(case)
            (self.out / f"{case.file(what)}.json").write_text(json.dumps(numbers))
            print(case, what, {name: round(value, 4) for name, value in numbers.items()}, flush=True)

    def _settings(self, case: Case) -> FitSettings:
        return FitSettings(views=case.views, steps=self.args.steps, context=self.args.context, seed=case.seed)

    def _labelled(self, case: Case) -> Labelled:
        teacher, pool, held_out = self._cells(case.teacher)
        chosen = np.random.default_rng(case.seed).permutation(len(pool))[: case.cells]
        if len(chosen) < case.cells:
            raise ValueError(f"--cells hold {len(pool)} cells, and {case.cells} are to be learned from")
        train = pool.take(np.sort(chosen))
        shown = made_up(train, case.views, KINDS[case.kind], seed=case.seed)
        vectors = self._label(teacher, shown, case.views * len(train), case.file("labels"))
        judged = self._label(teacher, [held_out.counts], len(held_out), f"{case.teacher}-held-out")
        return Labelled(teacher, train, vectors, held_out, judged)

    def _cells(self, name: str) -> tuple[Teacher, CountedCells, CountedCells]:
        if name not in self._loaded:
            teacher = load_teacher(self.teachers[name])
            # As much of a cell as a student learns from, so that teachers of all depths are asked the same.
            teacher.processor.max_length = min(self.args.context + 1, teacher.processor.max_length)
            pool, held_out = (read(paths, teacher) for paths in (self.args.cells, self.args.held_out))
            judged = np.random.default_rng(0).permutation(len(held_out))[: self.args.judged]
            self._loaded = {name: (teacher, pool, held_out.take(np.sort(judged)))}
        return self._loaded[name]

    def _label(self, teacher: Teacher, windows: Any, count: int, name: str) -> np.ndarray:
        path = self.out / f"{name}.npy"
        if not path.is_file():
            tokens = own_tokens(teacher.processor.vocab, teacher.processor.vocab)
            with tqdm(disable=True) as bar:
                np.save(path, label(teacher, encoded(teacher.processor, tokens, windows), count, bar=bar))
        return np.load(path)

    def _baselines(self, case: Case) -> dict[str, float]:
        from sklearn.decomposition import PCA

        given = self._labelled(case)
        measured = given.vectors[: len(given.train)]
        judge = Judge(given.judged, measured.mean(axis=0))
        ridge = ridge_vectors(given.train, measured, given.held_out, seed=case.seed)
        x, y = (logged(cells).toarray() for cells in (given.train, given.held_out))
        components = PCA(min(30, *x.shape), random_state=0).fit(x).transform(y).astype(np.float32)
        return judge(RIDGE, ridge) | {f"{COMPONENTS}/knn_overlap": judge("", components)["/knn_overlap"]}

    def _static(self, case: Case) -> dict[str, float]:
        given, settings, spec = self._labelled(case), self._settings(case), static_spec(STATIC)
        config = student_config(spec, given.teacher.model.config, vocab=expressed_vocabulary(given.train))
        measured = given.vectors[: len(given.train)]
        student = first_student(spec, config, given.teacher, train=given.train, vectors=measured)
        rows, processor = self._rows(given, student, case)
        began = time.process_time()
        solve_head(student, rows, seed=case.seed)
        train(student, rows, teacher=given.teacher, settings=settings, lr=STATIC_LR)
        seconds = time.process_time() - began
        return self._judged(STATIC, given, student, processor) | {"seconds": seconds}

    def _transformer(self, case: Case) -> dict[str, float]:
        given, settings = self._labelled(case), self._settings(case)
        vocab = expressed_vocabulary(given.train)
        spec = StudentSpec.read({**TRANSFORMER, "context_length": self.args.context + 1})
        config = student_config(spec, given.teacher.model.config, vocab=vocab)
        tokens = teacher_tokens(given.train.vocab, vocab)
        student = build_student(spec, config, {"cell"}, sees_masks=False, teacher=given.teacher.model, tokens=tokens)
        rows, processor = self._rows(given, student, case)
        began = time.process_time()
        pilot = replace(settings, steps=_PILOT)
        train(copy.deepcopy(student), rows, teacher=given.teacher, settings=pilot, lr=TRANSFORMER_LR)
        room = self.args.times * self.found(case, STATIC)["seconds"]
        steps = max(_PILOT, round(room / (time.process_time() - began) * _PILOT))
        began = time.process_time()
        whole = replace(settings, steps=steps)
        train(student, rows, teacher=given.teacher, settings=whole, lr=TRANSFORMER_LR)
        seconds = time.process_time() - began
        return self._judged(ATTENTION, given, student, processor) | {"seconds": seconds, "steps": steps}

    def _rows(self, given: Labelled, student: Tx1Model, case: Case) -> tuple[Rows, Tx1Processor]:
        vocab = expressed_vocabulary(given.train)
        processor = student_processor(student.config, vocab, given.teacher.processor, symbols=given.train.symbols)
        thinned, settings = case.kind == "thinned", self._settings(case)
        rows = rows_of(processor, given.train, given.vectors, views=case.views, thinned_only=thinned, settings=settings)
        return rows, processor

    def _judged(self, name: str, given: Labelled, student: Tx1Model, processor: Tx1Processor) -> dict[str, float]:
        judge = Judge(given.judged, given.vectors[: len(given.train)].mean(axis=0))
        return judge(name, whole_rows(processor, given.held_out, given.judged).embed(student.eval()))


def train(student: Tx1Model, rows: Rows, *, teacher: Teacher, settings: FitSettings, lr: float) -> None:
    """Train a student in place, as a fit does."""
    objectives = cell_objectives(OBJECTIVES, student.config, teacher)
    options = {name: getattr(settings, name) for name in ("steps", "batch_size", "seed")}
    refine(student, objectives, rows, lr=lr, **options, device="cpu")


def read(paths: list[str], teacher: Teacher) -> CountedCells:
    """The cells of some files, one after the other."""
    parts = []
    for path in paths:
        with open_cells(path) as cells:
            parts.append(count_cells(cells, teacher.processor.vocab))
    counts = sparse.csr_matrix(sparse.vstack([part.counts for part in parts], format="csr"))
    return replace(parts[0], counts=counts, rows=np.arange(counts.shape[0]), where=", ".join(paths))


def print_tables(study: Study) -> None:
    """What is there, means over seeds with their spread."""
    args, seeds = study.args, study.args.seeds
    print(f"| layers | {RIDGE} | {COMPONENTS} | {STATIC} | CPU s | {ATTENTION} | CPU s, batches |")
    print("|---|---|---|---|---|---|---|")
    for name in study.teachers:
        cases = [Case(name, args.number, args.views, "mixed", seed) for seed in seeds]
        static, other = ([found for case in cases if (found := study.found(case, w))] for w in (STATIC, ATTENTION))
        columns = [shown(static, f"{what}/knn_overlap") for what in (RIDGE, COMPONENTS, STATIC)]
        columns += [shown(static, "seconds", 0), shown(other, f"{ATTENTION}/knn_overlap")]
        columns += [f"{shown(other, 'seconds', 0)}, {shown(other, 'steps', 0)}"]
        print(f"| {name} | " + " | ".join(columns) + " |")
    pairs = list(dict.fromkeys((case.views, case.kind) for case in study.amounts()))
    if not pairs:
        return
    print("\n| cells | ridge | " + " | ".join(f"{v} {k}" if v > 1 else "1 view" for v, k in pairs) + " |")
    print("|---" * (len(pairs) + 2) + "|")
    for number in CELLS:
        row = []
        for views, kind in pairs:
            cases = [Case(next(iter(study.teachers)), number, views, kind, seed) for seed in seeds]
            row.append([found for case in cases if (found := study.found(case, STATIC))])
        columns = [shown(row[0], f"{RIDGE}/knn_overlap"), *(shown(found, f"{STATIC}/knn_overlap") for found in row)]
        print(f"| {number:,} | " + " | ".join(columns) + " |")


def shown(found: list[dict[str, Any]], name: str, digits: int = 3) -> str:
    """Mean of a number, and in brackets its range over the seeds where there are several."""
    values = [numbers[name] for numbers in found if name in numbers]
    if not values:
        return "-"
    spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main() -> None:
    """Measure what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--cells", nargs="+", required=True, help="h5ad files with raw counts, to learn from")
    add("--held-out", nargs="+", required=True, help="h5ad files that neither teachers nor students saw")
    add(
        "--teachers",
        nargs="+",
        required=True,
        metavar="NAME=DIR",
        help="what load_teacher takes, the first for amounts",
    )
    add("--out", required=True, help="folder for what was measured")
    add("--seeds", nargs="+", type=int, default=[17, 18, 19])
    add("--transformer-seeds", type=int, default=3, help="seeds that the transformers are trained with (%(default)s)")
    add("--steps", type=int, default=3000, help="batches of 64 of a student without attention (%(default)s)")
    add("--times", type=float, default=10, help="CPU seconds of a transformer, in those of the other (%(default)s)")
    add("--number", type=int, default=1000, help="cells, where teachers are compared (%(default)s)")
    add("--views", type=int, default=16, help="views of each, likewise (%(default)s)")
    add("--context", type=int, default=1023, help="genes of a cell that teachers and training see (%(default)s)")
    add("--judged", type=int, default=1000, help="held-out cells to judge by (%(default)s)")
    add("--most", type=int, default=40_000, help="views that a student learns from at most (%(default)s)")
    add("--table", action="store_true", help="print what is there, and measure nothing")
    study = Study(parser.parse_args())
    if not study.args.table:
        study.run()
    print_tables(study)


if __name__ == "__main__":
    main()
