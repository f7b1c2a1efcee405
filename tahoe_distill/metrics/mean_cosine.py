"""Mean cosine of student and teacher embeddings."""

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.metrics.running_mean import RunningMean, check_pair


class MeanCosine(RunningMean):
    """Mean over cells of the cosine between the student's embedding and the teacher's: -1 … 1, higher is better.

    High by nature, as cell embeddings share a direction: see :class:`~.centered_cosine.CenteredCosine`.
    """

    higher_is_better = True

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """Take the embeddings (C, E) of both models for the same cells."""
        check_pair(student, teacher)
        self.add(F.cosine_similarity(student.float(), teacher.float(), dim=-1))
