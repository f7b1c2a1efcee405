"""Squared distance of unit embeddings."""

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.metrics.running_mean import RunningMean, check_pair


class NormalizedMSE(RunningMean):
    """Mean over cells of the squared distance between L2-normalised embeddings: 0 … 4, lower is better.

    Summed over dimensions, the convention of the ``mse`` objective, so equal to ``2 - 2 cos``; a mean over dimensions,
    as some libraries report, is this divided by the width.
    """

    higher_is_better = False

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """Take the embeddings (C, E) of both models for the same cells."""
        check_pair(student, teacher)
        difference = F.normalize(student.float(), dim=-1) - F.normalize(teacher.float(), dim=-1)
        self.add(difference.square().sum(dim=-1))
