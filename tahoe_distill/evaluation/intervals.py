"""Bootstrap intervals over cells, of one subject and of the difference of two."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 1000
COVERAGE = 0.95
# Cells times resamples drawn at a time: 64 MB of weights.
_BUDGET = 8_000_000

# (resamples, n) weights, how often each cell was drawn, to (resamples,) values of the statistic.
Statistic = Callable[[np.ndarray], np.ndarray]


def bootstrap(statistic: Statistic, cells: int, *, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """Percentile interval of a statistic over cells drawn with replacement (Efron 1979).

    Args:
        statistic: Takes (r, n) numbers of draws of each cell, gives (r,) values.
        cells: How many cells there are.
        seed: Of the draws; the same seed draws the same cells, so that two subjects can be compared pairwise.
        resamples: How many times.

    Returns:
        The ends of the 95 % interval.
    """
    return interval(draws(statistic, cells, seed=seed, resamples=resamples))


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """The ends between which 95 % of (resamples,) values lie."""
    low, high = np.quantile(drawn, [0.5 - COVERAGE / 2, 0.5 + COVERAGE / 2])
    return float(low), float(high)


def draws(statistic: Statistic, cells: int, *, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(resamples,) values of a statistic over cells drawn with replacement; see :func:`bootstrap`."""
    rng, step = np.random.default_rng(seed), max(1, _BUDGET // cells)
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    even = np.full(cells, 1 / cells)
    return np.concatenate([statistic(rng.multinomial(cells, even, size=size)) for size in sizes])


def mean_of(values: np.ndarray) -> Statistic:
    """The mean of (n,) values as a statistic."""
    return lambda weights: weights @ values / len(values)


def macro_f1_of(truth: np.ndarray, found: np.ndarray) -> Statistic:
    """Macro-F1 of (n,) predicted labels as a statistic: the mean over the labels that a draw holds, as scikit-learn's.

    Args:
        truth: (n,) labels.
        found: (n,) predictions.
    """
    labels = np.unique(np.concatenate([truth, found]))
    is_truth, is_found = (values[:, None] == labels for values in (truth, found))
    indicators = [columns.astype(np.float64) for columns in (is_truth & is_found, is_truth, is_found)]

    def statistic(weights: np.ndarray) -> np.ndarray:
        hits, there, said = (weights @ columns for columns in indicators)
        total = there + said
        f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
        return f1.sum(axis=1) / (total > 0).sum(axis=1)

    return statistic
