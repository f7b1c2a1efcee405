"""Predicted against measured expression at masked genes: squared error and rank correlation.

Shapes: C cells, G genes.
"""

import torch
from torch import Tensor

from tahoe_distill.metrics.base import RunningMean
from tahoe_distill.metrics.registry import register_metric


@register_metric
class MaskedExpressionMSE(RunningMean):
    """Mean over masked genes, of all cells together, of the squared error of their expression; lower is better.

    In the units of the heads: bins squared, or scaled bins squared where the heads predict bins in [-1, 1].
    """

    name = "masked_expression_mse"
    higher_is_better = False
    reads = "expression"

    def update(self, predicted: Tensor, target: Tensor, masked: Tensor) -> None:
        """Take predictions and targets.

        Args:
            predicted: (C, G) expression.
            target: (C, G) expression.
            masked: (C, G) True at the genes that count: masked and not padding. None of them may be.
        """
        check_masked(predicted, target, masked)
        self.add((predicted.float() - target.float()).square()[masked.bool()])


@register_metric
class MaskedSpearman(RunningMean):
    """Mean over cells of Spearman's correlation of predicted and true expression at their masked genes: -1 … 1.

    Higher is better; ties get their average rank. A cell whose correlation does not exist (fewer than two masked genes,
    or one value for all of them) is left out of the mean and counted.

    Attributes:
        count: Cells in the mean.
        skipped: Cells left out.
    """

    name = "masked_spearman"
    higher_is_better = True
    reads = "expression"
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
        correlation = spearman(predicted.detach().float(), target.float(), masked.bool())
        exists = correlation.isfinite()
        self.add(correlation[exists])
        self.skipped += (~exists).sum()


def spearman(x: Tensor, y: Tensor, masked: Tensor) -> Tensor:
    """Spearman's correlation of each row of two tensors (C, G) where ``masked`` (C, G) is True, as (C,).

    Pearson's of the ranks; NaN where it does not exist.
    """
    mean = (masked.sum(dim=-1, keepdim=True) + 1) / 2
    x, y = ((average_ranks(v, masked) - mean).masked_fill(~masked, 0.0) for v in (x, y))
    return (x * y).sum(dim=-1) / (x.square().sum(dim=-1) * y.square().sum(dim=-1)).sqrt()


def average_ranks(x: Tensor, masked: Tensor) -> Tensor:
    """Ranks 1 … N (C, G) of each row of ``x`` (C, G) among those of its values where ``masked`` (C, G) is True.

    Tied values share their average rank; what stands elsewhere means nothing.
    """
    held = x.masked_fill(~masked, torch.inf)
    ordered = held.sort(dim=-1).values
    below, up_to = (torch.searchsorted(ordered, held, right=right) for right in (False, True))
    return (below + up_to + 1) / 2


def check_masked(predicted: Tensor, target: Tensor, masked: Tensor) -> None:
    """Refuse tensors that are not all (C, G).

    Raises:
        ValueError: When they are not.
    """
    if predicted.dim() != 2 or not predicted.shape == target.shape == masked.shape:
        raise ValueError(
            f"predicted, target and masked must all be (cells, genes); found {tuple(predicted.shape)}, "
            f"{tuple(target.shape)} and {tuple(masked.shape)}"
        )
