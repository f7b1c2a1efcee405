"""A mean that is the same however the cells are split over updates and processes."""

import torch
from torch import Tensor
from torchmetrics import Metric


class RunningMean(Metric):
    """Base of the metrics that are a mean: a sum in float32 per update, and a count.

    Attributes:
        count: Values taken in so far.
    """

    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("total", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, values: Tensor) -> None:
        """Take values of any shape into the mean."""
        self.total += values.detach().float().sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """The mean; 0.0 when nothing was seen."""
        return self.total / self.count.clamp(min=1)


def check_pair(student: Tensor, teacher: Tensor) -> None:
    """Refuse two sets of embeddings that are not both (C, E).

    Raises:
        ValueError: When they are not.
    """
    if student.dim() != 2 or student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher embeddings must both be (cells, width); found {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}"
        )
