"""KL objective: a student's classifier is as unsure as its teacher's, and about the same classes."""

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tahoe_distill.objectives.base import Objective, Outputs, Shapes, one_of
from tahoe_distill.objectives.registry import register_objective
from tahoe_distill.objectives.schedules import Scheduled
from tahoe_distill.probes import Probe, load_probe

REDUCTIONS = ("batchmean", "mean", "sum")
_IGNORED = -100


@register_objective
class KullbackLeibler(Objective):
    """``tau**2 * KL(teacher || student)`` of two sets of logits (C, K), each divided by ``tau``.

    The student's are those of a linear head on its cell embedding, which is trained and checkpointed with it. The
    factor keeps gradients of one size as tau changes (Hinton et al., https://arxiv.org/abs/1503.02531).

    The teacher's are either a column of the batch, of whatever classifier, and need no teacher in the run; or those of
    a probe on the teacher's cell embedding, live or cached. With a probe the student's head reads vectors of length 1
    as the probe does, begins as the probe where the widths agree, and is exported with the student; and hard labels may
    be blended in, ``alpha * soft + (1 - alpha) * hard``, the hard term being the cross-entropy at temperature 1.

    Args:
        shapes: Sizes of the models.
        num_classes: K, with ``column``.
        column: Batch key of the teacher's logits (C, K).
        probe: In their place, the folder of a probe that ``tahoe-distill probe`` fitted on the teacher.
        alpha: Weight of the soft term, 0 … 1, a number or a schedule; below 1 only with hard labels.
        labels_column: Batch key of the hard labels, names of the probe's; a cell with any other is left out of the hard
            term.
        labels_from_probe: Take the probe's most probable label for the hard one, where the cells have none.
        tau: Temperature, a number or a schedule.
        reduction: As in :func:`torch.nn.functional.kl_div`: ``batchmean`` (sum over classes, mean over cells), ``mean``
            (over all entries) or ``sum``. The hard term is a mean over cells, or their sum.

    Raises:
        ValueError: When tau is not positive, alpha lies outside 0 … 1, the reduction is unknown, there are fewer than
            two classes, settings contradict each other, or the probe reads vectors of another width.
    """

    name = "kl"
    needs = frozenset({"cell", "labels"})
    needs_teacher = False

    def __init__(
        self,
        *,
        shapes: Shapes,
        num_classes: int | None = None,
        column: str | None = None,
        probe: str | os.PathLike[str] | None = None,
        alpha: object = 1.0,
        labels_column: str | None = None,
        labels_from_probe: bool = False,
        tau: object = 1.0,
        reduction: str = "batchmean",
    ):
        super().__init__(shapes=shapes)
        if (probe is None) == (num_classes is None or column is None):
            raise ValueError(
                "give either probe (a folder that tahoe-distill probe wrote), or num_classes and column (logits in the "
                f"batch); found probe {probe!r}, num_classes {num_classes!r}, column {column!r}"
            )
        self.tau = Scheduled(tau, "tau", minimum=0.0, exclusive=True)
        self.reduction = one_of(reduction, REDUCTIONS, "reduction")
        self.alpha = Scheduled(alpha, "alpha", minimum=0.0, maximum=1.0)
        self.labels_from_probe = labels_from_probe
        self._check_hard(probe, labels_column)
        self.probe = None if probe is None else _fitting_probe(probe, shapes)
        if self.probe is None:
            if num_classes is None or num_classes < 2:
                raise ValueError(f"num_classes must be at least 2, found {num_classes}")
            self.column = column
            self.head = nn.Linear(shapes.student_embedding, num_classes)
        else:
            self.column = labels_column
            self.needs, self.needs_teacher = frozenset({"cell"} | ({"labels"} if labels_column else set())), True
            self.teacher_fingerprint = self.probe.fingerprint
            self._start_from(self.probe)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        s, t = self._logits(student, teacher, batch)
        if s.shape != t.shape:
            raise ValueError(f"kl compares logits of one shape, found {tuple(s.shape)} (student) and {tuple(t.shape)}")
        if not s.numel():
            return s.sum()
        tau = self.tau.value.float()
        soft, teacher_soft = F.log_softmax(s / tau, dim=-1), F.log_softmax(t / tau, dim=-1)
        # Divided here: torch warns about the meaning of its own "mean" at each call.
        terms = {"batchmean": len(s), "mean": s.numel(), "sum": 1}[self.reduction]
        soft_term = F.kl_div(soft, teacher_soft, reduction="sum", log_target=True) * tau.square() / terms
        if not self.blends:
            return soft_term
        alpha = self.alpha.value.float()
        return alpha * soft_term + (1 - alpha) * self._hard_term(s, t, batch)

    @property
    def blends(self) -> bool:
        """Whether there is a hard term, for now or at some time of the run."""
        return not self.alpha.schedule.is_always(1.0)

    def trained_head(self, weights: dict[str, Tensor]) -> Probe:
        """The student's head as a probe of its own, for its export.

        Args:
            weights: The objective's whole ``state_dict``, on the CPU.

        Raises:
            ValueError: When the run's logits come from a column, so that nobody knows what the classes are called.
        """
        if self.probe is None:
            raise ValueError("kl learned from logits of a column, whose classes have no names: it has no head to give")
        coef, intercept = (weights[f"head.{name}"].float().numpy() for name in ("weight", "bias"))
        about = {"method": "kl", "source": "a head that was trained with its student", "probe": self.probe.record}
        return Probe(coef, intercept, self.probe.labels, 1.0, self.probe.fingerprint, about)

    def _logits(self, student: Outputs, teacher: Outputs | None, batch: dict) -> tuple[Tensor, Tensor]:
        """The student's and the teacher's, (C, K) float32 each."""
        cell = self.student_output(student, "cell")
        if self.probe is None:
            return self.head(cell.to(self.head.weight.dtype)).float(), self._teacher_logits(batch)
        given = F.normalize(self.teacher_output(teacher, "cell"), dim=-1)
        # A probe adds and subtracts large numbers, which half precision would round away.
        with torch.autocast(cell.device.type, enabled=False):
            s = F.linear(F.normalize(cell, dim=-1), self.head.weight.float(), self.head.bias.float())
            return s, F.linear(given, self.teacher_weight.float(), self.teacher_bias.float())

    def _hard_term(self, s: Tensor, t: Tensor, batch: dict) -> Tensor:
        if self.labels_from_probe:
            target = t.argmax(dim=-1)
        else:
            target = self._targets(batch, s.device)
        total = F.cross_entropy(s, target, ignore_index=_IGNORED, reduction="sum")
        return total if self.reduction == "sum" else total / target.ne(_IGNORED).sum().clamp(min=1)

    def _targets(self, batch: dict, device: torch.device) -> Tensor:
        if self.column not in batch:
            raise ValueError(f"kl reads the hard labels from {self.column!r}; the batch has {sorted(batch)}")
        names = batch[self.column]
        if isinstance(names, Tensor):
            raise ValueError(
                f"kl reads the hard labels by their names, found numbers in {self.column!r}; name a column of text"
            )
        return torch.tensor([self._numbers.get(name, _IGNORED) for name in names], device=device)

    def _teacher_logits(self, batch: dict) -> Tensor:
        if self.column not in batch:
            raise ValueError(f"kl reads the teacher's logits from {self.column!r}; the batch has {sorted(batch)}")
        return torch.as_tensor(batch[self.column]).detach().float()

    def _check_hard(self, probe: object, labels_column: str | None) -> None:
        sources = int(labels_column is not None) + int(self.labels_from_probe)
        if probe is None and (sources or self.blends):
            raise ValueError("alpha, labels_column and labels_from_probe need the labels of a probe: give probe too")
        if sources > 1:
            raise ValueError("give either labels_column or labels_from_probe: true, not both")
        if self.blends != bool(sources):
            raise ValueError(
                "alpha below 1 needs hard labels: name the batch's column with labels_column, or set "
                "labels_from_probe: true"
                if self.blends
                else "labels_column and labels_from_probe mean something with alpha below 1: set it, or remove them"
            )

    def _start_from(self, probe: Probe) -> None:
        """The teacher's head, kept with the checkpoints so that a resumed run has the same; and the student's own."""
        self.teacher_weight: Tensor
        self.teacher_bias: Tensor
        weight, bias = (torch.from_numpy(array.copy()) for array in probe.calibrated())
        self.register_buffer("teacher_weight", weight)
        self.register_buffer("teacher_bias", bias)
        self._numbers = {label: number for number, label in enumerate(probe.labels)}
        self.head = nn.Linear(self.shapes.student_embedding, len(probe.labels))
        if self.head.weight.shape == weight.shape:
            # The student's vectors are to lie where the teacher's do.
            self.head.load_state_dict({"weight": weight, "bias": bias})


def _fitting_probe(folder: Any, shapes: Shapes) -> Probe:
    probe = load_probe(folder)
    if shapes.teacher_embedding is not None and probe.width != shapes.teacher_embedding:
        raise ValueError(
            f"the probe in {folder} reads vectors of {probe.width} coordinates, the teacher gives "
            f"{shapes.teacher_embedding}: fit a probe on this teacher with `tahoe-distill probe`"
        )
    return probe
