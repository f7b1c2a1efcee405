"""Rank correlation of predicted expression at masked genes, cell by cell."""

import torch
from torch import Tensor

from tahoe_distill.metrics.masked_expression_mse import check_masked
from tahoe_distill.metrics.running_mean import RunningMean


class MaskedSpearman(RunningMean):
    """Mean over cells of Spearman's correlation of predicted and true expression at their masked genes: -1 … 1.

    Higher is better; ties get their average rank. A cell whose correlation does not exist (fewer than two masked genes,
    or one value for all of them) is left out of the mean and counted.

    Attributes:
        count: Cells in the mean.
        skipped: Cells left out.
    """

    higher_is_better = True
    skipped: Tensor

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("skipped", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, target: Tensor, masked: Tensor) -> None:
        """Take predictions and targets.

        Args:
            predicted: (C, G) expression.
            target: (C, G) expression.
            masked: (C, G) True at the genes that count: masked and not padding.
        """
        check_masked(predicted, target, masked)
        for p, t, kept in zip(predicted.detach().float(), target.float(), masked.bool(), strict=True):
            correlation = spearman(p[kept], t[kept])
            if correlation is None:
                self.skipped += 1
            else:
                self.add(correlation)


def spearman(x: Tensor, y: Tensor) -> Tensor | None:
    """Spearman's correlation of two vectors (N,): Pearson's of their ranks; ``None`` where it does not exist."""
    if len(x) < 2:
        return None
    x, y = (average_ranks(v) for v in (x, y))
    x, y = x - x.mean(), y - y.mean()
    scale = (x.square().sum() * y.square().sum()).sqrt()
    return (x * y).sum() / scale if scale > 0 else None


def average_ranks(x: Tensor) -> Tensor:
    """(N,) -> ranks 1 … N (N,), tied values sharing their average rank."""
    _, group, size = torch.unique(x, return_inverse=True, return_counts=True)
    last = size.cumsum(0)
    return (last - (size - 1) / 2)[group]
