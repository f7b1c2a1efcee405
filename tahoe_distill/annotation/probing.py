"""Fit a probe: logistic regression on vectors of cells, calibrated and judged on cells that it was not fitted on.

Shapes: n cells, e width of a vector, k labels.
"""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from tahoe_distill.annotation.calibration import expected_calibration_error, fit_temperature
from tahoe_distill.annotation.labelled import Labelled
from tahoe_distill.probes import Probe, softmax, unit

log = logging.getLogger(__name__)

# Parts of the cells to learn from, of which each is once kept aside for the temperature.
_CALIBRATION_FOLDS = 3
# A label that a fold did not learn: as good as impossible there.
_NEVER = -60.0


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """How to fit a probe.

    Args:
        folds: One of so many parts of the cells is kept aside to judge by.
        min_cells: Cells that each label needs.
        strength: Inverse strength of the regularisation (``C`` of scikit-learn), of standardised vectors.
        seed: Of the split.
    """

    folds: int = 5
    min_cells: int = 10
    strength: float = 1.0
    seed: int = 17

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f"folds must be 2 or more, since one part is kept aside; found {self.folds}")
        if self.min_cells < self.folds:
            raise ValueError(
                f"min_cells must be {self.folds} or more, a cell for each of {self.folds} folds; found {self.min_cells}"
            )
        if not self.strength > 0:
            raise ValueError(f"strength must be above 0, found {self.strength}")


def fit_probe(cells: Labelled, settings: ProbeSettings | None = None) -> Probe:
    """Fit, calibrate and judge a probe.

    The temperature is fitted on three folds of the cells to learn from, each by a regression on the other two; the
    numbers in the record are of cells that neither it nor the regression saw.

    Args:
        cells: Vectors with their labels.
        settings: How to fit.

    Raises:
        ValueError: When there is one label only, a label has too few cells, or groups cannot be divided.
    """
    settings = settings or ProbeSettings()
    names = check_labels(cells.labels, cells.where, settings.min_cells)
    truth = np.searchsorted(names, cells.labels)
    vectors = unit(cells.vectors)
    learn, judge = _first(_folds(truth, cells.groups, settings.folds, settings))
    _check_learnt(cells, names, truth[learn])
    temperature = _temperature(vectors[learn], truth[learn], _of(cells.groups, learn), settings=settings)
    coef, intercept = _regression(vectors[learn], truth[learn], len(names), settings)
    raw = vectors[judge] @ coef.T + intercept
    record = {
        "method": "logistic regression",
        "source": cells.source,
        "column": cells.column,
        "group": cells.group,
        "settings": asdict(settings),
        "cells": {"learned": len(learn), "held_out": len(judge)},
        "cells_of_label": {name: int((truth == number).sum()) for number, name in enumerate(names.tolist())},
        "held_out": {"cells": len(judge), **_scores(raw, truth[judge], temperature)},
    }
    return Probe(coef, intercept, tuple(names.tolist()), temperature, cells.fingerprint, record)


def check_labels(labels: np.ndarray, where: str, min_cells: int) -> np.ndarray:
    """The different labels, in order.

    Args:
        labels: (n,) texts, ``""`` where a cell has none.
        where: What the cells are, for messages.
        min_cells: Cells that each label needs.

    Raises:
        ValueError: When cells have no label, there is one label only, or a label has too few cells.
    """
    missing = int((labels == "").sum())
    if missing:
        raise ValueError(
            f"{where}: {missing:,} of {len(labels):,} cells have no label (NaN or empty); expected one for each: leave "
            "these cells out (adata[adata.obs[COLUMN].notna()])"
        )
    names, counts = np.unique(labels, return_counts=True)
    if len(names) < 2:
        raise ValueError(
            f"{where}: found the label {', '.join(names) or 'none'} alone; expected two or more to tell apart"
        )
    few = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if count < min_cells]
    if few:
        raise ValueError(
            f"{where}: found labels with fewer than {min_cells} cells: {', '.join(few)}; leave these cells out, join "
            "labels, or lower --min-cells (min_cells)"
        )
    return names


def _folds(
    truth: np.ndarray, groups: np.ndarray | None, count: int, settings: ProbeSettings
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cells to learn from and cells kept aside, for each fold; groups are never divided."""
    if groups is None:
        yield from StratifiedKFold(count, shuffle=True, random_state=settings.seed).split(truth, truth)
        return
    found = len(np.unique(groups))
    if found < count:
        raise ValueError(
            f"found {found} groups, expected {count} or more, one for each fold: lower --folds (folds), or leave "
            "--group (group) out"
        )
    with warnings.catch_warnings():
        # A label that is in few groups; what cannot be learned so is told below.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        folds = StratifiedGroupKFold(count, shuffle=True, random_state=settings.seed)
        yield from folds.split(truth, truth, groups)


def _check_learnt(cells: Labelled, names: np.ndarray, learnt: np.ndarray) -> None:
    lost = [name for number, name in enumerate(names.tolist()) if not (learnt == number).any()]
    if lost:
        raise ValueError(
            f"{cells.where}: all cells of {', '.join(lost)} are in groups that are kept aside, so nothing can learn "
            "them; try another --seed (seed), leave --group (group) out, or leave these labels out"
        )


def _temperature(
    vectors: np.ndarray, truth: np.ndarray, groups: np.ndarray | None, *, settings: ProbeSettings
) -> float:
    known = int(truth.max()) + 1
    folds = _CALIBRATION_FOLDS if groups is None else min(_CALIBRATION_FOLDS, len(np.unique(groups)))
    if folds < 2:
        log.warning("one group is left to learn from, so the probabilities are not calibrated")
        return 1.0
    logits = np.empty((len(truth), known), dtype=np.float64)
    told = np.ones(len(truth), dtype=bool)
    for learn, judge in _folds(truth, groups, folds, settings):
        coef, intercept = _regression(vectors[learn], truth[learn], known, settings)
        logits[judge] = vectors[judge] @ coef.T + intercept
        # Of a label that this fold could not learn nothing can be expected.
        told[judge] = np.isin(truth[judge], truth[learn])
    return fit_temperature(logits[told], truth[told])


def _regression(
    vectors: np.ndarray, truth: np.ndarray, known: int, settings: ProbeSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Weights (k, e) and bias (k,) on unit vectors, standardised for the fit and turned back."""
    center, scale = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
    scale[scale < 1e-12] = 1.0
    model = LogisticRegression(C=settings.strength, max_iter=1000)
    with warnings.catch_warnings():
        # Not converged to the last digit is good enough for a label.
        warnings.filterwarnings("ignore", category=ConvergenceWarning)
        model.fit((vectors - center) / scale, truth)
    rows, bias = model.coef_ / scale, model.intercept_
    bias = bias - rows @ center
    if len(model.classes_) == 2:
        rows, bias = np.concatenate([-rows, rows]) / 2, np.concatenate([-bias, bias]) / 2
    coef, intercept = np.zeros((known, vectors.shape[1])), np.full(known, _NEVER)
    coef[model.classes_], intercept[model.classes_] = rows, bias
    return coef.astype(np.float32), intercept.astype(np.float32)


def _scores(raw: np.ndarray, truth: np.ndarray, temperature: float) -> dict[str, float]:
    found = raw.argmax(axis=1)
    return {
        "macro_f1": float(f1_score(truth, found, average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(truth, found)),
        "ece_before": expected_calibration_error(softmax(raw), truth),
        "ece": expected_calibration_error(softmax(raw / temperature), truth),
    }


def _first(folds: Iterator[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    return next(folds)


def _of(groups: np.ndarray | None, numbers: np.ndarray) -> Any:
    return None if groups is None else groups[numbers]
