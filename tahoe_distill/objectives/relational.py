"""Relational objective: each cell's neighbours in the batch are the teacher's neighbours."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import Shapes, true_or_false
from tahoe_distill.objectives.embedding import EmbeddingObjective, similarities
from tahoe_distill.objectives.registry import register_objective
from tahoe_distill.objectives.schedules import Scheduled

# Share of the teacher's spread that the student's counts as at least: before training all its cells are nearly one, and
# dividing by that spread would make the term a thousand times the others.
_LEAST_SPREAD = 0.01
# Cosines of one and the same cell differ by rounding, which is no difference.
_ROUNDING = 1e-10


def other_similarities(cell: Tensor) -> Tensor:
    """(C, E) cell embeddings -> (C, C - 1) cosines in float32; row ``i`` runs over all cells but ``i``."""
    similarity = similarities(cell, cell)
    # After the first entry is dropped, the diagonal falls into the last of C + 1 columns: static shapes, no -inf.
    count = len(cell)
    return similarity.flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, count - 1)


def standardized(similarity: Tensor, least: Tensor) -> Tensor:
    """Similarities of a batch in units of their spread: less their mean, by the root of their variance.

    Args:
        similarity: Of any shape, all of one model.
        least: Scalar; spreads well below it count as this much.
    """
    variance = similarity.var(correction=0) + least.square()
    return (similarity - similarity.mean()) / variance.clamp(min=_ROUNDING).sqrt()


@register_objective
class Relational(EmbeddingObjective):
    """Mean over cells of ``KL(teacher || student)`` of the softmax over in-batch similarities, self left out.

    The batch is what one forward pass sees: with microbatches, the microbatch. The two widths may differ. With fewer
    than three cells there is no choice: zero.

    As published, cosines are divided by tau and the term is not scaled: right for low temperatures (0.1), and next to
    nothing at tau 1 and above, since cosines of cells differ by hundredths and the gradient falls with tau squared.
    With ``standardize`` the similarities of each model are first taken in units of their own spread in the batch, and
    the term is multiplied by tau times the teacher's tau, as of Hinton et al.: its gradient then is of the size of a
    centred cosine's at any temperature from 0.1 to 4 and beyond.

    Args:
        shapes: Sizes of the models.
        standardize: As said; blind to how far apart the student's cells are on the whole, and to where.
        tau: Temperature, a number or a schedule: high compares coarse structure, low the nearest neighbours.
        teacher_tau: The teacher's own temperature, a number or a schedule; ``None`` for the same.
        matryoshka: As in :class:`EmbeddingObjective`.

    Raises:
        ValueError: When a temperature is not positive.

    References:
        Similarity-preserving distillation as KL of in-batch softmaxes: SEED, https://arxiv.org/abs/2101.04731, with the
        batch in place of its queue. The factor of tau squared: https://arxiv.org/abs/1503.02531.
    """

    name = "relational"
    any_width = True

    def __init__(
        self,
        *,
        shapes: Shapes,
        tau: object = 0.1,
        teacher_tau: object = None,
        standardize: bool = False,
        matryoshka: Sequence[int] | None = None,
    ):
        super().__init__(shapes=shapes, matryoshka=matryoshka)
        self.standardize = true_or_false(standardize, "standardize")
        self.tau = Scheduled(tau, "tau", minimum=0.0, exclusive=True)
        self.teacher_tau = None
        if teacher_tau is not None:
            self.teacher_tau = Scheduled(teacher_tau, "teacher_tau", minimum=0.0, exclusive=True)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        if len(student) < 3:
            return student.sum() * 0.0
        ours, theirs = other_similarities(student), other_similarities(teacher)
        tau = self.tau.value.float()
        teacher_tau = tau if self.teacher_tau is None else self.teacher_tau.value.float()
        if not self.standardize:
            return _divergence(ours / tau, theirs / teacher_tau)
        least = _LEAST_SPREAD * theirs.std(correction=0)
        ours, theirs = standardized(ours, least), standardized(theirs, least)
        return tau * teacher_tau * _divergence(ours / tau, theirs / teacher_tau)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean over rows of ``KL(teacher || student)`` of their softmaxes."""
    s, t = F.log_softmax(student, dim=-1), F.log_softmax(teacher, dim=-1)
    return F.kl_div(s, t, reduction="batchmean", log_target=True)
