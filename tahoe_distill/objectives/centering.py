"""The running mean of a teacher's cell embeddings.

Cell embeddings share a large common direction: before it is removed, any two cells look alike and a cosine near 1
says little. The centre is the teacher's alone, and is subtracted from both models.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn


class TeacherCenter(nn.Module):
    """Subtracts the teacher's running mean from cell embeddings; learns it in training mode only.

    The mean is taken over all processes, so that each holds the same buffers and a checkpoint is whole whichever
    process writes it. Before the first training batch the centre is zero.

    Args:
        width: E of the cell embeddings.
        momentum: ``None`` for the mean of all cells so far; else the weight of each new batch in an exponential
            moving average, in (0, 1].

    Raises:
        ValueError: When the momentum is out of range.
    """

    def __init__(self, width: int, momentum: float | None = None):
        super().__init__()
        if momentum is not None and not 0 < momentum <= 1:
            raise ValueError(f"center_momentum must lie in (0, 1] or be left out (plain mean), found {momentum!r}")
        self.momentum = momentum
        self.mean: Tensor
        self.count: Tensor
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def reset_parameters(self) -> None:
        """Forget every cell; also what a module materialised from the meta device needs."""
        self.mean.zero_()
        self.count.zero_()

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """(C, E) of each model -> the same, centered; a training batch enters the mean before it is used."""
        if self.training:
            self.update(teacher)
        mean = self.mean.float()
        return student - mean, teacher - mean

    @torch.compiler.disable
    @torch.no_grad()
    def update(self, teacher: Tensor) -> None:
        """Take the teacher's cell embeddings (C, E), of all processes, into the mean."""
        seen = torch.cat([teacher.float().sum(dim=0), teacher.new_full((1,), len(teacher), dtype=torch.float32)])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(seen)
        total, cells = seen[:-1], seen[-1]
        rate = self._rate(cells)
        self.mean.lerp_((total / cells.clamp(min=1)).to(self.mean.dtype), rate.to(self.mean.dtype))
        self.count += cells.long()

    def _rate(self, cells: Tensor) -> Tensor:
        """Weight of the new cells' mean: their share of all cells, or the momentum once there is a mean to keep."""
        share = cells / (self.count + cells).clamp(min=1)
        if self.momentum is None:
            return share
        later = torch.where(cells > 0, torch.full_like(share, self.momentum), torch.zeros_like(share))
        return torch.where(self.count > 0, later, share)
