"""Mean-squared-error objective on cell embeddings."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import Shapes, mean_or_zero
from tahoe_distill.objectives.embedding import EmbeddingObjective
from tahoe_distill.objectives.registry import register_objective


@register_objective
class MeanSquaredError(EmbeddingObjective):
    """Squared difference of cell embeddings, averaged over cells.

    Convention: with ``normalize`` the squared distance of the two unit vectors, summed over dimensions, so
    ``2 - 2 cos`` (0 … 4) at any width; without it the mean over dimensions, as :func:`torch.nn.functional.mse_loss`.

    Args:
        shapes: Sizes of the models; where the widths differ, the student's pass through a learned map.
        normalize: Compare L2-normalised vectors (after centring, if any); ``False`` compares raw ones, length included.
        center: Subtract the teacher's running mean from both first; changes nothing unless vectors are normalised.
        center_momentum: Weight of a new batch in that mean; ``None`` for the mean of all cells so far.
        matryoshka: As in :class:`EmbeddingObjective`.

    Raises:
        ValueError: As :class:`EmbeddingObjective`.
    """

    name = "mse"

    def __init__(
        self,
        *,
        shapes: Shapes,
        normalize: bool = True,
        center: bool = False,
        center_momentum: float | None = None,
        matryoshka: Sequence[int] | None = None,
    ):
        super().__init__(shapes=shapes, center=center, center_momentum=center_momentum, matryoshka=matryoshka)
        self.normalize = normalize

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        if not self.normalize:
            return mean_or_zero((student - teacher).square())
        return mean_or_zero((F.normalize(student, dim=-1) - F.normalize(teacher, dim=-1)).square().sum(dim=-1))
