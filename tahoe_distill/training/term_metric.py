"""A loss term as an evaluation metric."""

import torch
from torchmetrics import Metric


class TermMetric(Metric):
    """Mean of one loss term over evaluation cells.

    Args:
        term: Name of the term, ``total`` for the weighted sum.
    """

    def __init__(self, term):
        super().__init__()
        self.term = term
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("cells", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, value, cells):
        """Add a batch's mean ``value`` over ``cells`` cells."""
        self.total += value.detach() * cells
        self.cells += cells

    def compute(self):
        """The mean; 0 before any cell was seen."""
        return self.total / self.cells.clamp(min=1)
