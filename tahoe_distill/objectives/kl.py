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

    The factor keeps gradients of one size as tau changes (Hinton et al., https://arxiv.org/abs/1503.02531).

    Args:
        shapes: Sizes of the models.
        tau: Temperature, a number or a schedule.
        reduction: As in :func:`torch.nn.functional.kl_div`: ``batchmean`` (sum over classes, mean over cells), ``mean``
            (over all entries) or ``sum``.
        num_classes: Give the student a linear head of this many classes on its cell embedding; ``None`` to read the
            logits of the student itself.
        column: Batch key of the teacher's logits (C, K), from a cache or another classifier; ``None`` to read the
            logits of the teacher itself.

    Raises:
        ValueError: When tau is not positive, the reduction is unknown, or there are fewer than two classes.
    """

    name = "kl"
    needs = frozenset({"logits"})

    def __init__(
        self,
        *,
        shapes: Shapes,
        tau: object = 1.0,
        reduction: str = "batchmean",
        num_classes: int | None = None,
        column: str | None = None,
    ):
        super().__init__(shapes=shapes)
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"num_classes must be at least 2, found {num_classes}")
        self.tau = Scheduled(tau, "tau", minimum=0.0, exclusive=True)
        self.reduction = one_of(reduction, REDUCTIONS, "reduction")
        self.head = None if num_classes is None else nn.Linear(shapes.student_embedding, num_classes)
        self.column = column
        self.needs_teacher = column is None
        needs = {"logits" if self.head is None else "cell", "logits" if column is None else "labels"}
        self.needs = frozenset(needs)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        s, t = self._student_logits(student), self._teacher_logits(teacher, batch)
        if s.shape != t.shape:
            raise ValueError(f"kl compares logits of one shape, found {tuple(s.shape)} (student) and {tuple(t.shape)}")
        if not s.numel():
            return s.sum()
        tau = self.tau.value.float()
        s, t = F.log_softmax(s / tau, dim=-1), F.log_softmax(t / tau, dim=-1)
        # Divided here: torch warns about the meaning of its own "mean" at each call.
        terms = {"batchmean": len(s), "mean": s.numel(), "sum": 1}[self.reduction]
        return F.kl_div(s, t, reduction="sum", log_target=True) * tau.square() / terms

    def _student_logits(self, student):
        if self.head is None:
            return self.student_output(student, "logits")
        return self.head(self.student_output(student, "cell").to(self.head.weight.dtype)).float()

    def _teacher_logits(self, teacher, batch):
        if self.column is None:
            return self.teacher_output(teacher, "logits")
        if self.column not in batch:
            raise ValueError(f"kl reads the teacher's logits from {self.column!r}; the batch has {sorted(batch)}")
        return torch.as_tensor(batch[self.column]).detach().float()
