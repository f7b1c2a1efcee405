"""Relational objective: each cell's neighbours in the batch are the teacher's neighbours."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import Shapes
from tahoe_distill.objectives.embedding import EmbeddingObjective, similarities
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
    similarity = similarities(cell, cell)
    # After the first entry is dropped, the diagonal falls into the last of C + 1 columns: static shapes, no -inf.
    count = len(cell)
    others = similarity.flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, count - 1)
    return F.log_softmax(others / tau, dim=-1)


@register_objective
class Relational(EmbeddingObjective):
    """Mean over cells of ``KL(teacher || student)`` of the softmax over in-batch similarities, self left out.

    The batch is what one forward pass sees: with microbatches, the microbatch. The two widths may differ. The term is
    not multiplied by tau squared, so it shrinks as tau grows. With fewer than three cells there is no choice: zero.

    Args:
        shapes: Sizes of the models.
        tau: Temperature, a number or a schedule: high compares coarse structure, low the nearest neighbours.
        teacher_tau: The teacher's own temperature, a number or a schedule; ``None`` for the same.
        matryoshka: As in :class:`EmbeddingObjective`.

    Raises:
        ValueError: When a temperature is not positive.

    References:
        Similarity-preserving distillation as KL of in-batch softmaxes: SEED, https://arxiv.org/abs/2101.04731, with the
        batch in place of its queue.
    """

    name = "relational"
    any_width = True

    def __init__(
        self,
        *,
        shapes: Shapes,
        tau: object = 0.1,
        teacher_tau: object = None,
        matryoshka: Sequence[int] | None = None,
    ):
        super().__init__(shapes=shapes, matryoshka=matryoshka)
        self.tau = Scheduled(tau, "tau", minimum=0.0, exclusive=True)
        self.teacher_tau = None
        if teacher_tau is not None:
            self.teacher_tau = Scheduled(teacher_tau, "teacher_tau", minimum=0.0, exclusive=True)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        if len(student) < 3:
            return student.sum() * 0.0
        teacher_tau = self.tau if self.teacher_tau is None else self.teacher_tau
        s = log_neighbours(student, self.tau.value.float())
        t = log_neighbours(teacher, teacher_tau.value.float())
        return F.kl_div(s, t, reduction="batchmean", log_target=True)
