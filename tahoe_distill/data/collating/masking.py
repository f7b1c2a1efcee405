"""Which genes of a cell are masked: a share of them, any of them, special tokens never."""

import numpy as np

from tahoe_distill.data.collating import draws


def mask_shares(probability, row_keys):
    """Share of each cell's genes to mask.

    Args:
        probability: One share for all cells, or a list to draw one from for each cell.
        row_keys: (C,) keys of the cells' draws.
    """
    if not isinstance(probability, list):
        return probability
    drawn = draws.uniforms(row_keys) * len(probability)
    return np.asarray(probability)[drawn.astype(np.int64)]


def random_masks(words, lengths, keep, shares):
    """(C, G) bool, True at the genes to mask.

    Args:
        words: (C, G) uint32 random words; the genes with the smallest ones are masked.
        lengths: (C,) tokens of each cell.
        keep: Special tokens at the start, never masked.
        shares: Share of the other tokens to mask, one for all or (C,).
    """
    mask = np.zeros((len(lengths), int(lengths.max())), dtype=bool)
    counts = ((lengths - keep) * shares).astype(np.int64)
    for row in np.flatnonzero(counts > 0):
        mask[row, keep : lengths[row]] = draws.smallest(words[row, keep : lengths[row]], counts[row])
    return mask
