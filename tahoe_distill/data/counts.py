"""What a matrix holds: raw counts, log-normalised counts, or values that no cell can have."""

import logging

import numpy as np

log = logging.getLogger(__name__)

COUNTS, LOGGED, SCALED_TOTALS = "counts", "log1p-normalised", "normalised, not logged"
# log1p of the largest count a cell could have is about 20; counts that are not whole and exceed this are no logarithms.
_LARGEST_LOG = 25.0


def check_values(values, where):
    """Refuse values that are no counts and no log-counts.

    Args:
        values: (n,) values of some cells.
        where: File and rows, for the message.

    Raises:
        ValueError: For negative, NaN or infinite values, by name.
    """
    if not values.size:
        return
    # One pass decides: NaN makes both comparisons false.
    if values.min() >= 0 and values.max() < np.inf:
        return
    if np.isnan(values).any():
        kind, what = "NaN", f"{int(np.isnan(values).sum())} values that are NaN"
    elif np.isinf(values).any():
        kind, what = "infinite values", f"{int(np.isinf(values).sum())} infinite values"
    else:
        kind, what = "negative values", f"values down to {values.min():.4g}, so it is scaled or corrected"
    raise ValueError(
        f"{where}: found {kind} ({what}); expected raw counts or log1p-normalised counts. Choose another matrix with "
        "layer (a layer's name, or raw)"
    )


def are_integers(values):
    """Whether all of ``values`` are whole numbers."""
    return bool((values == np.rint(values)).all())


def recognise(rows, path):
    """Name what a matrix holds, from some of its cells.

    Args:
        rows: CSR matrix of some cells.
        path: The file, for messages.

    Returns:
        ``"counts"``, ``"log1p-normalised"`` or ``"normalised, not logged"``.

    Raises:
        ValueError: As :func:`check_values`.
    """
    check_values(rows.data, path)
    if are_integers(rows.data):
        return COUNTS
    kind = LOGGED if rows.data.max() <= _LARGEST_LOG else SCALED_TOTALS
    log.warning(
        "%s: holds %s values, not raw counts (largest %.4g); accepted, since binning depends on ranks only. "
        "Down-sampling and mixing at training need raw counts",
        path,
        kind,
        rows.data.max(),
    )
    return kind
