"""A student without attention from cells and a teacher: closed form, refined, judged on held-out cells, written."""

import dataclasses
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from tahoe_distill.data.batch import TEACHER
from tahoe_distill.fitting.cells import CountedCells, split
from tahoe_distill.fitting.closed_form import ridge_vectors, solve_head
from tahoe_distill.fitting.refine import refine, require_trainer
from tahoe_distill.fitting.rows import Rows, compact, encoded
from tahoe_distill.fitting.targets import Given, label
from tahoe_distill.fitting.views import MIXED, THINNED, made_up, views_for
from tahoe_distill.metrics.embeddings import centered_cosine, knn_overlap
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.objectives import ObjectiveSet, Shapes, build_objectives
from tahoe_distill.teacher import Teacher
from tahoe_distill.training.student.build import build_student, check_encoder, student_config, student_processor
from tahoe_distill.training.student.gene_means import embedding_means, output_means
from tahoe_distill.training.student.pruning import kept_vocabulary, teacher_tokens, token_lookup
from tahoe_distill.training.student.spec import PRESETS, StudentSpec

log = logging.getLogger(__name__)

OBJECTIVES: dict[str, Any] = {"cosine": {"weight": 1.0, "center": True}, "mse": {"weight": 1.0, "normalize": True}}
RIDGE, CLOSED_FORM, REFINED = "ridge", "closed_form", "eval"
# Found best beside 1e-2, from the closed form on.
_LR = 5e-3
# Cells that show what the teacher makes of each gene.
_MEANS_CELLS = 2048


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to fit.

    Args:
        views: Views of each cell to learn from, the measured one among them; ``None`` for as many as make 20,000 cells,
            60 at most. A teacher labels thinned and mixed cells; given vectors allow thinned ones.
        steps: Batches of the refinement; 0 for the closed form alone.
        batch_size: Cells of a batch.
        lr: Learning rate at its highest; 5e-3 when left out, 1e-3 for a transformer.
        context: Genes of a cell to learn from at most; serving reads all.
        held_out: Share of the cells to judge by: 20 at least, 2,000 at most.
        seed: Of the split, the views and the order of the cells.
        device: ``auto`` for a GPU where there is one, or ``cpu``.
    """

    views: int | None = None
    steps: int = 3000
    batch_size: int = 64
    lr: float | None = None
    context: int = 1024
    held_out: float = 0.1
    seed: int = 17
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("batch_size", 2), ("context", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, found {getattr(self, name)}")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"lr must be above 0, found {self.lr}")
        if self.device not in ("auto", "cpu"):
            raise ValueError(f"device must be auto or cpu, found {self.device!r}")


@dataclass(frozen=True)
class Fitted:
    """A student, and how close it came.

    Args:
        model: The student, in eval mode.
        processor: Its processor.
        metrics: Numbers of the held-out cells: of ridge (``ridge/…``), of the student's closed form
            (``closed_form/…``) and of the student (``eval/…``).
        record: Every setting, as the card is made of it.
        training: Time and hardware.
        folder: Where it was written; ``None`` where it was not.
    """

    model: Tx1Model = field(repr=False)
    processor: Tx1Processor = field(repr=False)
    metrics: dict[str, float]
    record: dict[str, Any] = field(repr=False)
    training: dict[str, Any] = field(repr=False)
    folder: Path | None = None


def fit_student(
    cells: CountedCells,
    target: Teacher | Given,
    student: str | Mapping[str, Any] = "static-small",
    *,
    objectives: Mapping[str, Any] | None = None,
    settings: FitSettings | None = None,
    progress: bool = False,
) -> Fitted:
    """Fit a student.

    Args:
        cells: The cells, by the tokens of the teacher, or of a vocabulary of their own.
        target: A teacher, or the vectors of all rows of the source that the cells are from.
        student: A static preset, or a mapping of fields as ``model.student`` has them.
        objectives: As ``model.objectives``, those that read cell embeddings; the recipe's when left out.
        settings: How to fit.
        progress: Show bars.

    Returns:
        The :class:`Fitted`, not written anywhere.

    Raises:
        ValueError: When student, objectives, cells and target do not fit each other.
        ImportError: When accelerate is not installed, which the refinement needs.
    """
    settings, started = settings or FitSettings(), time.perf_counter()
    spec = static_spec(student)
    if settings.steps:
        require_trainer()
    learn, judge = split(len(cells), settings.held_out, settings.seed)
    train, held_out = cells.take(learn), cells.take(judge)
    views = views_for(train, settings.views)
    vocab = kept_vocabulary(set(np.unique(train.counts.indices).tolist()), cells.vocab, cells.where)
    config = _config(spec, target, vocab)
    chosen = _objectives(objectives or OBJECTIVES, config, target)
    vectors, judged = _vectors(target, train, held_out, views, settings, progress)
    model = _first(spec, config, target, train, vectors[: len(train)], vocab)
    processor = student_processor(config, vocab, _processor(target), symbols=cells.symbols)
    tokens = _own_tokens(cells.vocab, vocab)
    shown = _rows(processor, tokens, train, views, target, settings, vectors)
    wanted = Rows(processor, compact(processor, encoded(processor, tokens, [held_out.counts])), judged)
    judge_by = _Judge(judged, vectors[: len(train)].mean(axis=0))
    ridge = ridge_vectors(train, vectors[: len(train)], held_out, seed=settings.seed)
    metrics = judge_by(RIDGE, ridge)
    solve_head(model, shown, seed=settings.seed)
    metrics |= judge_by(CLOSED_FORM, wanted.embed(model))
    if settings.steps:
        options = {name: getattr(settings, name) for name in ("steps", "batch_size", "seed", "device")}
        refine(model, chosen, shown, lr=settings.lr or _LR, **options, progress=progress)
    metrics |= judge_by(REFINED, wanted.embed(model.eval()))
    record = _record(cells, target, student, objectives or OBJECTIVES, settings, views, (len(train), len(held_out)))
    seconds = round(time.perf_counter() - started, 1)
    hardware = torch.cuda.get_device_name(0) if _on_gpu(settings) else f"{os.cpu_count()} CPU cores"
    record["fit"]["baselines"] = {name: value for name, value in metrics.items() if not name.startswith(REFINED)}
    training = {"seconds": seconds, "batches": settings.steps, "processes": 1, "hardware": hardware}
    return Fitted(model, processor, metrics, record, training)


def is_static(student: str | Mapping[str, Any]) -> bool:
    """Whether a student is one without attention, which a fit trains."""
    return StudentSpec.read(student).fields.get("encoder") == "set"


def static_spec(student: str | Mapping[str, Any]) -> StudentSpec:
    """The specification of a student without attention.

    Raises:
        ValueError: When it is another, or asks for what only a run of Composer does.
    """
    spec = StudentSpec.read(student)
    if spec.path or spec.genes or spec.init_cells or spec.drug_token:
        raise ValueError(
            "a fit starts from the cells that it is given: path, genes, init_cells and drug_token are for a run "
            "(composer scripts/distill.py); leave them out"
        )
    if spec.fields.get("encoder") != "set":
        names = ", ".join(name for name in PRESETS if name.startswith("static"))
        raise ValueError(
            f"a fit trains students without attention ({names}, or encoder: set), found {student!r}; a transformer is "
            "trained by composer scripts/distill.py, or by tahoe_distill.distill where [train] is installed"
        )
    return dataclasses.replace(spec, init="teacher")


def _width(target: Teacher | Given) -> int:
    return target.vectors.shape[1] if isinstance(target, Given) else target.model.config.embedding_size


def _processor(target: Teacher | Given) -> Tx1Processor | None:
    return None if isinstance(target, Given) else target.processor


def _config(spec: StudentSpec, target: Teacher | Given, vocab: GeneVocab) -> Tx1Config:
    width = _width(target)
    for name in ("projection_dim", "truncate_dim"):
        asked = spec.fields.get(name)
        if asked is not None and asked > width:
            raise ValueError(
                f"{name} is {asked}, and the vectors to learn have {width} coordinates: a student cannot give more; "
                f"ask for {width} at most"
            )
    given = isinstance(target, Given)
    defaults = {"projection_dim": width} if given else None
    return student_config(spec, None if given else target.model.config, defaults=defaults, vocab=vocab)


def _objectives(spec: Mapping[str, Any], config: Tx1Config, target: Teacher | Given) -> ObjectiveSet:
    width = _width(target)
    shapes = Shapes(
        student_width=config.hidden_size,
        student_embedding=config.embedding_size,
        student_layers=config.num_hidden_layers,
        teacher_embedding=width,
        num_bins=config.num_bins,
    )
    objectives = build_objectives(spec, shapes)
    check_encoder(config, objectives, sees_masks=False)
    others = {key: objective.needs - {"cell"} for key, objective in objectives.objectives.items()}
    for key, needs in others.items():
        if needs:
            raise ValueError(
                f"objective {key!r} reads {', '.join(sorted(needs))}, and a fit keeps cell embeddings alone: remove "
                "it, or train by composer scripts/distill.py"
            )
    return objectives


def _on_gpu(settings: FitSettings) -> bool:
    return settings.device == "auto" and torch.cuda.is_available()


def _vectors(
    target: Teacher | Given,
    train: CountedCells,
    held_out: CountedCells,
    views: int,
    settings: FitSettings,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """(views * n, e) vectors of all views of the cells to learn from, and (m, e) of those held out."""
    if isinstance(target, Given):
        return np.tile(target.vectors[train.rows], (views, 1)), target.vectors[held_out.rows]
    if _on_gpu(settings):
        target.model.to("cuda")
    tokens, count = _own_tokens(target.processor.vocab, target.processor.vocab), views * len(train)
    with tqdm(total=count + len(held_out), desc="the teacher labels", unit="cell", disable=not progress) as bar:
        shown = made_up(train, views, MIXED, seed=settings.seed)
        vectors = label(target, encoded(target.processor, tokens, shown), count, bar=bar)
        judged = label(target, encoded(target.processor, tokens, [held_out.counts]), len(held_out), bar=bar)
    return vectors, judged


def _first(
    spec: StudentSpec,
    config: Tx1Config,
    target: Teacher | Given,
    train: CountedCells,
    vectors: np.ndarray,
    vocab: GeneVocab,
) -> Tx1Model:
    """A student with its first gene vectors, principal components of what the teacher makes of each gene."""
    chosen = np.linspace(0, len(train) - 1, min(len(train), _MEANS_CELLS)).round().astype(int)
    samples = train.samples(chosen)
    if isinstance(target, Given):
        found = embedding_means([{**s, TEACHER: v} for s, v in zip(samples, vectors[chosen])], train.where)
    else:
        found = output_means(target.model, target.processor, samples)
    tokens = teacher_tokens(train.vocab, vocab)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_student(spec, config, {"cell"}, sees_masks=False, tokens=tokens, found=found)


def _own_tokens(vocab: GeneVocab, own: GeneVocab) -> np.ndarray:
    """(tokens,) the token of each column in a vocabulary of its own; -1 for special tokens and unknown genes."""
    lookup = token_lookup(vocab, own).numpy().copy()
    lookup[[number for token, number in vocab.tokens.items() if token.startswith("<")]] = -1
    lookup[lookup == own["<pad>"]] = -1
    return lookup


def _rows(
    processor: Tx1Processor,
    tokens: np.ndarray,
    train: CountedCells,
    views: int,
    target: Teacher | Given,
    settings: FitSettings,
    vectors: np.ndarray,
) -> Rows:
    """All views as the student reads them, a sample of the genes of the largest."""
    # The teacher has labelled the same views; drawn again, they need not be kept meanwhile.
    shown = made_up(train, views, THINNED if isinstance(target, Given) else MIXED, seed=settings.seed)
    whole, processor.max_length = processor.max_length, min(settings.context + 1, processor.max_length)
    try:
        return Rows(processor, compact(processor, encoded(processor, tokens, shown)), vectors)
    finally:
        processor.max_length = whole


class _Judge:
    """Compares vectors of the held-out cells with those they should be."""

    def __init__(self, judged: np.ndarray, centre: np.ndarray):
        self.judged, self.centre = torch.from_numpy(judged), torch.from_numpy(centre)

    def __call__(self, name: str, vectors: np.ndarray) -> dict[str, float]:
        found = torch.from_numpy(vectors)
        scores = {f"{name}/knn_overlap": float(knn_overlap(found, self.judged))}
        if found.shape == self.judged.shape:
            scores[f"{name}/centered_cosine"] = float(centered_cosine(found, self.judged, self.centre))
        return scores


def _record(
    cells: CountedCells,
    target: Teacher | Given,
    student: str | Mapping[str, Any],
    objectives: Mapping[str, Any],
    settings: FitSettings,
    views: int,
    counts: tuple[int, int],
) -> dict[str, Any]:
    """What was done, in the form of a run's configuration, since cards are written from that."""
    given = isinstance(target, Given)
    files = [Path(cells.where).name]
    uses = zip(("training", "evaluation"), counts)
    return {
        "run_name": "Distilled cell embeddings" if given else "Distilled Tahoe-x1",
        "seed": settings.seed,
        "max_duration": f"{settings.steps}ba",
        "global_train_batch_size": settings.batch_size,
        "optimizer": {"name": "adamw", "lr": settings.lr or _LR},
        "model": {
            "teacher": None if given else target.source,
            **({"vectors": {"source": target.source, "width": _width(target)}} if given else {}),
            "student": student if isinstance(student, str) else dict(student),
            "objectives": dict(objectives),
        },
        "fit": {**asdict(settings), "views": views},
        "variables": {"cells": {use: {"cells": count, "files": files} for use, count in uses}},
    }
