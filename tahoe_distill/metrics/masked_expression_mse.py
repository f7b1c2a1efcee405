"""Squared error of predicted expression at masked genes."""

from torch import Tensor

from tahoe_distill.metrics.running_mean import RunningMean


class MaskedExpressionMSE(RunningMean):
    """Mean over masked genes, of all cells together, of the squared error of their expression; lower is better.

    In the units of the heads: bins squared, or scaled bins squared where the heads predict bins in [-1, 1].
    """

    higher_is_better = False

    def update(self, predicted: Tensor, target: Tensor, masked: Tensor) -> None:
        """Take predictions and targets.

        Args:
            predicted: (C, G) expression.
            target: (C, G) expression.
            masked: (C, G) True at the genes that count: masked and not padding. None of them may be.
        """
        check_masked(predicted, target, masked)
        self.add((predicted.float() - target.float()).square()[masked.bool()])


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
