"""Relational objective: each cell's neighbours in the batch are the teacher's neighbours."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import Objective, Outputs, Shapes
from tahoe_distill.objectives.registry import register_objective
from tahoe_distill.objectives.schedules import Scheduled


def log_neighbours(cell: Tensor, tau: Tensor) -> Tensor:
    """Log-softmax over the other cells of the batch of the cosine similarity divided by ``tau``.

    Args:
        cell: (C, E) cell embeddings.
        tau: Scalar temperature.

    Returns:
        (C, C - 1) in float32; row ``i`` runs over all cells but ``i``.
    """
    unit = F.normalize(cell, dim=-1)
    # Autocast would round the similarities to bfloat16, where neighbours tie.
    with torch.autocast(cell.device.type, enabled=False):
        similarity = unit @ unit.T
    # After the first entry is dropped, the diagonal falls into the last of C + 1 columns: static shapes, no -inf.
    count = len(cell)
    others = similarity.flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, count - 1)
    return F.log_softmax(others / tau, dim=-1)


@register_objective
class Relational(Objective):
    """Mean over cells of ``KL(teacher || student)`` of the softmax over in-batch similarities, self left out.

    The batch is what one forward pass sees: with microbatches, the microbatch. The two widths may differ. The term is
    not multiplied by tau squared, so it shrinks as tau grows. With fewer than three cells there is no choice: zero.

    Args:
        shapes: Sizes of the models.
        tau: Temperature, a number or a schedule: high compares coarse structure, low the nearest neighbours.
        teacher_tau: The teacher's own temperature, a number or a schedule; ``None`` for the same.

    Raises:
        ValueError: When a temperature is not positive.

    References:
        Similarity-preserving distillation as KL of in-batch softmaxes: SEED, https://arxiv.org/abs/2101.04731, with the
        batch in place of its queue.
    """

    name = "relational"
    needs = frozenset({"cell"})

    def __init__(self, *, shapes: Shapes, tau: object = 0.1, teacher_tau: object = None):
        super().__init__(shapes=shapes)
        self.tau = Scheduled(tau, "tau", minimum=0.0, exclusive=True)
        self.teacher_tau = None
        if teacher_tau is not None:
            self.teacher_tau = Scheduled(teacher_tau, "teacher_tau", minimum=0.0, exclusive=True)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        s, t = self.student_output(student, "cell"), self.teacher_output(teacher, "cell")
        if len(s) < 3:
            return s.sum() * 0.0
        teacher_tau = self.tau if self.teacher_tau is None else self.teacher_tau
        s, t = log_neighbours(s, self.tau.value.float()), log_neighbours(t, teacher_tau.value.float())
        return F.kl_div(s, t, reduction="batchmean", log_target=True)
