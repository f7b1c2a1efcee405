"""Contrastive objective: each cell is known by its own teacher vector among those of the batch."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import Shapes
from tahoe_distill.objectives.embedding import EmbeddingObjective, similarities
from tahoe_distill.objectives.registry import register_objective
from tahoe_distill.objectives.schedules import Scheduled


@register_objective
class Contrastive(EmbeddingObjective):
    """Mean over cells of the cross-entropy of picking the cell's own teacher vector, by cosine, out of the batch's.

    The batch is what one forward pass sees: with microbatches, the microbatch. It does not reach zero, since like cells
    have like vectors. With fewer than two cells there is no choice: zero.

    Args:
        shapes: Sizes of the models; where the widths differ, the student's pass through a learned map.
        tau: Temperature that the cosines are divided by, a number or a schedule.
        center: As in :class:`EmbeddingObjective`, as are the next two.
        center_momentum: See there.
        matryoshka: See there.

    Raises:
        ValueError: When a temperature is not positive.

    References:
        InfoNCE, https://arxiv.org/abs/1807.03748, with the teacher's vectors as keys, as in contrastive representation
        distillation, https://arxiv.org/abs/1910.10699.
    """

    name = "contrastive"

    def __init__(
        self,
        *,
        shapes: Shapes,
        tau: object = 0.05,
        center: bool = False,
        center_momentum: float | None = None,
        matryoshka: Sequence[int] | None = None,
    ):
        super().__init__(shapes=shapes, center=center, center_momentum=center_momentum, matryoshka=matryoshka)
        self.tau = Scheduled(tau, "tau", minimum=0.0, exclusive=True)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        if len(student) < 2:
            return student.sum() * 0.0
        own = torch.arange(len(student), device=student.device)
        return F.cross_entropy(similarities(student, teacher) / self.tau.value.float(), own)
