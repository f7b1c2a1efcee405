"""Rank objective: of two cells, the one that is nearer to a third is so to the student too."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tahoe_distill.objectives.base import Outputs, Shapes
from tahoe_distill.objectives.embedding import EmbeddingObjective, similarities
from tahoe_distill.objectives.registry import register_objective


class Triples(nn.Module):
    """Random triples of different cells of a batch: the same at the same point of a run, a resumed one included.

    Args:
        count: How many to draw.
        seed: Of the draws.
    """

    def __init__(self, count: int, seed: int):
        super().__init__()
        self.count, self.seed = count, seed
        self.draws: Tensor
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def reset_parameters(self) -> None:
        """Begin anew; also what a module materialised from the meta device needs."""
        self.draws.zero_()

    @torch.compiler.disable
    def forward(self, cells: int) -> Tensor:
        """(3, count) int64 numbers of cells, at least three; each draw in training is another, evaluation has one."""
        if self.training:
            self.draws += 1
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + (int(self.draws) if self.training else 0))
        first = torch.randint(cells, (self.count,), generator=generator)
        second = torch.randint(1, cells, (self.count,), generator=generator)
        third = torch.randint(1, cells - 1, (self.count,), generator=generator)
        # Steps from the first cell; the third's skip the second's, so that all three differ.
        third += third >= second
        return torch.stack([first, (first + second) % cells, (first + third) % cells]).to(self.draws.device)


@register_objective
class Rank(EmbeddingObjective):
    """Mean hinge over sampled triples of cells ``(a, b, c)``: ``a`` is to be nearer to whichever its teacher says.

    The hinge is ``max(0, gap - ours)``: ``ours`` is how much nearer, in cosine, the student puts the one that its
    teacher puts nearer, and ``gap`` the teacher's own difference, at most ``margin``; so the teacher itself has none.
    The batch is what one forward pass sees. The two widths may differ unless ``center`` is on. With fewer than three
    cells there is no triple: zero.

    Args:
        shapes: Sizes of the models.
        margin: Difference of cosines beyond which order counts, and size does not.
        triples: How many to draw of a batch; all would grow with its cube.
        seed: Of the draws.
        center: As in :class:`EmbeddingObjective`, as are the next two.
        center_momentum: See there.
        matryoshka: See there.

    Raises:
        ValueError: When the margin or the number of triples is not positive.
    """

    name = "rank"
    any_width = True

    def __init__(
        self,
        *,
        shapes: Shapes,
        margin: float = 0.1,
        triples: int = 4096,
        seed: int = 17,
        center: bool = False,
        center_momentum: float | None = None,
        matryoshka: Sequence[int] | None = None,
    ):
        super().__init__(shapes=shapes, center=center, center_momentum=center_momentum, matryoshka=matryoshka)
        if not margin > 0 or triples < 1:
            raise ValueError(f"rank needs a margin and triples above zero, found margin {margin}, triples {triples}")
        self.margin = margin
        self.triples = Triples(triples, seed)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> Tensor:
        s, t = self.embeddings(student, teacher)
        if len(s) < 3:
            return s.sum() * 0.0
        return self.at_each_size(functools.partial(self._hinge, self.triples(len(s))), s, t)

    def _hinge(self, triples: Tensor, student: Tensor, teacher: Tensor) -> Tensor:
        a, b, c = triples
        ours, theirs = (table[a, b] - table[a, c] for table in (similarities(x, x) for x in (student, teacher)))
        return (theirs.abs().clamp(max=self.margin) - theirs.sign() * ours).clamp(min=0).mean()
