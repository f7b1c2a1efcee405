"""Which of the teacher's positions each of the student's is: the student may see fewer genes than its teacher."""

import torch
from torch import Tensor

from tahoe_distill.objectives.base import Outputs


def shared_positions(student: Outputs, teacher: Outputs, batch: dict) -> tuple[Tensor | None, Tensor]:
    """Pair the student's positions with the teacher's.

    Args:
        student: Its ``gene_ids`` and ``seen`` are (C, Gs).
        teacher: Its ``gene_ids`` and ``seen`` are (C, Gt).
        batch: ``student_index`` (C, Gs) int64, where given, holds the position of each of the student's genes in the
            teacher's row (negative: not there); without it both models must have the same row.

    Returns:
        The index (C, Gs) for :func:`at_positions`, ``None`` when the rows are the same; and (C, Gs) True where both
        models see the same token. Special tokens count, padding does not.

    Raises:
        ValueError: When the rows differ in length and there is no ``student_index``.
    """
    index = batch.get("student_index")
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
