"""Cutting cells to a context: the teacher's from a whole cell, the student's from the teacher's."""

import numpy as np
import torch

from tahoe_distill.data.collating import draws
from tahoe_distill.models.processing_tx1 import choose_genes


def chosen(genes, words, count, rule):
    """Index of the ``count`` of a cell's ``genes`` that stay.

    Args:
        genes: (n,) tokens, special ones left out.
        words: (n,) uint32 random words of the cell.
        count: How many stay.
        rule: ``cell`` for a choice that depends on the cell alone, ``random``, or ``first``.
    """
    if rule == "cell":
        return choose_genes(genes, count)
    # Positions, not a mask: several arrays are indexed by it.
    return np.flatnonzero(draws.smallest(words, count)) if rule == "random" else slice(count)


def student_view(arrays, lengths, limit, keep, row_keys, rule, fills):
    """The same cells cut to the student's context: a subset of the teacher's positions, and where it lies.

    Args:
        arrays: (C, G) arrays of the teacher's view, ``gene`` among them.
        lengths: (C,) tokens of each cell in it.
        limit: The student's context.
        keep: Special tokens at the start, which always stay.
        row_keys: (C,) keys of the cells' draws.
        rule: As in :func:`chosen`.
        fills: What stands at padding, for each array to cut.

    Returns:
        ``student_<name>`` (C, Gs) for each of ``fills``, and ``student_index`` (C, Gs) int64, the teacher's position
        of each of the student's (0 at padding).
    """
    short = np.minimum(lengths, limit)
    index = np.tile(np.arange(short.max()), (len(lengths), 1))
    words = draws.words(row_keys, int(lengths.max()))
    for row in np.flatnonzero(short < lengths):
        genes, places = arrays["gene"][row, keep : lengths[row]], np.arange(lengths[row] - keep)
        index[row, keep:] = places[chosen(genes, words[row, keep : lengths[row]], short[row] - keep, rule)] + keep
    padding = np.arange(index.shape[1]) >= short[:, None]
    index[padding] = 0
    view = {"student_index": torch.from_numpy(index)}
    for name, fill in fills.items():
        taken = np.take_along_axis(arrays[name], index, axis=1)
        view[f"student_{name}"] = torch.from_numpy(np.where(padding, np.asarray(fill, taken.dtype), taken))
    return view
