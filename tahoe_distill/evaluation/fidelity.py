"""How much of the teacher's geometry is kept: cosines, neighbours, distances.

Shapes: n cells, e width of the teacher's vectors, s width of the subject's.
"""

import numpy as np
import torch
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from torch import Tensor
from torch.nn import functional as F

from tahoe_distill.evaluation.base import Evaluator, NotEvaluable, Scores, register_evaluator
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.intervals import bootstrap, mean_of
from tahoe_distill.evaluation.subjects import Subject
from tahoe_distill.metrics import shared_neighbors

NEIGHBORS = (10, 50)
# Temperature of the neighbour distributions: cosines that differ by 0.1 weigh e times as much.
TAU = 0.1
# All pairs of so many cells are compared at most: 2 million distances.
_PAIRED_CELLS = 2000
_PERCENTILES = (1, 5, 50)


@register_evaluator
class Fidelity(Evaluator):
    """Closeness of a subject's vectors to the teacher's for the same cells.

    Any two spaces: share of the teacher's 10 and 50 nearest neighbours kept, linear CKA, Spearman's correlation of the
    pairwise cosine distances, divergence of the neighbour distributions. In the teacher's own space also plain cosine,
    cosine around the teacher's mean, squared distance of unit vectors, and neighbours looked up by the subject's vector
    in an index of the teacher's (of the reference cells where there are any).
    """

    name = "fidelity"
    needs = frozenset({"teacher"})
    primary = "knn_overlap_10"
    lower_is_better = frozenset({"normalized_mse", f"neighbor_kl_tau{TAU}"})

    def evaluate(self, subject: Subject, bench: Bench) -> Scores:
        """See the class."""
        if len(bench.teacher.query) < 3:
            raise NotEvaluable(f"{len(bench.teacher.query)} cells have no neighbourhoods; at least 3 are needed")
        mine, theirs = (_tensor(x.query) for x in (subject, bench.teacher))
        cells = {f"knn_overlap_{k}": _overlap(mine, theirs, k) for k in NEIGHBORS}
        values = {
            "cka": linear_cka(mine, theirs),
            "distance_spearman": distance_spearman(mine, theirs, seed=bench.seed),
            f"neighbor_kl_tau{TAU}": neighbor_divergence(mine, theirs),
        }
        if subject.shared_space:
            cells |= _in_one_space(mine, theirs, bench)
            # Fractions of single cells stay away from the mean: a student that fails on a few fails on a cell type.
            values |= {
                f"{name}_p{point}": float(np.percentile(cells[name], point))
                for name in ("cosine", "centered_cosine")
                for point in _PERCENTILES
            }
        values |= {name: float(value.mean()) for name, value in cells.items()}
        intervals = {name: bootstrap(mean_of(value), len(value), seed=bench.seed) for name, value in cells.items()}
        return Scores(values, intervals, {name: cells[name] for name in cells if name in _KEPT})


# Numbers of each cell that figures and comparisons read.
_KEPT = ("knn_overlap_10", "centered_cosine")


def _tensor(vectors: np.ndarray) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(vectors), dtype=torch.float64)


def _overlap(mine: Tensor, theirs: Tensor, k: int, index: Tensor | None = None) -> np.ndarray:
    most = len(theirs) - 1 if index is None else len(index)
    return (shared_neighbors(mine, theirs, k, index=index) / min(k, most)).numpy()


def _in_one_space(mine: Tensor, theirs: Tensor, bench: Bench) -> dict[str, np.ndarray]:
    """(n,) numbers of each cell where both models embed into one space."""
    known = bench.teacher.reference
    center = theirs.mean(dim=0) if known is None else _tensor(known).mean(dim=0)
    plain = F.cosine_similarity(mine, theirs)
    unit = F.normalize(mine) - F.normalize(theirs)
    found = {
        "cosine": plain.numpy(),
        "centered_cosine": F.cosine_similarity(mine - center, theirs - center).numpy(),
        "normalized_mse": unit.square().sum(dim=1).numpy(),
    }
    if known is not None:
        found["knn_overlap_10_in_teacher_index"] = _overlap(mine, theirs, NEIGHBORS[0], _tensor(known))
    return found


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Linear centred kernel alignment of (n, s) and (n, e): 0 … 1; NaN where one of them is constant.

    Kornblith et al. 2019, https://arxiv.org/abs/1905.00414, equation 3 with linear kernels, in its feature form.
    """
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    return float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm()))


def distance_spearman(x: Tensor, y: Tensor, *, seed: int) -> float:
    """Spearman's correlation of the pairwise cosine distances of (n, s) and (n, e), of 2,000 cells at most."""
    if len(x) > _PAIRED_CELLS:
        kept = np.sort(np.random.default_rng(seed).choice(len(x), _PAIRED_CELLS, replace=False))
        x, y = x[kept], y[kept]
    distances = [pdist(vectors.numpy(), "cosine") for vectors in (x, y)]
    if any(np.ptp(d) == 0 or not np.isfinite(d).all() for d in distances):
        return float("nan")
    return float(spearmanr(*distances).statistic)


def neighbor_divergence(mine: Tensor, theirs: Tensor, tau: float = TAU) -> float:
    """Mean over cells of ``KL(teacher || subject)`` of the softmax over other cells of cosine / ``tau``; in nats."""
    total, units = 0.0, [F.normalize(x) for x in (mine, theirs)]
    for start in range(0, len(theirs), 1024):
        logs = []
        for unit in units:
            similarity = unit[start : start + 1024] @ unit.T / tau
            similarity.diagonal(offset=start).fill_(-torch.inf)
            logs.append(F.log_softmax(similarity, dim=1))
        m, t = logs
        total += float((t.exp() * (t - m).nan_to_num(0.0)).sum())
    return total / len(theirs)
