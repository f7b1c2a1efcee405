"""Clusters: whether they are the labelled cell types, and whether they are the teacher's."""

import importlib.util
import warnings

import numpy as np
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score, silhouette_score

from tahoe_distill.evaluation.base import Evaluator, NotEvaluable, Scores, register_evaluator
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.subjects import TEACHER, Subject
from tahoe_distill.lazy import how_to_install

NEIGHBORS = 15
RESOLUTION = 1.0


@register_evaluator
class Clustering(Evaluator):
    """Leiden clusters of the 15-neighbour graph at resolution 1, against the labels and against the teacher's clusters.

    ``ari`` and ``nmi`` compare with labels, ``teacher_ari`` and ``teacher_nmi`` with the teacher's own clusters;
    ``silhouette`` is that of the labels, by cosine distance.
    """

    name = "clustering"
    primary = "teacher_ari"

    def evaluate(self, subject: Subject, bench: Bench) -> Scores:
        """See the class."""
        if bench.query.n_obs <= NEIGHBORS:
            raise NotEvaluable(f"{bench.query.n_obs} cells are too few for a graph of {NEIGHBORS} neighbours")
        mine, values = clusters(subject, bench), {}
        values["clusters"] = float(len(np.unique(mine)))
        if subject.role != TEACHER:
            theirs = clusters(bench.teacher, bench)
            values["teacher_ari"] = float(adjusted_rand_score(theirs, mine))
            values["teacher_nmi"] = float(normalized_mutual_info_score(theirs, mine))
        if "labels" in bench.available:
            values |= _against_labels(mine, subject.query, bench)
        return Scores(values, cells={"cluster": mine} if subject.model is not None else {})


def _against_labels(mine: np.ndarray, vectors: np.ndarray, bench: Bench) -> dict[str, float]:
    known = bench.labels != ""
    labels = bench.labels[known]
    if not 1 < len(np.unique(labels)) < len(labels):
        return {}
    return {
        "ari": float(adjusted_rand_score(labels, mine[known])),
        "nmi": float(normalized_mutual_info_score(labels, mine[known])),
        "silhouette": float(silhouette_score(vectors[known], labels, metric="cosine")),
    }


def clusters(subject: Subject, bench: Bench) -> np.ndarray:
    """(n,) names of a subject's Leiden clusters; computed once for each subject of a bench.

    Raises:
        NotEvaluable: Without igraph.
    """
    if importlib.util.find_spec("igraph") is None:
        raise NotEvaluable(f"Leiden clustering needs igraph: {how_to_install('evaluate')}")
    key = ("clusters", subject.name)
    if key not in bench.memory:
        bench.memory[key] = _leiden(subject.query, bench.seed)
    return bench.memory[key]


def _leiden(vectors: np.ndarray, seed: int) -> np.ndarray:
    import scanpy

    cells = AnnData(np.zeros((len(vectors), 1), dtype=np.float32), obsm={"X": vectors})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        scanpy.pp.neighbors(cells, n_neighbors=NEIGHBORS, use_rep="X", metric="cosine", random_state=seed)
        scanpy.tl.leiden(
            cells, resolution=RESOLUTION, flavor="igraph", n_iterations=2, directed=False, random_state=seed
        )
    return cells.obs["leiden"].to_numpy(dtype=str)
