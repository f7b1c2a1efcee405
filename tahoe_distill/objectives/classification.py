"""Classification objective: a label column of the shards can be read off the student's cell embedding."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tahoe_distill.objectives.base import Objective, Outputs, Shapes
from tahoe_distill.objectives.registry import register_objective

_IGNORED = -100


@register_objective
class Classification(Objective):
    """Cross-entropy of a linear head on the student's cell embedding, mean over the cells whose label is known.

    Needs no teacher. The head is trained and checkpointed with the student, and not exported.

    Args:
        shapes: Sizes of the models.
        column: Batch key of the labels: a list of strings, or integers (C,).
        labels: Names of the classes in order; a cell with any other name is left out.
        num_classes: In place of ``labels``, for integers 0 … ``num_classes - 1``; a cell with any other is left out.

    Raises:
        ValueError: When not exactly one of ``labels`` and ``num_classes`` is given, or it names fewer than two classes.
    """

    name = "classification"
    needs = frozenset({"cell", "labels"})
    needs_teacher = False

    def __init__(
        self, *, shapes: Shapes, column: str, labels: Sequence[str] | None = None, num_classes: int | None = None
    ):
        super().__init__(shapes=shapes)
        if (labels is None) == (num_classes is None):
            raise ValueError("give either labels (the names of the classes) or num_classes (for integers), not both")
        self.column = column
        self.number = None if labels is None else {name: number for number, name in enumerate(labels)}
        if labels is not None and len(self.number) != len(labels):
            raise ValueError(f"labels must be different names, found {list(labels)}")
        self.num_classes = len(self.number) if num_classes is None else num_classes
        if self.num_classes < 2:
            raise ValueError(f"there must be at least 2 classes to tell apart, found {self.num_classes}")
        self.head = nn.Linear(shapes.student_embedding, self.num_classes)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        logits = self.logits(student)
        target = self.targets(batch, logits.device)
        total = F.cross_entropy(logits, target, ignore_index=_IGNORED, reduction="sum")
        return total / target.ne(_IGNORED).sum().clamp(min=1)

    def logits(self, student: Outputs) -> Tensor:
        """(C, K) in float32, in the order of ``labels``."""
        return self.head(self.student_output(student, "cell").to(self.head.weight.dtype)).float()

    def targets(self, batch: dict, device: torch.device) -> Tensor:
        """(C,) class numbers, ``-100`` where the label is unknown.

        Raises:
            ValueError: When the batch lacks the column, or it holds names and no ``labels`` were given.
        """
        if self.column not in batch:
            raise ValueError(
                f"classification reads the labels in {self.column!r}; the batch has {', '.join(sorted(batch))}: have "
                "the collator carry the column, or name another"
            )
        values = batch[self.column]
        numbers = values if isinstance(values, Tensor) else torch.tensor([self._number(v) for v in values])
        numbers = numbers.to(device=device, dtype=torch.long)
        return torch.where((numbers >= 0) & (numbers < self.num_classes), numbers, _IGNORED)

    def _number(self, value: str | int) -> int:
        if not isinstance(value, str):
            return int(value)
        if self.number is None:
            raise ValueError(f"the column {self.column!r} holds names such as {value!r}: give labels, not num_classes")
        return self.number.get(value, _IGNORED)
