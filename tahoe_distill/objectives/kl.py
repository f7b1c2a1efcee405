"""KL objective: a student's classifier is as unsure as its teacher's, and about the same classes."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tahoe_distill.objectives.base import Objective, Outputs, Shapes, one_of
from tahoe_distill.objectives.registry import register_objective
from tahoe_distill.objectives.schedules import Scheduled

REDUCTIONS = ("batchmean", "mean", "sum")


@register_objective
class KullbackLeibler(Objective):
    """``tau**2 * KL(teacher || student)`` of two sets of logits (C, K), each divided by ``tau``.

    The student's are those of a linear head on its cell embedding, which is trained and checkpointed with it and not
    exported. The teacher's are a column of the batch, of whatever classifier; so this needs no teacher in the run. The
    factor keeps gradients of one size as tau changes (Hinton et al., https://arxiv.org/abs/1503.02531).

    Args:
        shapes: Sizes of the models.
        num_classes: K.
        column: Batch key of the teacher's logits (C, K).
        tau: Temperature, a number or a schedule.
        reduction: As in :func:`torch.nn.functional.kl_div`: ``batchmean`` (sum over classes, mean over cells), ``mean``
            (over all entries) or ``sum``.

    Raises:
        ValueError: When tau is not positive, the reduction is unknown, or there are fewer than two classes.
    """

    name = "kl"
    needs = frozenset({"cell", "labels"})
    needs_teacher = False

    def __init__(
        self, *, shapes: Shapes, num_classes: int, column: str, tau: object = 1.0, reduction: str = "batchmean"
    ):
        super().__init__(shapes=shapes)
        if num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, found {num_classes}")
        self.head = nn.Linear(shapes.student_embedding, num_classes)
        self.column = column
        self.tau = Scheduled(tau, "tau", minimum=0.0, exclusive=True)
        self.reduction = one_of(reduction, REDUCTIONS, "reduction")

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        s = self.head(self.student_output(student, "cell").to(self.head.weight.dtype)).float()
        t = self._teacher_logits(batch)
        if s.shape != t.shape:
            raise ValueError(f"kl compares logits of one shape, found {tuple(s.shape)} (student) and {tuple(t.shape)}")
        if not s.numel():
            return s.sum()
        tau = self.tau.value.float()
        s, t = F.log_softmax(s / tau, dim=-1), F.log_softmax(t / tau, dim=-1)
        # Divided here: torch warns about the meaning of its own "mean" at each call.
        terms = {"batchmean": len(s), "mean": s.numel(), "sum": 1}[self.reduction]
        return F.kl_div(s, t, reduction="sum", log_target=True) * tau.square() / terms

    def _teacher_logits(self, batch: dict) -> Tensor:
        if self.column not in batch:
            raise ValueError(f"kl reads the teacher's logits from {self.column!r}; the batch has {sorted(batch)}")
        return torch.as_tensor(batch[self.column]).detach().float()
