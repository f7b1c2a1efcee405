"""Whether cells of different batches mix: LISI, entropy of the neighbours' batches, silhouette of batches.

Shapes: n cells, b batches, k neighbours.
"""

import importlib.util
import logging

import numpy as np
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors

from tahoe_distill.evaluation.base import Evaluator, NotEvaluable, Scores, register_evaluator
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.subjects import Subject

log = logging.getLogger(__name__)

NEIGHBORS = 90


@register_evaluator
class Integration(Evaluator):
    """How well batches mix among the 90 nearest cells (Euclidean), beside how well labels stay apart.

    ``ilisi`` is the mean inverse Simpson index of batches (1 … b), ``clisi`` that of labels (1 is best),
    ``batch_entropy`` the mean entropy of the neighbours' batches as a share of that of all cells (0 … 1), and
    ``batch_silhouette`` one minus the absolute silhouette of batches. Neighbours weigh the same, where Korsunsky et al.
    2019 (https://doi.org/10.1038/s41592-019-0619-0) weigh them by distance. Where scib-metrics is installed, its own
    ``scib_ilisi`` and ``scib_clisi``, both scaled to 0 … 1 and best at 1, stand beside them.
    """

    name = "integration"
    needs = frozenset({"batches"})
    primary = "batch_entropy"
    lower_is_better = frozenset({"clisi"})

    def evaluate(self, subject: Subject, bench: Bench) -> Scores:
        """See the class."""
        known = bench.batches != ""
        batches, vectors = bench.batches[known], subject.query[known]
        count = len(np.unique(batches))
        if count < 2 or len(batches) <= 2 * count:
            raise NotEvaluable(
                f"{len(batches)} cells of {count} batches: two batches or more, of several cells, needed"
            )
        nearest = _nearest(vectors)
        shares = _shares(batches, nearest)
        values = {
            "ilisi": float((1 / np.square(shares).sum(axis=1)).mean()),
            "batch_entropy": float(_entropy(shares).mean() / _entropy(_shares(batches, None))[0]),
            "batch_silhouette": float(1 - abs(silhouette_score(vectors, batches))),
        }
        if "labels" in bench.available:
            values["clisi"] = float((1 / np.square(_shares(bench.labels[known], nearest)).sum(axis=1)).mean())
        return Scores(values | _scib(vectors, batches, bench.labels[known] if bench.columns.label else None))


def _nearest(vectors: np.ndarray) -> np.ndarray:
    """(n, k) numbers of the nearest other cells."""
    count = min(NEIGHBORS, len(vectors) - 1)
    return NearestNeighbors(n_neighbors=count).fit(vectors).kneighbors(return_distance=False)


def _shares(names: np.ndarray, nearest: np.ndarray | None) -> np.ndarray:
    """(n, b) share of each name among the neighbours, or (1, b) among all cells."""
    kinds, codes = np.unique(names, return_inverse=True)
    around = codes[None] if nearest is None else codes[nearest]
    return np.stack([(around == kind).mean(axis=1) for kind in range(len(kinds))], axis=1)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -(shares * np.log(shares, out=np.zeros_like(shares), where=shares > 0)).sum(axis=1)


def _scib(vectors: np.ndarray, batches: np.ndarray, labels: np.ndarray | None) -> dict[str, float]:
    """scib-metrics' own numbers, where it is installed (new versions of it need Python 3.12)."""
    if importlib.util.find_spec("scib_metrics") is None:
        return {}
    import scib_metrics
    from scib_metrics.nearest_neighbors import pynndescent

    neighbors = pynndescent(vectors, n_neighbors=min(NEIGHBORS, len(vectors) - 1), random_state=0)
    found = {"scib_ilisi": float(scib_metrics.ilisi_knn(neighbors, batches))}
    if labels is not None:
        found["scib_clisi"] = float(scib_metrics.clisi_knn(neighbors, labels))
    return found
