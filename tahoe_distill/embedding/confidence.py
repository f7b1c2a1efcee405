"""How far to trust a student's vector of one cell: expected closeness to the teacher's, with conformal coverage.

Closeness is the cosine of the student's and the teacher's vector around the mean of the teacher's. It is predicted from
the student's vector and the number of genes it was made of, by ridge regression on cells that were held out of training
and on the same cells with genes hidden; the lower bound is split-conformal.

Shapes: n cells, e width of the embedding, f = e + 1 features.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tahoe_distill.embedding.loading import split_revision
from tahoe_distill.models.processing_tx1 import CONFIDENCE_FILE

# Columns of obs: the expected closeness, and the bound that it lies above as often as `coverage` says.
COLUMNS = EXPECTED_COLUMN, LOWER_COLUMN = "tx1_fidelity", "tx1_fidelity_low"
COVERAGE = 0.9
# Fewer held-out cells say too little about others.
MIN_CELLS = 50
_VERSION = 1
_PENALTIES = np.logspace(-3, 3, 13)
_FOLDS = 5
# Cells judged at a time.
_STEP = 8192


@dataclass(frozen=True)
class Confidence:
    """What predicts closeness.

    Args:
        center: (f,) means of the features.
        scale: (f,) their standard deviations.
        weights: (f,) of the standardised features.
        intercept: Of the regression.
        margin: What to subtract from the expected closeness for the lower bound.
        coverage: Share of cells like the held-out ones that lie above their bound.
        cells: Held-out cells it was fitted on.
        hidden: Shares of genes that were hidden, ascending from 0.
        closeness: Mean closeness of the held-out cells with each share hidden.
    """

    center: np.ndarray = field(repr=False)
    scale: np.ndarray = field(repr=False)
    weights: np.ndarray = field(repr=False)
    intercept: float
    margin: float
    coverage: float
    cells: int
    hidden: tuple[float, ...]
    closeness: tuple[float, ...]

    def predict(self, vectors: np.ndarray, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Expected closeness of cells, and its lower bound.

        Args:
            vectors: (n, e) vectors of the student, of any length each.
            genes: (n,) number of genes that each was made of.

        Returns:
            (n,) float32 each, -1 … 1.

        Raises:
            ValueError: When the vectors have another width than those it was fitted on.
        """
        features = _features(vectors, genes)
        if features.shape[1] != len(self.weights):
            raise ValueError(
                f"{CONFIDENCE_FILE} was fitted on vectors of {len(self.weights) - 1} values, found "
                f"{features.shape[1] - 1}; it belongs to another model"
            )
        expected = (features - self.center) / self.scale @ self.weights + self.intercept
        expected, low = (np.clip(x, -1.0, 1.0).astype(np.float32) for x in (expected, expected - self.margin))
        return expected, low

    def cost_of_hiding(self, share: float) -> float:
        """Closeness that cells lose on average when so large a share of their genes is not known to the model."""
        return self.closeness[0] - float(np.interp(share, self.hidden, self.closeness))

    def to_text(self) -> str:
        """As ``confidence.json`` holds it."""
        content = {name: x.tolist() if isinstance(x, np.ndarray) else x for name, x in asdict(self).items()}
        return json.dumps({"version": _VERSION, **content}, allow_nan=False) + "\n"

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Confidence":
        """Read ``confidence.json``.

        Raises:
            ValueError: When it is damaged or of another version.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content.pop("version") != _VERSION:
                raise ValueError(f"expected version {_VERSION}")
            found = cls(**{name: _value(name, value) for name, value in content.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is damaged or of another version ({error}); export the student again") from error
        widths = {len(found.center), len(found.scale), len(found.weights)}
        numbers = [*found.center, *found.scale, *found.weights, found.intercept, found.margin, *found.closeness]
        if len(widths) != 1 or len(found.hidden) != len(found.closeness) or not np.isfinite(numbers).all():
            raise ValueError(f"{path} is damaged: its parts do not fit each other; export the student again")
        return found


def _value(name: str, value: Any) -> Any:
    if name in ("center", "scale", "weights"):
        return np.asarray(value, dtype=np.float64)
    return tuple(map(float, value)) if name in ("hidden", "closeness") else value


def load_confidence(model: str | os.PathLike[str] | None) -> Confidence:
    """The confidence of an exported student.

    Args:
        model: Its folder or hub id; ``None`` for objects of the caller.

    Raises:
        ValueError: When it has none, with what to do.
    """
    from transformers.utils import cached_file

    if model is None:
        raise ValueError(
            f"confidence is read from {CONFIDENCE_FILE} beside the model: give the model's folder or hub id"
        )
    name, revision = split_revision(str(model))
    path = cached_file(
        name,
        CONFIDENCE_FILE,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if path is None:
        raise ValueError(
            f"{model} has no {CONFIDENCE_FILE}, which an export writes after an evaluation on {MIN_CELLS} held-out "
            "cells or more; embed without confidence, or export a student from a run with an eval_loader"
        )
    return Confidence.from_file(path)


def confidence_columns(found: Confidence, vectors: np.ndarray, genes: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of ``obs``, by name.

    Args:
        found: The student's.
        vectors: (n, e) vectors, which may live on the disk.
        genes: (n,) number of genes that each was made of.
    """
    parts = [found.predict(vectors[start : start + _STEP], genes[start : start + _STEP]) for start in _starts(vectors)]
    expected, low = (np.concatenate(column) for column in zip(*parts, strict=True))
    return {EXPECTED_COLUMN: expected, LOWER_COLUMN: low}


def _starts(vectors: np.ndarray) -> range:
    return range(0, max(len(vectors), 1), _STEP)


def fit_confidence(
    vectors: Sequence[np.ndarray], genes: Sequence[np.ndarray], teacher: np.ndarray, *, hidden: Sequence[float]
) -> Confidence:
    """Fit on held-out cells, each seen whole and with genes hidden.

    Args:
        vectors: (n, e) vectors of the student, one array for each share of hidden genes, the first for none.
        genes: (n,) number of genes they were made of, likewise.
        teacher: (n, e) vectors of the teacher for the whole cells.
        hidden: The shares.

    Raises:
        ValueError: With fewer than 50 cells, or when the spaces differ.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold

    count = len(teacher)
    if count < MIN_CELLS:
        raise ValueError(f"confidence needs at least {MIN_CELLS} held-out cells, found {count}")
    if vectors[0].shape != teacher.shape:
        raise ValueError(f"student and teacher embed into {vectors[0].shape[1]} and {teacher.shape[1]} values")
    close = [_closeness(view, teacher) for view in vectors]
    features = np.concatenate([_features(view, known) for view, known in zip(vectors, genes, strict=True)])
    center, scale = features.mean(axis=0), features.std(axis=0)
    scale[scale == 0] = 1.0
    standard, target = (features - center) / scale, np.concatenate(close)
    # The views of a cell stay together, or a fold would know its answers.
    cell = np.tile(np.arange(count), len(vectors))
    unseen = np.empty_like(target)
    for learn, judge in GroupKFold(_FOLDS).split(standard, groups=cell):
        unseen[judge] = RidgeCV(_PENALTIES).fit(standard[learn], target[learn]).predict(standard[judge])
    fitted = RidgeCV(_PENALTIES).fit(standard, target)
    over = np.sort(unseen[:count] - close[0])
    # The finite-sample rank of split-conformal prediction (Lei et al. 2018, https://arxiv.org/abs/1604.04173).
    rank = min(math.ceil((count + 1) * COVERAGE), count)
    return Confidence(
        center,
        scale,
        np.asarray(fitted.coef_, dtype=np.float64),
        float(fitted.intercept_),
        margin=float(max(over[rank - 1], 0.0)),
        coverage=COVERAGE,
        cells=count,
        hidden=tuple(float(share) for share in hidden),
        closeness=tuple(float(x.mean()) for x in close),
    )


def _features(vectors: np.ndarray, genes: np.ndarray) -> np.ndarray:
    """(n, f): the unit vector, and the logarithm of the number of genes."""
    vectors = np.asarray(vectors, dtype=np.float64)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.column_stack([unit, np.log1p(np.asarray(genes, dtype=np.float64))])


def _closeness(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """(n,) cosine around the teacher's mean."""
    center = teacher.astype(np.float64).mean(axis=0)
    a, b = (x.astype(np.float64) - center for x in (student, teacher))
    return (a * b).sum(axis=1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-30)
