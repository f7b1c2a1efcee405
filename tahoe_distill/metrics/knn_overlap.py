"""Overlap of nearest neighbours in two embeddings."""

import torch
from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.metrics.embedding_pairs import EmbeddingPairs

_CHUNK = 1024


class KNNOverlap(EmbeddingPairs):
    """Mean over cells of the share of the teacher's ``k`` nearest neighbours that are the student's too: 0 … 1.

    Higher is better; neighbours by cosine similarity, the cell itself left out. With ``k`` cells or fewer, all the
    others are neighbours; a single cell has none and the overlap is 0.0.

    Args:
        k: Neighbours of a cell.

    Raises:
        ValueError: When ``k`` is not positive.
    """

    higher_is_better = True

    def __init__(self, k: int = 10, **kwargs):
        super().__init__(**kwargs)
        if k < 1:
            raise ValueError(f"k must be at least 1 neighbour, found {k}")
        self.k = k

    def compute(self) -> Tensor:
        """The mean overlap; 0.0 with fewer than two cells."""
        student, teacher = (F.normalize(x, dim=-1) for x in self.pairs())
        k = min(self.k, len(teacher) - 1)
        if k < 1:
            return torch.zeros((), device=self.device)
        shared = 0
        # In chunks, as all cells against all would not fit.
        for start in range(0, len(teacher), _CHUNK):
            s, t = (nearest(x, start, min(start + _CHUNK, len(x)), k) for x in (student, teacher))
            shared += (s.unsqueeze(2) == t.unsqueeze(1)).sum()
        return shared.float() / (k * len(teacher))


def nearest(unit: Tensor, start: int, stop: int, k: int) -> Tensor:
    """Numbers (stop - start, k) of the cells nearest to cells ``start … stop`` of ``unit`` (C, E), itself left out."""
    similarity = unit[start:stop] @ unit.T
    similarity.diagonal(offset=start).fill_(-torch.inf)
    return similarity.topk(k, dim=-1).indices
