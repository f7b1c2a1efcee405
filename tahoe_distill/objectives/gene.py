"""Gene objective: the student's gene embeddings in context match its teacher's."""

from torch import Tensor

from tahoe_distill.objectives.base import LearnedMap, Objective, Outputs, Shapes, one_of
from tahoe_distill.objectives.matching import DISTANCES, at_positions, match, shared_positions
from tahoe_distill.objectives.registry import register_objective


@register_objective
class Gene(Objective):
    """Mean distance of gene embeddings over the positions that both models see, special tokens included.

    The student's embeddings pass through a learned linear map where the widths differ.

    Args:
        shapes: Sizes of the models.
        distance: ``mse`` (mean over dimensions) or ``cosine`` (``1 - cos``).

    Raises:
        ValueError: When the distance is unknown.
    """

    name = "gene"
    needs = frozenset({"genes"})

    def __init__(self, *, shapes: Shapes, distance: str = "mse"):
        super().__init__(shapes=shapes)
        self.distance = one_of(distance, DISTANCES, "distance")
        self.map = None
        if shapes.has_teacher and shapes.student_width != shapes.teacher_width:
            self.map = LearnedMap(shapes.student_width, shapes.teacher_width)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        s, t = self.student_output(student, "genes"), self.teacher_output(teacher, "genes")
        index, shared = shared_positions(student, teacher)
        if self.map is not None:
            s = self.map(s).float()
        return match(s, at_positions(t, index), shared, distance=self.distance)
