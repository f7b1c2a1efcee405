"""One evaluation: every evaluator for every subject, what was left out and why."""

import contextlib
import logging
import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from anndata import AnnData
from tqdm.auto import tqdm

# Registers those that come with the package.
from tahoe_distill.evaluation import (  # noqa: F401
    annotation,
    clustering,
    cost,
    expression,
    fidelity,
    gene_neighbors,
    integration,
    perturbation,
)
from tahoe_distill.evaluation.base import EVALUATORS, NEEDS, Evaluator, NotEvaluable, Scores
from tahoe_distill.evaluation.baselines import expression_baselines, label_control, model_controls
from tahoe_distill.evaluation.bench import Bench, Columns
from tahoe_distill.evaluation.subjects import (
    STUDENT,
    TEACHER,
    Pair,
    Reading,
    Subject,
    check_vectors,
    embed_subject,
)
from tahoe_distill.metrics import direction
from tahoe_distill.naming import unknown

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TeacherVectors:
    """A teacher of which only vectors are at hand.

    Args:
        query: (n, e) of the query cells.
        reference: (m, e) of the reference cells; ``None`` without such cells.
        source: What they are, for the report.
    """

    query: np.ndarray
    reference: np.ndarray | None = None
    source: str = "vectors"


@dataclass
class Evaluation:
    """What was found.

    Args:
        bench: The cells.
        values: By subject, ``evaluator/number`` to its value; never NaN.
        intervals: By subject, the 95 % intervals of some of the numbers.
        cells: By subject, (n,) numbers or texts of each cell, by name.
        tables: By subject, other findings such as a confusion matrix, by ``evaluator/name``.
        skipped: ``evaluator``, ``subject`` and ``reason`` of what was left out.
        notes: What a reader must know, in sentences.
        higher_is_better: For each number.
        primary: Each evaluator's number that stands for the others.
        seconds: How long it took.
    """

    bench: Bench
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    intervals: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    cells: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    higher_is_better: dict[str, bool] = field(default_factory=dict)
    primary: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def subjects(self) -> dict[str, Subject]:
        """What was judged, teacher first, by name."""
        return self.bench.subjects

    @property
    def students(self) -> list[Subject]:
        """The models under test, in the order they were given."""
        return [subject for subject in self.subjects.values() if subject.role == STUDENT]

    def add(self, subject: Subject, evaluator: Evaluator, scores: Scores) -> None:
        """Take in what an evaluator found; numbers that are not finite are left out, and that is said."""
        name = evaluator.name
        self.primary[name] = f"{name}/{evaluator.primary}"
        kept = self.values.setdefault(subject.name, {})
        for key, value in scores.values.items():
            if math.isfinite(value):
                kept[f"{name}/{key}"] = float(value)
                self.higher_is_better[f"{name}/{key}"] = evaluator.is_higher_better(key)
            else:
                self.skip(f"{name}/{key}", subject.name, "not defined for these vectors, which do not vary enough")
        inside = {f"{name}/{key}": ends for key, ends in scores.intervals.items() if np.isfinite(ends).all()}
        self.intervals.setdefault(subject.name, {}).update(inside)
        self.cells.setdefault(subject.name, {}).update(scores.cells)
        self.tables.setdefault(subject.name, {}).update({f"{name}/{key}": x for key, x in scores.tables.items()})
        self.notes.extend(note for note in scores.notes if note not in self.notes)

    def skip(self, evaluator: str, subject: str, reason: str) -> None:
        """Note what was left out."""
        self.skipped.append({"evaluator": evaluator, "subject": subject, "reason": reason})


def evaluate(
    students: Pair | Mapping[str, Pair],
    teacher: Pair | TeacherVectors,
    query: AnnData,
    *,
    reference: AnnData | None = None,
    columns: Columns | None = None,
    reading: Reading | None = None,
    sources: Mapping[str, str] | None = None,
    only: Collection[str] = (),
    skip: Collection[str] = (),
    baselines: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Judge students beside their teacher, baselines and controls, on the same cells.

    Args:
        students: ``(model, processor)`` of one student, or several by name.
        teacher: ``(model, processor)`` of the teacher, or its vectors.
        query: AnnData of cells that neither saw in training, with counts or log1p of them in ``X``.
        reference: AnnData of cells to learn labels and baselines from; folds of ``query`` serve without.
        columns: What ``obs`` says of each cell.
        reading: How models read the cells.
        sources: Folder or hub id of models by name, for the record.
        only: Names of evaluators to run, or ``module.path:ClassName``; all that can where empty.
        skip: Names of evaluators to leave out.
        baselines: Judge baselines and controls too; without them no number means much.
        seed: Of all that is drawn.
        progress: Show a bar.

    Returns:
        The :class:`Evaluation`.

    Raises:
        ValueError: When columns are absent, cells do not fit a model, or an evaluator is unknown.
    """
    started = time.perf_counter()
    evaluators = choose_evaluators(only, skip)
    bench = Bench(query, reference, columns or Columns(), seed)
    found, sources, reading = Evaluation(bench), sources or {}, reading or Reading()
    named = students if isinstance(students, Mapping) else {"student": students}
    bar = tqdm(disable=not progress, unit="step", bar_format="{desc}{percentage:3.0f}%|{bar}| {elapsed}<{remaining}")
    with bar, _said_once():
        bar.set_description("embedding with the teacher")
        bench.subjects[TEACHER] = teacher_subject(teacher, bench, reading, source=sources.get(TEACHER))
        for name, pair in named.items():
            bar.set_description(f"embedding with {name}")
            source = sources.get(name)
            bench.subjects[name] = embed_subject(pair, bench, name=name, role=STUDENT, reading=reading, source=source)
        if baselines:
            bar.set_description("fitting baselines")
            bench.subjects.update({subject.name: subject for subject in list(_references(found))})
        _judge(found, evaluators, bar)
    found.seconds = time.perf_counter() - started
    return found


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Let each warning about the cells through once: many models read the same cells."""
    said: set[str] = set()
    logger = logging.getLogger("tahoe_distill.cells.genes")

    def is_new(entry: logging.LogRecord) -> bool:
        text, known = entry.getMessage(), len(said)
        said.add(text)
        return len(said) > known

    logger.addFilter(is_new)
    try:
        yield
    finally:
        logger.removeFilter(is_new)


def choose_evaluators(only: Collection[str] = (), skip: Collection[str] = ()) -> list[Evaluator]:
    """The evaluators to run, in order of their names.

    Args:
        only: As :func:`evaluate` takes it.
        skip: As :func:`evaluate` takes it.

    Raises:
        ValueError: For a name that is not known, and when nothing is left.
    """
    known = EVALUATORS.names()
    for name in skip:
        if name not in known:
            raise ValueError(unknown("evaluator", name, known))
    chosen = [name for name in (only or known) if name not in skip]
    if not chosen:
        raise ValueError(f"no evaluator is left to run: --only and --skip leave none of {', '.join(known)}")
    return [EVALUATORS.find(name)() for name in chosen]


def metric_direction(metric: str, mode: str | None = None, *, where: str = "metric") -> str:
    """Whether more or less of a number that a run reports is better: ``max`` or ``min``.

    Args:
        metric: ``eval/centered_cosine``, or ``cells/fidelity/…`` of the callback `evaluate`.
        mode: As :func:`tahoe_distill.metrics.direction` takes it.
        where: What the user calls the setting, for the message.

    Raises:
        ValueError: For another mode, and without one for a name that is not known.
    """
    evaluator = metric.split("/")[1] if metric.count("/") == 2 else None
    if mode is None and evaluator in EVALUATORS.names():
        return "max" if EVALUATORS.find(evaluator)().is_higher_better(metric.rpartition("/")[2]) else "min"
    return direction(metric, mode, where=where)


def teacher_subject(
    teacher: Pair | TeacherVectors, bench: Bench, reading: Reading, *, source: str | None = None
) -> Subject:
    """The teacher's vectors of a bench's cells.

    Args:
        teacher: Its model and processor, or its vectors.
        bench: The cells.
        reading: How it reads them.
        source: Its folder or hub id, for the record.

    Raises:
        ValueError: When the vectors are not those of the cells, or are not finite.
    """
    if not isinstance(teacher, TeacherVectors):
        return embed_subject(teacher, bench, name=TEACHER, role=TEACHER, reading=reading, source=source)
    query = check_vectors(np.asarray(teacher.query, dtype=np.float32), bench.query.n_obs, "the teacher")
    reference = None
    if bench.reference is not None:
        if teacher.reference is None:
            raise ValueError("there are reference cells, but no vectors of the teacher for them")
        reference = check_vectors(np.asarray(teacher.reference, dtype=np.float32), bench.reference.n_obs, "the teacher")
    return Subject(TEACHER, TEACHER, query, reference, shared_space=True, source=teacher.source)


def _references(found: Evaluation) -> Iterable[Subject]:
    """Baselines, then controls."""
    yield from expression_baselines(found.bench)
    for student in found.students:
        yield from model_controls(student, found.bench)
    if "labels" in found.bench.available:
        yield label_control(found.bench)


def _judge(found: Evaluation, evaluators: list[Evaluator], bar: tqdm) -> None:
    pairs = [(subject, evaluator) for evaluator in evaluators for subject in found.subjects.values()]
    bar.reset(total=len(pairs))
    for subject, evaluator in pairs:
        bar.set_description(f"{evaluator.name} of {subject.name}")
        judge_one(found, subject, evaluator)
        bar.update()


def judge_one(found: Evaluation, subject: Subject, evaluator: Evaluator) -> None:
    """Add what one evaluator says of one subject, or why it says nothing.

    Args:
        found: What was found so far.
        subject: Whom to judge; of the same cells.
        evaluator: Who judges.
    """
    reason = _reason_against(subject, evaluator, found.bench)
    if reason is None:
        try:
            scores = evaluator.evaluate(subject, found.bench)
            found.add(subject, evaluator, scores if isinstance(scores, Scores) else Scores(scores))
        except NotEvaluable as error:
            reason = str(error)
    if reason:
        found.skip(evaluator.name, subject.name, reason)


def _reason_against(subject: Subject, evaluator: Evaluator, bench: Bench) -> str | None:
    """Why an evaluator does not judge a subject: a sentence; ``""`` where it need not; ``None`` where it does."""
    if subject.evaluators and evaluator.name not in subject.evaluators:
        return ""
    if not evaluator.of_controls and subject.role not in (TEACHER, STUDENT):
        return ""
    if "teacher" in evaluator.needs and subject.role == TEACHER:
        return ""
    given = bench.available | subject.offers
    if "teacher" in evaluator.needs:
        # Compared can be only what both have.
        given -= {"gene_embeddings", "expression_head"} - bench.teacher.offers
    missing = [need for need in NEEDS if need in evaluator.needs and need not in given]
    return NEEDS[missing[0]] if missing else None
