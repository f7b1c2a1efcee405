"""Weights by gradient norm: each objective pulls at the student's outputs by its share, whatever its scale."""

import dataclasses

import torch
import torch.distributed as dist
from torch import Tensor, nn

from tahoe_distill.objectives.base import Outputs

_FIELDS = ("cell", "genes", "expression", "mvc")


def views_of(student: Outputs) -> tuple[Outputs, list[Tensor]]:
    """A student's outputs behind views of their own, and these.

    A gradient at the views says what the objectives make of each output, and stops there: at the outputs themselves it
    would run on through the student, from the cell embedding to the hidden states that it is made of.
    """
    found: dict[str, Tensor] = {}
    for field in _FIELDS:
        value = getattr(student, field)
        if value is not None:
            found[field] = value.view_as(value)
    hidden = None if student.hidden is None else tuple(value.view_as(value) for value in student.hidden)
    views = [view for view in (*found.values(), *(hidden or ())) if view.requires_grad]
    return dataclasses.replace(student, **found, hidden=hidden), views


class GradientBalance(nn.Module):
    """Turns weights into shares of the gradient at the student's outputs.

    With ``g`` the norm of an objective's gradient at all outputs of the student together, and ``w`` its weight, it
    counts with ``w / sum(w) * sum(w * g) / g``: so that the norms of the weighted gradients stand to each other as the
    weights do, and add up to what they would without balancing. An objective whose gradient has always been zero keeps
    its weight and is left out of the sums. ``g`` is a running mean over batches and processes, the same in each process
    and part of a checkpoint.

    Args:
        count: Objectives.
        momentum: Share of the running mean that a new batch leaves as it is.
    """

    def __init__(self, count: int, momentum: float = 0.9):
        super().__init__()
        self.momentum = momentum
        self.norms: Tensor
        self.register_buffer("norms", torch.zeros(count))

    def reset_parameters(self) -> None:
        """Forget every batch; also what a module materialised from the meta device needs."""
        self.norms.zero_()

    def forward(self, weights: Tensor) -> Tensor:
        """(n,) weights of the objectives, in their order -> (n,) those that they count with."""
        norms = self.norms.to(weights)
        seen = norms > 0
        share = weights / weights.where(seen, torch.zeros_like(weights)).sum().clamp(
            min=torch.finfo(weights.dtype).tiny
        )
        balanced = share * (weights * norms).sum() / norms.where(seen, torch.ones_like(norms))
        return balanced.where(seen, weights)

    @torch.compiler.disable
    def update(self, terms: list[Tensor], views: list[Tensor]) -> None:
        """Take a batch's gradients into the running means.

        Args:
            terms: Each objective's scalar before weighting; their graphs are kept.
            views: As :func:`views_of` gives them.
        """
        found = torch.stack([_norm(term, views) for term in terms]).to(self.norms)
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(found)
            found = found / dist.get_world_size()
        moved = self.norms.lerp(found, 1 - self.momentum).where(self.norms > 0, found)
        # A batch without anything to compare, such as a label that no cell has, says nothing of the next one.
        self.norms.copy_(moved.where(found > 0, self.norms))


def _norm(term: Tensor, views: list[Tensor]) -> Tensor:
    if not term.requires_grad or not views:
        return term.new_zeros((), dtype=torch.float32)
    gradients = torch.autograd.grad(term, views, retain_graph=True, allow_unused=True)
    squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
    return torch.stack(squares).sum().sqrt() if squares else term.new_zeros((), dtype=torch.float32)
