"""Views of cells with the vectors that a student is to give to them, and how to judge what it gives."""

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from tahoe_distill.fitting.cells import CountedCells
from tahoe_distill.fitting.rows import Rows, compact, encoded
from tahoe_distill.fitting.targets import Given, label
from tahoe_distill.fitting.views import MIXED, THINNED, made_up
from tahoe_distill.metrics.embeddings import centered_cosine, knn_overlap
from tahoe_distill.models import GeneVocab, Tx1Processor
from tahoe_distill.teacher import Teacher, check_agreement
from tahoe_distill.training.student.pruning import token_lookup

# Cells by which vectors are known to be a teacher's.
_COMPARED = 32


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to fit.

    Args:
        views: Views of each cell to learn from, the measured one among them; ``None`` for as many as make 20,000 cells,
            60 at most. A teacher labels thinned and mixed cells; vectors without one allow thinned ones.
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


def width_of(target: Teacher | Given) -> int:
    """Coordinates of the vectors to learn."""
    return target.vectors.shape[1] if isinstance(target, Given) else target.model.config.embedding_size


def on_gpu(settings: FitSettings) -> bool:
    """Whether the fit computes on a GPU."""
    return settings.device == "auto" and torch.cuda.is_available()


def label_views(
    target: Teacher | Given,
    train: CountedCells,
    held_out: CountedCells,
    *,
    views: int,
    settings: FitSettings,
    known: Given | None = None,
    progress: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """What is to be given to all views of the cells to learn from, and to those held out.

    Args:
        target: A teacher, or the vectors of the source's rows.
        train: Cells to learn from.
        held_out: Cells to judge by.
        views: Views of each cell to learn from.
        settings: How to fit.
        known: What a teacher gave to the rows of the source, which it then need not label again.
        progress: Show a bar.

    Returns:
        (views * n, e) and (m, e) float32.

    Raises:
        ValueError: When the known vectors are not those of the teacher.
    """
    if isinstance(target, Given):
        return np.tile(target.vectors[train.rows], (views, 1)), target.vectors[held_out.rows]
    if on_gpu(settings):
        target.model.to("cuda")
    tokens, count = own_tokens(target.processor.vocab, target.processor.vocab), views * len(train)
    if known is not None:
        made = _label_made_up(target, train, known, views=views, settings=settings, progress=progress)
        return made, known.vectors[held_out.rows]
    with tqdm(total=count + len(held_out), desc="the teacher labels", unit="cell", disable=not progress) as bar:
        shown = made_up(train, views, MIXED, seed=settings.seed)
        vectors = label(target, encoded(target.processor, tokens, shown), count, bar=bar)
        judged = label(target, encoded(target.processor, tokens, [held_out.counts]), len(held_out), bar=bar)
    return vectors, judged


def _label_made_up(
    teacher: Teacher, train: CountedCells, known: Given, *, views: int, settings: FitSettings, progress: bool
) -> np.ndarray:
    """(views * n, e) the known vectors of the measured cells, and the teacher's of those that are made of them."""
    tokens, count = own_tokens(teacher.processor.vocab, teacher.processor.vocab), (views - 1) * len(train)
    with tqdm(total=count + _COMPARED, desc="the teacher labels", unit="cell", disable=not progress) as bar:
        some = train.take(np.arange(min(_COMPARED, len(train))))
        own = label(teacher, encoded(teacher.processor, tokens, [some.counts]), len(some), bar=bar)
        check_agreement(torch.from_numpy(own), torch.from_numpy(known.vectors[some.rows]), known.source)
        shown = made_up(train, views, MIXED, seed=settings.seed, first=1)
        vectors = label(teacher, encoded(teacher.processor, tokens, shown), count, bar=bar)
    return np.concatenate([known.vectors[train.rows], vectors])


def own_tokens(vocab: GeneVocab, own: GeneVocab) -> np.ndarray:
    """(tokens,) the token of each column in a vocabulary of its own; -1 for special tokens and unknown genes."""
    lookup = token_lookup(vocab, own).numpy().copy()
    lookup[[number for token, number in vocab.tokens.items() if token.startswith("<")]] = -1
    lookup[lookup == own["<pad>"]] = -1
    return lookup


def rows_of(
    processor: Tx1Processor,
    train: CountedCells,
    vectors: np.ndarray,
    *,
    views: int,
    thinned_only: bool,
    settings: FitSettings,
) -> Rows:
    """All views as a student reads them, a sample of the genes of the largest.

    Args:
        processor: The student's; as it was, afterwards.
        train: Cells to learn from.
        vectors: (views * n, e) what :func:`label_views` gave.
        views: Views of each cell.
        thinned_only: Whether they are not mixed, since nothing labelled them.
        settings: How to fit.
    """
    tokens = own_tokens(train.vocab, processor.vocab)
    # The teacher has labelled the same views; drawn again, they need not be kept meanwhile.
    shown = made_up(train, views, THINNED if thinned_only else MIXED, seed=settings.seed)
    whole, processor.max_length = processor.max_length, min(settings.context + 1, processor.max_length)
    try:
        return Rows(processor, compact(processor, encoded(processor, tokens, shown)), vectors)
    finally:
        processor.max_length = whole


def whole_rows(processor: Tx1Processor, cells: CountedCells, vectors: np.ndarray) -> Rows:
    """Cells as a student reads them, with all of their genes, and their vectors."""
    tokens = own_tokens(cells.vocab, processor.vocab)
    return Rows(processor, compact(processor, encoded(processor, tokens, [cells.counts])), vectors)


def training_of(settings: FitSettings, started: float) -> dict[str, Any]:
    """Time since ``started`` (``time.perf_counter``) and hardware, for the record beside the settings."""
    seconds = round(time.perf_counter() - started, 1)
    hardware = torch.cuda.get_device_name(0) if on_gpu(settings) else f"{os.cpu_count()} CPU cores"
    return {"seconds": seconds, "batches": settings.steps, "processes": 1, "hardware": hardware}


class Judge:
    """Compares vectors of the held-out cells with those that they should be.

    Args:
        judged: (m, e) what they should be.
        centre: (e,) the mean of what was learned.
    """

    def __init__(self, judged: np.ndarray, centre: np.ndarray):
        self.judged, self.centre = torch.from_numpy(judged), torch.from_numpy(centre)

    def __call__(self, name: str, vectors: np.ndarray) -> dict[str, float]:
        """``{name/knn_overlap: …, name/centered_cosine: …}``, the latter where the widths agree."""
        found = torch.from_numpy(vectors)
        scores = {f"{name}/knn_overlap": float(knn_overlap(found, self.judged))}
        if found.shape == self.judged.shape:
            scores[f"{name}/centered_cosine"] = float(centered_cosine(found, self.judged, self.centre))
        return scores
