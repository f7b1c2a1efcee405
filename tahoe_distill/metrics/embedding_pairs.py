"""Base of the metrics that need all cells at once."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from tahoe_distill.metrics.running_mean import check_pair


class EmbeddingPairs(Metric):
    """Keeps the embeddings of both models, so that a metric of all cells together is exact.

    Memory: 8 bytes a cell and dimension; ``compute_on_cpu=True`` keeps them off the accelerator.
    Every process must see at least one batch before a distributed ``compute``.
    """

    full_state_update = False
    student: list[Tensor]
    teacher: list[Tensor]

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.add_state("student", default=[], dist_reduce_fx="cat")
        self.add_state("teacher", default=[], dist_reduce_fx="cat")

    def update(self, student: Tensor, teacher: Tensor) -> None:
        """Take the embeddings (C, E) of both models for the same cells."""
        check_pair(student, teacher)
        self.student.append(student.detach().float())
        self.teacher.append(teacher.detach().float())

    @property
    def cells(self) -> int:
        """Cells seen so far."""
        return sum(map(len, self.student)) if isinstance(self.student, list) else len(self.student)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """(C, E) of student and teacher, of all updates; (0, 0) each when there were none."""
        if not self.cells:
            return torch.zeros(0, 0, device=self.device), torch.zeros(0, 0, device=self.device)
        return dim_zero_cat(self.student), dim_zero_cat(self.teacher)
