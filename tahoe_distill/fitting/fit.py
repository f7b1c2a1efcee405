"""A student without attention from cells and a teacher: closed form, refined, judged on held-out cells, written."""

import dataclasses
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tahoe_distill.data.batch import TEACHER
from tahoe_distill.embedding.confidence import Confidence
from tahoe_distill.fitting.cells import CountedCells, split
from tahoe_distill.fitting.closed_form import ridge_vectors, solve_head, solve_maps
from tahoe_distill.fitting.labelled import (
    FitSettings,
    Judge,
    label_views,
    rows_of,
    training_of,
    whole_rows,
    width_of,
)
from tahoe_distill.fitting.refine import refine, require_trainer
from tahoe_distill.fitting.targets import Given
from tahoe_distill.fitting.views import views_for
from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.objectives import ObjectiveSet, Shapes, build_objectives
from tahoe_distill.teacher import Teacher
from tahoe_distill.training.student.build import build_student, check_encoder, student_config, student_processor
from tahoe_distill.training.student.gene_means import embedding_means, output_means
from tahoe_distill.training.student.pruning import kept_vocabulary, teacher_tokens
from tahoe_distill.training.student.spec import PRESETS, StudentSpec

log = logging.getLogger(__name__)

OBJECTIVES: dict[str, Any] = {"cosine": {"weight": 1.0, "center": True}, "mse": {"weight": 1.0, "normalize": True}}
RIDGE, CLOSED_FORM, REFINED = "ridge", "closed_form", "eval"
# Found best beside 1e-2, from the closed form on.
_LR = 5e-3
# Cells that show what the teacher makes of each gene.
_MEANS_CELLS = 2048


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
        confidence: How far to trust its vectors; ``None`` where too few cells were held out to tell.
        folder: Where it was written; ``None`` where it was not.
    """

    model: Tx1Model = field(repr=False)
    processor: Tx1Processor = field(repr=False)
    metrics: dict[str, float]
    record: dict[str, Any] = field(repr=False)
    training: dict[str, Any] = field(repr=False)
    confidence: Confidence | None = field(default=None, repr=False)
    folder: Path | None = None


def fit_student(
    cells: CountedCells,
    target: Teacher | Given,
    student: str | Mapping[str, Any] = "static-small",
    *,
    objectives: Mapping[str, Any] | None = None,
    settings: FitSettings | None = None,
    known: Given | None = None,
    progress: bool = False,
) -> Fitted:
    """Fit a student.

    Args:
        cells: The cells, by the tokens of the teacher, or of a vocabulary of their own.
        target: A teacher, or the vectors of all rows of the source that the cells are from.
        student: A static preset, or a mapping of fields as ``model.student`` has them.
        objectives: As ``model.objectives``, those that read cell embeddings; the recipe's when left out.
        settings: How to fit.
        known: Vectors that the teacher gave to all rows of the source; it then labels no more than their views.
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
    vocab = expressed_vocabulary(train)
    config = _config(spec, target, vocab)
    chosen = cell_objectives(objectives or OBJECTIVES, config, target)
    vectors, judged = label_views(
        target, train, held_out, views=views, settings=settings, known=known, progress=progress
    )
    model = first_student(spec, config, target, train=train, vectors=vectors[: len(train)])
    processor = student_processor(config, vocab, _processor(target), symbols=cells.symbols)
    given = isinstance(target, Given)
    shown = rows_of(processor, train, vectors, views=views, thinned_only=given, settings=settings)
    wanted = whole_rows(processor, held_out, judged)
    judge_by = Judge(judged, vectors[: len(train)].mean(axis=0))
    ridge = ridge_vectors(train, vectors[: len(train)], held_out, seed=settings.seed)
    metrics = judge_by(RIDGE, ridge)
    solve_head(model, shown, seed=settings.seed)
    solve_maps(chosen, model, shown)
    metrics |= judge_by(CLOSED_FORM, wanted.embed(model))
    if settings.steps:
        options = {name: getattr(settings, name) for name in ("steps", "batch_size", "seed", "device")}
        refine(model, chosen, shown, lr=settings.lr or _LR, **options, progress=progress)
    metrics |= judge_by(REFINED, wanted.embed(model.eval()))
    resolved = dataclasses.replace(settings, lr=settings.lr or _LR, views=views)
    counts = (len(train), len(held_out))
    record = record_of(cells, target, student, objectives=objectives or OBJECTIVES, settings=resolved, counts=counts)
    if known is not None:
        record["fit"]["known"] = known.source
    record["fit"]["baselines"] = {name: value for name, value in metrics.items() if not name.startswith(REFINED)}
    return Fitted(model, processor, metrics, record, training_of(settings, started), wanted.trust(model))


def expressed_vocabulary(cells: CountedCells) -> GeneVocab:
    """The part of the cells' vocabulary that they express."""
    return kept_vocabulary(set(np.unique(cells.counts.indices).tolist()), cells.vocab, cells.where)


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


def _processor(target: Teacher | Given) -> Tx1Processor | None:
    return None if isinstance(target, Given) else target.processor


def _config(spec: StudentSpec, target: Teacher | Given, vocab: GeneVocab) -> Tx1Config:
    width = width_of(target)
    for name in ("projection_dim", "truncate_dim"):
        asked = spec.fields.get(name)
        if asked is not None and asked > width:
            raise ValueError(
                f"{name} is {asked}, and the vectors to learn have {width} coordinates: a student cannot give more; "
                f"ask for {width} at most"
            )
    if isinstance(target, Given):
        return student_config(spec, None, defaults={"projection_dim": width}, vocab=vocab)
    return student_config(spec, target.model.config, vocab=vocab)


def cell_objectives(spec: Mapping[str, Any], config: Tx1Config, target: Teacher | Given) -> ObjectiveSet:
    """Objectives that compare cell embeddings.

    Args:
        spec: As ``model.objectives`` of a run.
        config: The student's.
        target: What it is to give.

    Raises:
        ValueError: When they are wrong, or read more than cell embeddings.
    """
    width = width_of(target)
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


def first_student(
    spec: StudentSpec, config: Tx1Config, target: Teacher | Given, *, train: CountedCells, vectors: np.ndarray
) -> Tx1Model:
    """A student with its first gene vectors, principal components of what the teacher makes of each gene.

    Args:
        spec: What :func:`static_spec` gave.
        config: The student's, for the genes that the cells express (:func:`expressed_vocabulary`).
        target: What it is to give.
        train: Cells to learn from.
        vectors: (n, e) what it is to give them.
    """
    vocab = expressed_vocabulary(train)
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


def record_of(
    cells: CountedCells,
    target: Teacher | Given,
    student: str | Mapping[str, Any],
    *,
    objectives: Mapping[str, Any],
    settings: FitSettings,
    counts: tuple[int, int],
) -> dict[str, Any]:
    """What was done, in the form of a run's configuration, since cards are written from that.

    Args:
        cells: The cells.
        target: What was learned.
        student: As ``model.student``.
        objectives: As ``model.objectives``.
        settings: How, all of it resolved.
        counts: Cells to learn from, and to judge by.
    """
    given = isinstance(target, Given)
    files = [Path(cells.where).name]
    uses = zip(("training", "evaluation"), counts)
    return {
        "run_name": "Distilled cell embeddings" if given else "Distilled Tahoe-x1",
        "seed": settings.seed,
        "max_duration": f"{settings.steps}ba",
        "global_train_batch_size": settings.batch_size,
        "optimizer": {"name": "adamw", "lr": settings.lr},
        "model": {
            "teacher": None if given else target.source,
            **({"vectors": {"source": target.source, "width": width_of(target)}} if given else {}),
            "student": student if isinstance(student, str) else dict(student),
            "objectives": dict(objectives),
        },
        "fit": asdict(settings),
        "variables": {"cells": {use: {"cells": count, "files": files} for use, count in uses}},
    }
