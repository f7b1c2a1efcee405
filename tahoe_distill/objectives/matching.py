"""How far apart two sets of vectors are, over the ones that count."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.objectives.base import masked_mean


def _mse(student: Tensor, teacher: Tensor) -> Tensor:
    return (student - teacher).square().mean(dim=-1)


def _cosine(student: Tensor, teacher: Tensor) -> Tensor:
    return 1 - (F.normalize(student, dim=-1) * F.normalize(teacher, dim=-1)).sum(dim=-1)


# (…, D) twice -> (…): "mse" is the mean over dimensions of the squared difference, "cosine" is 1 - cos.
DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": _mse, "cosine": _cosine}


def match(student: Tensor, teacher: Tensor, kept: Tensor, distance: str) -> Tensor:
    """Mean distance of two sets of vectors.

    Args:
        student: (…, D).
        teacher: (…, D).
        kept: (…) True at the vectors that count.
        distance: Key of ``DISTANCES``.

    Returns:
        Scalar; zero when no vector counts.
    """
    return masked_mean(DISTANCES[distance](student, teacher), kept)
