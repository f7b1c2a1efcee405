"""Cosine objective: the student's cell embedding points where the teacher's does."""

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import mean_or_zero
from tahoe_distill.objectives.embedding import EmbeddingObjective
from tahoe_distill.objectives.registry import register_objective


@register_objective
class Cosine(EmbeddingObjective):
    """Mean over cells of ``1 - cos(student, teacher)``: 0 … 2, blind to length.

    Where the widths differ, the student's pass through a learned map. Settings as in :class:`EmbeddingObjective`.
    """

    name = "cosine"

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        return mean_or_zero(1 - (F.normalize(student, dim=-1) * F.normalize(teacher, dim=-1)).sum(dim=-1))
