"""Random choices that depend on (seed, epoch, sample, purpose) alone: genes for the context, masks, the student's part.

Batches are collated in worker processes, in any number and order, and again after a resumption. Drawing from a stream
of random numbers would make the result depend on all of that; here every number is a hash of what it is for.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.data.batch import GENE_IDS, STUDENT, STUDENT_INDEX
from tahoe_distill.models.processing_tx1 import choose_genes

# What a number is for; part of its key.
GENES, PROBABILITY, CONTEXT, UNEXPRESSED, AUGMENT = range(5)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix64(x: np.ndarray) -> np.ndarray:
    """SplitMix64 finaliser (Steele, Lea, Flood 2014) of a uint64 array, wrapping."""
    # In place, since it runs over millions of numbers; arrays wrap without a warning.
    x = x + _GOLDEN
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x


def keys(seed: int, epochs: Sequence[int], samples: Sequence[int], *, purpose: int) -> np.ndarray:
    """(C,) uint64: one key a sample, different for each ``purpose`` (a small integer)."""
    state = mix64(np.full(len(samples), np.uint64(seed % 2**64)))
    for part in (np.asarray(epochs), np.asarray(samples), np.full(len(samples), purpose)):
        state = mix64(state ^ part.astype(np.int64).astype(np.uint64))
    return state


def words(row_keys: np.ndarray, count: int) -> np.ndarray:
    """(C, count) uint32 random words, row by row from ``row_keys`` (C,)."""
    steps = _GOLDEN * np.arange(1, count // 2 + 2, dtype=np.uint64)
    return mix64(row_keys[:, None] + steps).view(np.uint32)[:, :count]


def uniforms(row_keys: np.ndarray) -> np.ndarray:
    """(C,) float64 in [0, 1) from ``row_keys`` (C,)."""
    return (mix64(row_keys) >> np.uint64(11)) * 2.0**-53


def generators(row_keys: np.ndarray) -> list[np.random.Generator]:
    """A ``numpy.random.Generator`` for each of ``row_keys`` (C,)."""
    return [np.random.Generator(np.random.PCG64(int(key))) for key in row_keys]


def smallest(row_words: np.ndarray, count: int) -> np.ndarray:
    """(n,) bool, true for the ``count`` smallest of ``row_words`` (n,): a random subset when they are random."""
    if count >= row_words.size:
        return np.ones(row_words.size, dtype=bool)
    if count <= 0:
        return np.zeros(row_words.size, dtype=bool)
    chosen = row_words < np.partition(row_words, count)[count]
    if np.count_nonzero(chosen) < count:
        # Equal words at the limit, once in some million rows: take them by position.
        chosen[np.argsort(row_words, kind="stable")[:count]] = True
    return chosen


def kept_genes(genes: np.ndarray, row_words: np.ndarray, count: int, *, rule: str) -> np.ndarray | slice:
    """Index of the ``count`` of a cell's ``genes`` that stay in a context.

    Args:
        genes: (n,) tokens, special ones left out.
        row_words: (n,) uint32 random words of the cell.
        count: How many stay.
        rule: ``cell`` for a choice that depends on the cell alone, ``random``, or ``first``.
    """
    if rule == "cell":
        return choose_genes(genes, count)
    # Positions, not a mask: several arrays are indexed by it.
    return np.flatnonzero(smallest(row_words, count)) if rule == "random" else slice(count)


def mask_shares(probability: float | list[float], row_keys: np.ndarray) -> float | np.ndarray:
    """Share of each cell's genes to mask.

    Args:
        probability: One share for all cells, or a list to draw one from for each cell.
        row_keys: (C,) keys of the cells' draws.
    """
    if not isinstance(probability, list):
        return probability
    drawn = uniforms(row_keys) * len(probability)
    return np.asarray(probability)[drawn.astype(np.int64)]


def random_masks(row_words: np.ndarray, lengths: np.ndarray, keep: int, *, shares: float | np.ndarray) -> np.ndarray:
    """(C, G) bool, True at the genes to mask.

    Args:
        row_words: (C, G) uint32 random words; the genes with the smallest ones are masked.
        lengths: (C,) tokens of each cell.
        keep: Special tokens at the start, never masked.
        shares: Share of the other tokens to mask, one for all or (C,).
    """
    mask = np.zeros((len(lengths), int(lengths.max())), dtype=bool)
    counts = ((lengths - keep) * shares).astype(np.int64)
    for row in np.flatnonzero(counts > 0):
        mask[row, keep : lengths[row]] = smallest(row_words[row, keep : lengths[row]], counts[row])
    return mask


def cut_to_context(
    arrays: Mapping[str, np.ndarray],
    lengths: np.ndarray,
    limit: int,
    *,
    keep: int,
    row_keys: np.ndarray,
    rule: str,
    fills: Mapping[str, object],
) -> dict[str, Tensor]:
    """The student's tensors of a batch: the same cells cut to its context, a subset of the teacher's positions.

    Args:
        arrays: (C, G) arrays of the teacher's cells, the tokens among them.
        lengths: (C,) tokens of each cell in it.
        limit: The student's context.
        keep: Special tokens at the start, which always stay.
        row_keys: (C,) keys of the cells' draws.
        rule: As in :func:`kept_genes`.
        fills: What stands at padding, for each array to cut.

    Returns:
        (C, Gs) for each of ``fills`` under its student's name, and the teacher's position of each of the student's
        (C, Gs) int64, 0 at padding.
    """
    short = np.minimum(lengths, limit)
    index = np.tile(np.arange(short.max()), (len(lengths), 1))
    row_words = words(row_keys, int(lengths.max()))
    for row in np.flatnonzero(short < lengths):
        body = slice(keep, lengths[row])
        chosen = kept_genes(arrays[GENE_IDS][row, body], row_words[row, body], short[row] - keep, rule=rule)
        index[row, keep:] = np.arange(lengths[row] - keep)[chosen] + keep
    padding = np.arange(index.shape[1]) >= short[:, None]
    index[padding] = 0
    cut = {STUDENT_INDEX: torch.from_numpy(index)}
    for name, fill in fills.items():
        taken = np.take_along_axis(arrays[name], index, axis=1)
        cut[f"{STUDENT}{name}"] = torch.from_numpy(np.where(padding, np.asarray(fill, taken.dtype), taken))
    return cut
