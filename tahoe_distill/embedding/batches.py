"""Which cells go into a batch together: neighbours in length, within a budget of tokens."""

import numpy as np

# Tokens of a batch, padding included. A CPU wants activations that stay near its caches, a GPU wants to be filled.
CPU_TOKENS = 4096
GPU_TOKENS = 262144


def plan_batches(lengths, batch_size="auto", tokens=CPU_TOKENS, same_length=False):
    """Split cells into batches, longest first.

    The plan depends on nothing but its arguments, so the same cells are always computed in the same company.

    Args:
        lengths: (C,) tokens of each cell.
        batch_size: Cells of a batch at most; ``"auto"`` leaves it to ``tokens``.
        tokens: Tokens of a batch at most, padding included (a single longer cell is a batch of its own).
        same_length: Put only cells of equal length together, so that there is no padding at all.

    Returns:
        A list of int64 arrays of cell numbers; each cell is in exactly one.
    """
    lengths = np.asarray(lengths)
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < order.size:
        longest = int(lengths[order[start]])
        size = max(1, tokens // max(longest, 1)) if batch_size == "auto" else batch_size
        batch = order[start : start + size]
        if same_length:
            batch = batch[lengths[batch] == longest]
        batches.append(batch)
        start += batch.size
    return batches


def check_batch_size(batch_size):
    """Return ``batch_size`` if it is ``"auto"`` or a positive integer.

    Raises:
        ValueError: When it is neither.
    """
    whole = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
    if batch_size == "auto" or (whole and batch_size > 0):
        return batch_size
    raise ValueError(f"batch_size must be 'auto' or a positive number of cells, found {batch_size!r}")
