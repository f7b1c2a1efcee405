"""More cells from the same cells: binomial down-sampling and mixing of raw counts, before any binning.

A teacher can label any cell, so a student may learn from cells nobody measured. Both operations give integer counts
that a sequencer could have given: down-sampling is a shallower run, mixing a doublet at the depth of one cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tahoe_distill.naming import check_keys

# Genes and counts of a cell, special tokens left out.
Cell = tuple[np.ndarray, np.ndarray]
_OPTIONS = {"downsample": ("probability", "low", "high"), "mix": ("probability",)}


@dataclass(frozen=True)
class Augment:
    """What to do to how many cells.

    Args:
        downsample: Probability that a cell is down-sampled.
        low: Smallest fraction of its counts that a down-sampled cell keeps.
        high: Largest fraction.
        mix: Probability that a cell is mixed with another cell of the batch.
    """

    downsample: float = 0.0
    low: float = 0.2
    high: float = 1.0
    mix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("downsample", "mix"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augment.{name}.probability must lie in 0 … 1, found {getattr(self, name)}")
        if not 0 < self.low <= self.high <= 1:
            raise ValueError(f"augment.downsample needs 0 < low <= high <= 1, found low {self.low}, high {self.high}")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "Augment":
        """From the collator's ``augment`` section: ``{downsample: {probability, low, high}, mix: {probability}}``."""
        check_keys(options, _OPTIONS, "augment")
        for name, section in options.items():
            check_keys(section, _OPTIONS[name], f"augment.{name}")
        down = options.get("downsample", {})
        return cls(
            downsample=float(down.get("probability", 0.0)),
            low=float(down.get("low", cls.low)),
            high=float(down.get("high", cls.high)),
            mix=float(options.get("mix", {}).get("probability", 0.0)),
        )

    def apply(self, cells: Sequence[Cell], generators: Sequence[np.random.Generator]) -> list[Cell]:
        """Augment a batch.

        Args:
            cells: ``(genes, counts)`` of each cell; not altered.
            generators: A ``numpy.random.Generator`` for each cell, used for that cell alone.

        Returns:
            New list of ``(genes, counts)``. A cell that would lose all its counts stays as it was.

        Raises:
            ValueError: When counts are not integers.
        """
        for _, counts in cells:
            check_integer(counts)
        return [self._one(cells, row, rng) for row, rng in enumerate(generators)]

    def _one(self, cells: Sequence[Cell], row: int, rng: np.random.Generator) -> Cell:
        genes, counts = original = cells[row]
        # All draws are made whatever the outcome, so that one option does not change the other's numbers.
        down, mix, fraction, share = rng.random(4)
        if mix < self.mix and len(cells) > 1:
            other = (row + 1 + int(rng.integers(len(cells) - 1))) % len(cells)
            genes, counts = mixed(original, cells[other], share, rng=rng)
        if down < self.downsample:
            genes, counts = thinned((genes, counts), self.low + (self.high - self.low) * fraction, rng)
        return (genes, counts) if counts.size else original


def check_integer(counts: ArrayLike) -> None:
    """Raise unless ``counts`` are whole numbers."""
    counts = np.asarray(counts)
    odd = counts[counts != np.rint(counts)]
    if odd.size:
        raise ValueError(
            f"augmentation thins counts, so it needs raw integer counts; found {odd[0]}. Prepare the shards from raw "
            "counts (layer=...), or leave the augment section out"
        )


def thinned(cell: Cell, fraction: float, rng: np.random.Generator) -> Cell:
    """Keep each count with probability ``fraction``; genes left without counts go."""
    genes, counts = cell
    kept = rng.binomial(np.asarray(counts, dtype=np.int64), fraction)
    left = kept > 0
    return genes[left], kept[left].astype(np.float32)


def mixed(cell: Cell, other: Cell, share: float, *, rng: np.random.Generator) -> Cell:
    """``share`` of one cell's counts plus ``1 - share`` of the other's, over the union of their genes."""
    genes, counts = thinned(cell, share, rng)
    more_genes, more_counts = thinned(other, 1.0 - share, rng)
    union, inverse = np.unique(np.concatenate([genes, more_genes]), return_inverse=True)
    total = np.bincount(inverse, weights=np.concatenate([counts, more_counts]), minlength=union.size)
    return union, total.astype(np.float32)
