"""Cosine objective: the student's cell embedding points where the teacher's does."""

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import Objective, Outputs, Shapes, mean_or_zero, same_embedding_width
from tahoe_distill.objectives.centering import TeacherCenter
from tahoe_distill.objectives.registry import register_objective


@register_objective
class Cosine(Objective):
    """Mean over cells of ``1 - cos(student, teacher)``: 0 … 2, blind to length.

    Args:
        shapes: Sizes of the models; both cell embeddings must be of one width.
        center: Subtract the teacher's running mean from both first.
        center_momentum: Weight of a new batch in that mean; ``None`` for the mean of all cells so far.

    Raises:
        ValueError: When the widths differ.
    """

    name = "cosine"
    needs = frozenset({"cell"})

    def __init__(self, *, shapes: Shapes, center: bool = False, center_momentum: float | None = None):
        super().__init__(shapes=shapes)
        same_embedding_width(self.name, shapes)
        self.center = TeacherCenter(shapes.student_embedding, center_momentum) if center else None

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        s, t = self.student_output(student, "cell"), self.teacher_output(teacher, "cell")
        if self.center is not None:
            s, t = self.center(s, t)
        return mean_or_zero(1 - (F.normalize(s, dim=-1) * F.normalize(t, dim=-1)).sum(dim=-1))
