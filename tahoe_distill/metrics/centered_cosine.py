"""Mean cosine of student and teacher embeddings around the teacher's mean."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.metrics.embedding_pairs import EmbeddingPairs


class CenteredCosine(EmbeddingPairs):
    """Mean over cells of the cosine after the teacher's mean embedding is subtracted from both.

    From -1 to 1, higher is better. The mean is over all cells seen, on every process, so a student that returns the
    teacher's mean for each cell gets no credit for the direction that all cells share.
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        """The mean cosine; 0.0 when no cell was seen."""
        student, teacher = self.pairs()
        if not len(teacher):
            return torch.zeros((), device=self.device)
        mean = teacher.mean(dim=0)
        return F.cosine_similarity(student - mean, teacher - mean, dim=-1).mean()
