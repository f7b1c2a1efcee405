"""Similarity objective: any two cells of the batch are as alike as they are to the teacher."""

from torch import Tensor

from tahoe_distill.objectives.embedding import EmbeddingObjective, similarities
from tahoe_distill.objectives.registry import register_objective


@register_objective
class SimilarityMSE(EmbeddingObjective):
    """Squared difference of the batch's two tables of cosines, averaged over the pairs of different cells.

    Where ``relational`` asks which cells are nearest, this asks how near all of them are. The batch is what one forward
    pass sees: with microbatches, the microbatch. The two widths may differ unless ``center`` is on. With fewer than two
    cells there is no pair: zero. Settings as in :class:`EmbeddingObjective`.

    References:
        Similarity-preserving distillation: https://arxiv.org/abs/1907.09682, with cosines.
    """

    name = "similarity_mse"
    any_width = True

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        # A cell is as like itself to both: the diagonal adds nothing.
        difference = similarities(student, student) - similarities(teacher, teacher)
        return difference.square().sum() / max(len(student) * (len(student) - 1), 1)
