"""Mean-squared-error objective on cell embeddings."""

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import Objective, Outputs, Shapes, mean_or_zero, same_embedding_width
from tahoe_distill.objectives.centering import TeacherCenter
from tahoe_distill.objectives.registry import register_objective


@register_objective
class MeanSquaredError(Objective):
    """Squared difference of cell embeddings, averaged over cells.

    Convention: with ``normalize`` the squared distance of the two unit vectors, summed over dimensions, so
    ``2 - 2 cos`` (0 … 4) at any width; without it the mean over dimensions, as :func:`torch.nn.functional.mse_loss`.

    Args:
        shapes: Sizes of the models; both cell embeddings must be of one width.
        normalize: Compare L2-normalised vectors (after centring, if any); ``False`` compares raw ones, length included.
        center: Subtract the teacher's running mean from both first; changes nothing unless vectors are normalised.
        center_momentum: Weight of a new batch in that mean; ``None`` for the mean of all cells so far.

    Raises:
        ValueError: When the widths differ.
    """

    name = "mse"
    needs = frozenset({"cell"})

    def __init__(
        self, *, shapes: Shapes, normalize: bool = True, center: bool = False, center_momentum: float | None = None
    ):
        super().__init__(shapes=shapes)
        same_embedding_width(self.name, shapes)
        self.normalize = normalize
        self.center = TeacherCenter(shapes.student_embedding, center_momentum) if center else None

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        s, t = self.student_output(student, "cell"), self.teacher_output(teacher, "cell")
        if self.center is not None:
            s, t = self.center(s, t)
        if not self.normalize:
            return mean_or_zero((s - t).square())
        return mean_or_zero((F.normalize(s, dim=-1) - F.normalize(t, dim=-1)).square().sum(dim=-1))
