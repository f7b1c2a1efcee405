"""An exported student made smaller and closer for one atlas: its genes only, and some more training on its cells."""

import copy
import dataclasses
import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tahoe_distill.embedding import load_student
from tahoe_distill.embedding.loading import ModelSource
from tahoe_distill.fitting.cells import CountedCells, split
from tahoe_distill.fitting.fit import OBJECTIVES, REFINED, Fitted, cell_objectives, record_of
from tahoe_distill.fitting.labelled import (
    FitSettings,
    Judge,
    label_views,
    own_tokens,
    rows_of,
    training_of,
    whole_rows,
    width_of,
)
from tahoe_distill.fitting.refine import refine, require_trainer
from tahoe_distill.fitting.targets import Given
from tahoe_distill.fitting.views import views_for
from tahoe_distill.models import Tx1Model, Tx1Processor
from tahoe_distill.teacher import Teacher
from tahoe_distill.training.student.build import student_processor
from tahoe_distill.training.student.pruning import kept_vocabulary, teacher_tokens

BEFORE, ELSEWHERE = "before", "other"
# A trained student is moved, not made anew.
_LR = 1e-3
_STEPS = 1000


def specialise(
    student: ModelSource,
    cells: CountedCells,
    target: Teacher | Given,
    *,
    other: CountedCells | None = None,
    objectives: Mapping[str, Any] | None = None,
    settings: FitSettings | None = None,
    known: Given | None = None,
    progress: bool = False,
) -> Fitted:
    """Prune a student to the genes of an atlas and adapt it to its cells.

    Args:
        student: Folder or hub id of a student without attention, or its pair of model and processor; not changed.
        cells: The atlas's cells, by the tokens of the teacher, or of the student where there are only vectors.
        target: A teacher, or the vectors of all rows of the atlas.
        other: Cells of another kind, by the same tokens, to see what is lost on them; needs a teacher.
        objectives: As ``model.objectives``; those of a fit when left out.
        settings: How to fit; 1,000 batches at a rate of 1e-3 when left out.
        known: Vectors that the teacher gave to all rows of the source; it then labels no more than their views.
        progress: Show bars.

    Returns:
        A :class:`Fitted`, whose numbers are those of the student as it was (``before/…``), of the new one (``eval/…``),
        both on held-out cells of the atlas, and of both on the other cells (``before_other/…``, ``other/…``).

    Raises:
        ValueError: When the student pays attention, has another width than the vectors, or knows no gene of the cells.
        ImportError: When accelerate is not installed.
    """
    settings, started = settings or FitSettings(steps=_STEPS), time.perf_counter()
    if settings.steps:
        require_trainer()
    whole, processor = load_student(student)
    _check(whole, width_of(target))
    if other is not None and isinstance(target, Given):
        raise ValueError("other cells are judged by a teacher, and there are only vectors of the atlas: name a teacher")
    learn, judge = split(len(cells), settings.held_out, settings.seed)
    train, held_out = cells.take(learn), cells.take(judge)
    views = views_for(train, settings.views)
    model, own = prune(whole, processor, cells)
    chosen = cell_objectives(objectives or OBJECTIVES, model.config, target)
    vectors, judged = label_views(
        target, train, held_out, views=views, settings=settings, known=known, progress=progress
    )
    judges = {REFINED: (held_out, judged)}
    if other is not None:
        everything = dataclasses.replace(settings, views=1)
        judges[ELSEWHERE] = other, label_views(target, other, other, views=1, settings=everything)[1]
    judge_by = {name: Judge(found, vectors[: len(train)].mean(axis=0)) for name, (_, found) in judges.items()}
    metrics: dict[str, float] = {}
    for name, (shown, found) in judges.items():
        label = BEFORE if name == REFINED else f"{BEFORE}_{name}"
        metrics |= judge_by[name](label, whole_rows(processor, shown, found).embed(whole))
    given = isinstance(target, Given)
    rows = rows_of(own, train, vectors, views=views, thinned_only=given, settings=settings)
    if settings.steps:
        options = {name: getattr(settings, name) for name in ("steps", "batch_size", "seed", "device")}
        refine(model, chosen, rows, lr=settings.lr or _LR, **options, progress=progress)
    for name, (shown, found) in judges.items():
        metrics |= judge_by[name](name, whole_rows(own, shown, found).embed(model.eval()))
    spec = {"path": str(student)} if isinstance(student, (str, os.PathLike)) else {"path": "a student in memory"}
    counts = (len(train), len(held_out))
    resolved = dataclasses.replace(settings, lr=settings.lr or _LR, views=views)
    record = record_of(cells, target, spec, objectives=objectives or OBJECTIVES, settings=resolved, counts=counts)
    if known is not None:
        record["fit"]["known"] = known.source
    record["fit"]["baselines"] = {name: value for name, value in metrics.items() if not name.startswith(REFINED)}
    trust = whole_rows(own, held_out, judged).trust(model)
    return Fitted(model, own, metrics, record, training_of(settings, started), trust)


def prune(student: Tx1Model, processor: Tx1Processor, cells: CountedCells) -> tuple[Tx1Model, Tx1Processor]:
    """A copy of a student that knows the genes of some cells alone, and gives the same vectors for these cells.

    Args:
        student: A student without attention.
        processor: Its processor.
        cells: The cells.

    Raises:
        ValueError: When it knows none of their genes.
    """
    expressed = np.unique(cells.counts.indices)
    known = own_tokens(cells.vocab, processor.vocab)[expressed]
    vocab = kept_vocabulary(set(known[known >= 0].tolist()), processor.vocab, cells.where)
    rows = teacher_tokens(processor.vocab, vocab)
    config = copy.deepcopy(student.config)
    config.vocab_size, config.pad_token_id, config.cls_token_id = len(vocab), vocab["<pad>"], vocab["<cls>"]
    config.context_length = min(config.context_length, len(vocab))
    weights = student.state_dict()
    for name in ("gene_encoder.embedding.weight", "gene_set_encoder.gene_weight.weight"):
        if name in weights:
            weights[name] = weights[name][rows]
    with torch.random.fork_rng(devices=[]):
        pruned = Tx1Model(config)
    pruned.load_state_dict({name: tensor.detach().float().clone() for name, tensor in weights.items()}, strict=True)
    return pruned.eval(), student_processor(config, vocab, processor, symbols=cells.symbols)


def _check(student: Tx1Model, width: int) -> None:
    if student.gene_set_encoder is None:
        raise ValueError(
            "specialise adapts a student without attention (encoder: set), and this one is a transformer: carry on "
            "from it with composer scripts/distill.py and model.student={path: FOLDER}"
        )
    if student.config.num_drugs is not None:
        raise ValueError("specialise knows no drugs, and this student has a drug token: choose one without")
    if student.config.embedding_size != width:
        raise ValueError(
            f"the student gives {student.config.embedding_size} coordinates, its teacher {width}: name the teacher, or "
            "the vectors, that it was distilled from. One of another width than its own teacher's cannot be adapted: "
            "the map between them was left with its run, so fit a new one (tahoe-distill fit)"
        )
