"""Cell types carried over from labelled cells to their nearest neighbours."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier


@dataclass(frozen=True)
class Score:
    """Accuracy and macro-F1, both 0 to 1, higher is better."""

    accuracy: float
    macro_f1: float


def label_transfer(
    *,
    reference: np.ndarray,
    reference_labels: ArrayLike,
    query: np.ndarray,
    query_labels: ArrayLike,
    neighbors: int = 10,
) -> Score:
    """Label query cells by the majority of their nearest reference cells (Euclidean), and score that.

    Args:
        reference: (n, e) vectors of labelled cells.
        reference_labels: (n,) their labels.
        query: (m, e) vectors to label.
        query_labels: (m,) the truth.
        neighbors: How many neighbours vote.

    Raises:
        ValueError: With fewer reference cells than neighbours, or no query cells.
    """
    if len(reference) < neighbors or not len(query):
        raise ValueError(
            f"label transfer needs at least {neighbors} reference cells and 1 query cell; found {len(reference)} and "
            f"{len(query)}"
        )
    classifier = KNeighborsClassifier(neighbors).fit(reference, np.asarray(reference_labels, dtype=str))
    truth, found = np.asarray(query_labels, dtype=str), classifier.predict(query)
    return Score(
        accuracy=float(accuracy_score(truth, found)),
        macro_f1=float(f1_score(truth, found, average="macro", zero_division=0)),
    )


def split_scores(
    vectors: np.ndarray,
    labels: ArrayLike,
    *,
    splits: int = 5,
    train_fraction: float = 0.8,
    neighbors: int = 10,
    seed: int = 0,
) -> list[Score]:
    """Label transfer over random splits of one set of cells.

    Args:
        vectors: (n, e) embeddings.
        labels: (n,) labels.
        splits: How many random splits; split ``i`` uses seed ``seed + i``.
        train_fraction: Share of the cells that are reference.
        neighbors: See :func:`label_transfer`.
        seed: First seed.

    Returns:
        A :class:`Score` per split.
    """
    labels, scores = np.asarray(labels, dtype=str), []
    for split in range(splits):
        order = np.random.default_rng(seed + split).permutation(len(vectors))
        reference, query = np.split(order, [round(train_fraction * len(order))])
        score = label_transfer(
            reference=vectors[reference],
            reference_labels=labels[reference],
            query=vectors[query],
            query_labels=labels[query],
            neighbors=neighbors,
        )
        scores.append(score)
    return scores
