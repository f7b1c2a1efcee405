"""Agreement of the cell embeddings of student and teacher: cosines, distance, neighbours.

The functions take all cells at once, in any precision; the metrics add up over batches and processes, in float32.
Shapes: C cells, E width of a cell embedding.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.metrics.base import EmbeddingPairs, RunningMean, check_cells, check_pair
from tahoe_distill.metrics.registry import register_metric

_CHUNK = 1024


def mean_cosine(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean cosine of two embeddings (C, E) of the same cells; 0.0 where there are none.

    All cells of a foundation model share a direction, so this is high for any student: see :func:`centered_cosine`.

    Raises:
        ValueError: When they do not lie in the same space.
    """
    check_pair(student, teacher)
    return F.cosine_similarity(student, teacher, dim=-1).mean() if len(teacher) else teacher.new_zeros(())


def centered_cosine(student: Tensor, teacher: Tensor, center: Tensor | None = None) -> Tensor:
    """Mean cosine of two embeddings (C, E) of the same cells after a common subtraction; 0.0 where there are none.

    Args:
        student: (C, E) student's vectors.
        teacher: (C, E) teacher's vectors.
        center: (E,) what to subtract from both; the mean of ``teacher`` by default.

    Raises:
        ValueError: When they do not lie in the same space.
    """
    check_pair(student, teacher)
    center = teacher.mean(dim=0) if center is None else center
    return mean_cosine(student - center, teacher - center)


def knn_overlap(student: Tensor, teacher: Tensor, k: int = 10) -> Tensor:
    """Mean over cells of the share of the teacher's ``k`` nearest neighbours that are the student's too: 0 … 1.

    Neighbours are by cosine similarity, the cell itself left out. With ``k`` cells or fewer, all the others are
    neighbours; a single cell has none and the overlap is 0.0. The time grows with the square of the cells.

    Args:
        student: (C, Es) student's vectors.
        teacher: (C, Et) teacher's vectors of the same cells, in a space of any width.
        k: Neighbours of a cell.

    Raises:
        ValueError: When the numbers of cells differ.
    """
    k = min(k, len(teacher) - 1)
    shared = shared_neighbors(student, teacher, k)
    return shared.sum().to(teacher.dtype) / max(k * len(teacher), 1)


def shared_neighbors(student: Tensor, teacher: Tensor, k: int, *, index: Tensor | None = None) -> Tensor:
    """How many of the teacher's ``k`` nearest neighbours of each cell are the student's too: (C,) int64.

    Args:
        student: (C, Es) student's vectors.
        teacher: (C, Et) teacher's vectors of the same cells.
        k: Neighbours of a cell, by cosine similarity; at most as many as there are.
        index: (M, E) vectors to find both models' neighbours among, in a space that they share, such as an atlas of the
            teacher's. Left out, a model's neighbours are among its own vectors of the other cells.

    Raises:
        ValueError: When the numbers of cells differ.
    """
    check_cells(student, teacher)
    k = min(k, len(teacher) - 1 if index is None else len(index))
    shared = torch.zeros(len(teacher), dtype=torch.int64, device=teacher.device)
    if k < 1:
        return shared
    queries = [F.normalize(x, dim=-1) for x in (student, teacher)]
    unit = None if index is None else F.normalize(index, dim=-1)
    # In chunks, as all cells against all would not fit.
    for start in range(0, len(teacher), _CHUNK):
        s, t = (_nearest(x, start, min(start + _CHUNK, len(x)), k, unit) for x in queries)
        shared[start : start + _CHUNK] = (s.unsqueeze(2) == t.unsqueeze(1)).sum(dim=(1, 2))
    return shared


def _nearest(unit: Tensor, start: int, stop: int, k: int, index: Tensor | None) -> Tensor:
    """Numbers (stop - start, k) of the vectors of ``index`` nearest to cells ``start … stop`` of ``unit`` (C, E).

    Without an index they are found among ``unit``, itself left out.
    """
    if index is not None:
        return (unit[start:stop] @ index.T).topk(k, dim=-1).indices
    similarity = unit[start:stop] @ unit.T
    similarity.diagonal(offset=start).fill_(-torch.inf)
    return similarity.topk(k, dim=-1).indices


@register_metric
class MeanCosine(RunningMean):
    """:func:`mean_cosine`: -1 … 1, higher is better."""

    name = "cosine"
    higher_is_better = True
    reads = "shared_space"

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """Take the embeddings (C, E) of both models for the same cells."""
        check_pair(student, teacher)
        self.add(F.cosine_similarity(student.float(), teacher.float(), dim=-1))


@register_metric
class CenteredCosine(EmbeddingPairs):
    """:func:`centered_cosine` around the teacher's mean: -1 … 1, higher is better.

    The mean is over all cells seen, on every process, so a student that returns the teacher's mean for each cell gets
    no credit for the direction that all cells share.
    """

    name = "centered_cosine"
    higher_is_better = True
    reads = "shared_space"

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """Take the embeddings (C, E) of both models for the same cells."""
        check_pair(student, teacher)
        super().update(student, teacher)

    def compute(self) -> Tensor:
        """The mean cosine; 0.0 when no cell was seen."""
        return centered_cosine(*self.pairs())


@register_metric
class NormalizedMSE(RunningMean):
    """Mean over cells of the squared distance between L2-normalised embeddings: 0 … 4, lower is better.

    Summed over dimensions, the convention of the ``mse`` objective, so equal to ``2 - 2 cos``; a mean over dimensions,
    as some libraries report, is this divided by the width.
    """

    name = "normalized_mse"
    higher_is_better = False
    reads = "shared_space"

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """Take the embeddings (C, E) of both models for the same cells."""
        check_pair(student, teacher)
        difference = F.normalize(student.float(), dim=-1) - F.normalize(teacher.float(), dim=-1)
        self.add(difference.square().sum(dim=-1))


@register_metric
class KNNOverlap(EmbeddingPairs):
    """:func:`knn_overlap`: 0 … 1, higher is better.

    Args:
        k: Neighbours of a cell.
        max_cells: The overlap is that of so many cells at most, since its time grows with their square; which ones,
            says :class:`~.base.EmbeddingPairs`. Fewer cells have fewer true neighbours to confuse, so compare values of
            the same evaluation set only.

    Raises:
        ValueError: When ``k`` or ``max_cells`` is not positive.
    """

    name = "knn_overlap"
    higher_is_better = True
    reads = "embeddings"

    def __init__(self, k: int = 10, max_cells: int = 4096, **kwargs: Any):
        super().__init__(max_cells, **kwargs)
        if k < 1:
            raise ValueError(f"k must be at least 1 neighbour, found {k}")
        self.k = k

    def compute(self) -> Tensor:
        """The mean overlap; 0.0 with fewer than two cells."""
        return knn_overlap(*self.pairs(), k=self.k)
