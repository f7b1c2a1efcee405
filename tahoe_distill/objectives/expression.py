"""Expression objective: predict the expression of masked genes, as the teacher does and as it was measured."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tahoe_distill.objectives.base import Objective, Outputs, Shapes, masked_mean
from tahoe_distill.objectives.positions import at_positions, shared_positions
from tahoe_distill.objectives.registry import register_objective
from tahoe_distill.objectives.schedules import Scheduled

HEADS = ("expression", "mvc")


@register_objective
class Expression(Objective):
    """``alpha * soft + (1 - alpha) * hard`` on masked, unpadded genes, each the mean over the heads of their MSE.

    Soft targets are the teacher's predictions by the same head; hard targets are the binned counts, scaled to [-1, 1]
    as ``2 * (x - 1) / (num_bins - 2) - 1`` where the heads predict scaled bins. With ``alpha: 0`` and no teacher this
    is Tahoe-x1's own pretraining loss. Hard targets come from the batch: ``student_expr_target`` (C, Gs), or else
    ``expr_target`` (C, Gt), read at ``student_index`` where the batch has it.

    Args:
        shapes: Sizes of the models and the scale of their heads.
        alpha: Share of the soft part, 0 … 1: a number or a schedule.
        heads: Which heads are compared, of ``expression`` and ``mvc``.

    Raises:
        ValueError: When alpha leaves 0 … 1 or a head is unknown.
    """

    name = "expression"
    needs = frozenset({"expression", "mvc", "masks"})

    def __init__(self, *, shapes: Shapes, alpha: object = 0.5, heads: Sequence[str] = HEADS):
        super().__init__(shapes=shapes)
        self.heads = _check_heads(heads)
        self.alpha = Scheduled(alpha, "alpha", minimum=0.0, maximum=1.0)
        self.needs = frozenset({*self.heads, "masks"})
        self.needs_teacher = not self.alpha.schedule.is_always(0.0)
        self._needs_target = not self.alpha.schedule.is_always(1.0)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        masked = self._output(student, "masked", "student").bool() & student.seen.bool()
        if not self.needs_teacher:
            return self._hard(student, masked, batch)
        if not self._needs_target:
            return self._soft(student, teacher, masked, batch)
        alpha = self.alpha.value.float()
        soft, hard = self._soft(student, teacher, masked, batch), self._hard(student, masked, batch)
        return alpha * soft + (1 - alpha) * hard

    def measured(self, student: Outputs, batch: dict) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions of the first of ``heads`` and what they should have been, for evaluation.

        Args:
            student: What the student saw and said.
            batch: The batch as collated.

        Returns:
            Predicted and measured expression (C, G) in the units of the heads, and (C, G) True at the masked genes.
        """
        masked = self._output(student, "masked", "student").bool() & student.seen.bool()
        return self.student_output(student, self.heads[0]), self._target(student, batch), masked

    def _soft(self, student, teacher, masked, batch):
        if teacher is None:
            raise ValueError("expression with alpha above 0 needs the teacher's predictions, and there is no teacher")
        index, shared = shared_positions(student, teacher, batch)
        targets = [at_positions(self.teacher_output(teacher, head), index) for head in self.heads]
        return self._mean_over_heads(student, targets, masked & shared)

    def _hard(self, student, masked, batch):
        target = self._target(student, batch)
        return self._mean_over_heads(student, [target] * len(self.heads), masked)

    def _mean_over_heads(self, student, targets, kept):
        terms = [
            masked_mean((self.student_output(student, head) - target).square(), kept)
            for head, target in zip(self.heads, targets, strict=True)
        ]
        return torch.stack(terms).mean()

    def _target(self, student, batch):
        target = batch.get("student_expr_target")
        if target is None:
            target = batch.get("expr_target")
            if target is None:
                raise ValueError(
                    "expression with alpha below 1 needs expr_target (binned counts) in the batch; it has "
                    f"{', '.join(sorted(batch)) or 'nothing'}: turn masking on in the collator, or set alpha: 1"
                )
            index = batch.get("student_index")
            target = at_positions(target, None if index is None else index.clamp(min=0))
        if target.shape != student.seen.shape:
            raise ValueError(
                f"hard targets must have the student's shape {tuple(student.seen.shape)}, found {tuple(target.shape)}: "
                "the batch must hold student_expr_target, or student_index beside expr_target"
            )
        return self._scaled(target.detach().float())

    def _scaled(self, bins):
        """Bins 1 … num_bins - 1 as the heads predict them."""
        if not self.shapes.standard_scale_outputs:
            return bins
        return 2 * (bins - 1) / (self.shapes.num_bins - 2) - 1


def _check_heads(heads):
    found = (heads,) if isinstance(heads, str) else tuple(heads)
    if not found or len(set(found)) != len(found) or not set(found) <= set(HEADS):
        raise ValueError(f"heads must be of {', '.join(HEADS)}, each once; found {heads!r}")
    return found
