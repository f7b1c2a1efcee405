"""Cells that nobody measured: thinned and mixed views of those that were measured, as windows of counts."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from tahoe_distill.data.collating.augment import Augment
from tahoe_distill.data.collating.augment import Cell as RawCell
from tahoe_distill.fitting.cells import CountedCells

# As the recipe of a whole run has them.
THINNED = Augment(downsample=0.7, low=0.3, high=1.0)
MIXED = Augment(downsample=0.7, low=0.3, high=1.0, mix=0.5)
# Labelled cells to learn from, where nothing else is asked for, and views of a cell at most.
ENOUGH_CELLS, MOST_VIEWS = 20_000, 60
# Cells of a window.
_WINDOW = 512


def views_for(cells: CountedCells, views: int | None) -> int:
    """How many views of each cell to learn from, the measured one among them.

    Args:
        cells: The cells.
        views: What was asked for; ``None`` for as many as make 20,000 cells, 60 at most.

    Raises:
        ValueError: When several were asked for, and the cells are no raw counts.
    """
    if views is None:
        return min(max(1, round(ENOUGH_CELLS / len(cells))), MOST_VIEWS) if cells.are_counts else 1
    if views < 1:
        raise ValueError(f"views must be 1 (the measured cells alone) or more, found {views}")
    if views > 1 and not cells.are_counts:
        raise ValueError(
            f"{cells.where}: views of a cell are thinned and mixed, which needs raw counts: choose the matrix that has "
            f"them (a layer's name, or raw), or views 1; found views {views}"
        )
    return views


def made_up(
    cells: CountedCells, views: int, augment: Augment, *, seed: int, first: int = 0
) -> Iterator[sparse.csr_matrix]:
    """Windows of cells: all as they were measured, then all once more for each further view.

    Args:
        cells: The measured cells.
        views: How often each is shown.
        augment: What a view is made by; not applied to the first.
        seed: Of the views; a view depends on that, its number and its cells alone.
        first: The view to begin with; those before it are left out.

    Yields:
        (w, tokens) counts; without ``first``, cell ``i`` of view ``v`` is row ``v * n + i`` of all windows together.
    """
    measured = [cells.cell(number) for number in range(len(cells))]
    for view in range(first, views):
        shown = measured
        if view:
            generators = [np.random.default_rng((seed, view, row)) for row in range(len(cells))]
            shown = augment.apply(measured, generators)
        for start in range(0, len(shown), _WINDOW):
            yield _stacked(shown[start : start + _WINDOW], cells.counts.shape[1])


def _stacked(cells: list[RawCell], size: int) -> sparse.csr_matrix:
    bounds = np.concatenate([[0], np.cumsum([genes.size for genes, _ in cells])])
    genes, counts = (np.concatenate([cell[part] for cell in cells]) for part in (0, 1))
    return sparse.csr_matrix((counts.astype(np.float32), genes, bounds), shape=(len(cells), size))
