"""Comparing two models position by position: which of the teacher's positions each of the student's is, how far apart.

The student may see fewer genes than its teacher.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import Outputs, masked_mean


def shared_positions(student: Outputs, teacher: Outputs) -> tuple[Tensor | None, Tensor]:
    """Pair the student's positions with the teacher's.

    Args:
        student: Its ``gene_ids`` and ``seen`` are (C, Gs), and its ``index`` where its row is not the teacher's.
        teacher: Its ``gene_ids`` and ``seen`` are (C, Gt).

    Returns:
        The index (C, Gs) for :func:`at_positions`, ``None`` when the rows are the same; and (C, Gs) True where both
        models see the same token. Special tokens count, padding does not.

    Raises:
        ValueError: When the rows differ in length and the student has no ``index``.
    """
    index = student.index
    if index is None and student.gene_ids.shape != teacher.gene_ids.shape:
        raise ValueError(
            f"student and teacher see different genes, {tuple(student.gene_ids.shape)} and "
            f"{tuple(teacher.gene_ids.shape)}: the batch must hold student_index (C, Gs), where they are"
        )
    shared = student.seen.bool()
    if index is not None:
        shared = shared & index.ge(0)
        index = index.clamp(min=0)
    same = at_positions(teacher.gene_ids, index).eq(student.gene_ids)
    return index, shared & same & at_positions(teacher.seen.bool(), index)


def at_positions(x: Tensor, index: Tensor | None) -> Tensor:
    """(C, Gt) or (C, Gt, D) of a teacher -> (C, Gs) or (C, Gs, D) at the student's positions."""
    if index is None:
        return x
    if x.dim() == 2:
        return x.gather(1, index)
    return x.gather(1, index.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def pool_shared(x: Tensor, shared: Tensor) -> Tensor:
    """(C, G, D) -> (C, D): the mean over the positions that are True in ``shared`` (C, G); zero where none is."""
    kept = torch.where(shared.unsqueeze(-1), x, torch.zeros_like(x))
    return kept.sum(dim=1) / shared.sum(dim=1, keepdim=True).clamp(min=1)


def _mse(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().mean(dim=-1)


def _cosine(student: Tensor, teacher: Tensor) -> Tensor:
    return 1 - (F.normalize(student, dim=-1) * F.normalize(teacher, dim=-1)).sum(dim=-1)


# (…, D) twice -> (…): "mse" is the mean over dimensions of the squared difference, "cosine" is 1 - cos.
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": _mse, "cosine": _cosine}


def match(student: Tensor, teacher: Tensor, kept: Tensor, *, distance: str) -> Tensor:
    """Mean distance of two sets of vectors.

    Args:
        student: (…, D).
        teacher: (…, D).
        kept: (…) True at the vectors that count.
        distance: Key of ``DISTANCES``.

    Returns:
        Scalar; zero when no vector counts.
    """
    return masked_mean(DISTANCES[distance](student, teacher), kept)
