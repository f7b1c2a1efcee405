"""How far probabilities are to be believed, and the temperature that makes them so.

Shapes: n cells, k labels.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

BINS = 15
# Natural logarithms: a probe that needs more than this either way has learned nothing, or was shown its own answers.
_SPAN = 4.0


def expected_calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int = BINS) -> float:
    """Mean over cells of ``|accuracy - confidence|`` in equal bins of the highest probability; lower is better.

    Guo et al. 2017, https://arxiv.org/abs/1706.04599.

    Args:
        probabilities: (n, k).
        truth: (n,) numbers of the true labels.
        bins: How many.

    Returns:
        0 … 1; 0 without cells.
    """
    if not len(truth):
        return 0.0
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(truth))


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """What to divide logits by, so that the likelihood of the true labels is highest.

    Args:
        logits: (n, k) of cells that the classifier was not fitted on.
        truth: (n,) numbers of their labels.
    """
    numbers = np.arange(len(truth))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float((logsumexp(scaled, axis=1) - scaled[numbers, truth]).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-_SPAN, _SPAN), method="bounded").x))
