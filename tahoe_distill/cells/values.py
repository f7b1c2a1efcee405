"""What a matrix holds: raw counts, log1p of counts, or values that no cell can have."""

import logging
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tahoe_distill.cells.base import Cells

log = logging.getLogger(__name__)

COUNTS, LOGGED, SCALED_TOTALS = "counts", "log1p-normalised", "normalised, not logged"
# log1p of the largest count a cell could have is about 20; counts that are not whole and exceed this are no logarithms.
LARGEST_LOG = 25.0
# Models compute in float32, where anything larger is infinite.
_LARGEST = float(np.finfo(np.float32).max)
OVERSIZED = f"larger than {_LARGEST:.2g}"


def wrong_values(values: np.ndarray) -> dict[str, int]:
    """How many of some values no cell can have: ``NaN``, ``infinite``, ``negative``, too large; those that occur."""
    if not values.size or values.dtype.kind in "ub":
        return {}
    # One pass decides: NaN makes both comparisons false.
    if values.min() >= 0 and values.max() <= _LARGEST:
        return {}
    finite = np.isfinite(values)
    missing = int(np.isnan(values).sum())
    counts = {
        "NaN": missing,
        "infinite": int((~finite).sum()) - missing,
        "negative": int((values[finite] < 0).sum()),
        OVERSIZED: int((values[finite] > _LARGEST).sum()),
    }
    return {kind: count for kind, count in counts.items() if count}


def complaint(wrong: dict[str, int]) -> str:
    """Say what is wrong with a matrix that has such values, and what to do."""
    found = ", ".join(f"{kind} values ({count:,})" for kind, count in wrong.items())
    scaled = ", so it was scaled, centred or corrected" if "negative" in wrong else ""
    return (
        f"found {found}{scaled}; expected raw counts or log1p of them. Choose another matrix with layer (a layer's "
        "name, or raw)"
    )


def check_values(values: np.ndarray, where: str) -> None:
    """Refuse values that are no counts and no log-counts.

    Args:
        values: (n,) values of some cells.
        where: File and rows, for the message.

    Raises:
        ValueError: For negative, NaN or infinite values, by name.
    """
    wrong = wrong_values(values)
    if wrong:
        raise ValueError(f"{where}: {complaint(wrong)}")


def check_cells(cells: "Cells") -> None:
    """Look at every stored value once, before any long work.

    Raises:
        ValueError: When there are no cells, and as :func:`check_values`.
    """
    require_cells(cells)
    for values in cells.values():
        check_values(values, cells.where)


def require_cells(cells: "Cells") -> None:
    """Refuse a source without cells or genes.

    Raises:
        ValueError: When the matrix is empty.
    """
    if not cells.n_obs or not cells.n_vars:
        raise ValueError(
            f"{cells.where}: expected cells, found none: the matrix is {cells.n_obs} cells by {cells.n_vars} genes"
        )


def are_integers(values: np.ndarray) -> bool:
    """Whether all of ``values`` are whole numbers."""
    return bool((values == np.rint(values)).all())


def is_log1p(values: np.ndarray) -> bool:
    """Whether ``expm1`` of a cell is whole counts times a factor; its smallest count is taken to be 1, 2 or 3.

    Args:
        values: (n,) the cell's values that are not zero.
    """
    if values.min() <= 0 or values.max() > LARGEST_LOG:
        return False
    counts = np.expm1(values)
    for smallest in (1, 2, 3):
        scaled = counts / counts.min() * smallest
        if np.abs(scaled - np.rint(scaled)).max() < 1e-3 * max(1.0, scaled.max() / 100):
            return True
    return False


def recognise(values: np.ndarray, where: str) -> str:
    """Name what a matrix holds, from some of its values.

    Args:
        values: (n,) values of some of its cells.
        where: The file, for messages.

    Returns:
        ``"counts"``, ``"log1p-normalised"`` or ``"normalised, not logged"``.

    Raises:
        ValueError: As :func:`check_values`.
    """
    check_values(values, where)
    if are_integers(values):
        return COUNTS
    kind = LOGGED if values.max() <= LARGEST_LOG else SCALED_TOTALS
    log.warning(
        "%s: holds %s values, not raw counts (largest %.4g); accepted, since binning depends on ranks only. "
        "Down-sampling and mixing at training need raw counts",
        where,
        kind,
        values.max(),
    )
    return kind
