"""Which cells are for validation: at random by seed, or whole groups."""

import hashlib

import numpy as np
from numpy.typing import ArrayLike

from tahoe_distill.data.collating.draws import mix64

# Beyond this many cells the share is met on average instead of exactly, to save an array of hashes.
_EXACT = 5_000_000


def random_split(cells: int, fraction: float, seed: int) -> np.ndarray:
    """(cells,) bool, true for validation; the same for the same seed whatever is read in which order."""
    if not 0 <= fraction < 1:
        raise ValueError(f"val_fraction must lie in 0 … 1 (1 excluded), found {fraction}")
    count = round(cells * fraction)
    count = min(max(count, 1), cells - 1) if fraction > 0 else 0
    if count == 0:
        return np.zeros(cells, dtype=bool)
    hashes = mix64(np.arange(cells, dtype=np.uint64) ^ mix64(np.full(1, np.uint64(seed % 2**64))))
    limit = np.partition(hashes, count)[count] if cells <= _EXACT else np.uint64(int(fraction * 2**64))
    return hashes < limit


def group_split(groups: ArrayLike, fraction: float, seed: int) -> np.ndarray:
    """(cells,) bool, true for validation: whole groups, in an order drawn from the seed, until the share is reached.

    Args:
        groups: (cells,) group of each cell.
        fraction: Share of the cells for validation; the last group taken may exceed it.
        seed: Decides the order of the groups.

    Raises:
        ValueError: With fewer than two groups.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"val_fraction must lie in 0 … 1 (1 excluded), found {fraction}")
    groups = np.asarray(groups, dtype=str)
    names, numbers, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if fraction == 0:
        return np.zeros(len(groups), dtype=bool)
    if names.size < 2:
        raise ValueError(f"split_by needs at least two groups, found one: {str(names[0])!r}; split at random instead")
    order = sorted(range(names.size), key=lambda n: hashlib.blake2b(f"{seed}:{names[n]}".encode()).digest())
    taken: list[int] = []
    wanted = fraction * len(groups)
    for number in order[:-1]:
        if taken and sizes[taken].sum() + sizes[number] / 2 > wanted:
            continue
        taken.append(number)
        if sizes[taken].sum() >= wanted:
            break
    return np.isin(numbers, taken)
