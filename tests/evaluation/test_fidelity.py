"""Each number of fidelity against another way to compute it."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors

from tahoe_distill.evaluation import NotEvaluable
from tahoe_distill.evaluation.fidelity import Fidelity, linear_cka, neighbor_divergence
from tests.evaluation.conftest import make_cells, vectors_of


def neighbors(index, queries, k, *, leave_self):
    fitted = NearestNeighbors(n_neighbors=k + leave_self, metric="cosine").fit(index)
    return [set(row[leave_self:]) for row in fitted.kneighbors(queries, return_distance=False)]


def test_neighbors_kept_are_those_of_scikit_learn(make_bench):
    cells = make_cells()
    mine, theirs = vectors_of(cells, seed=1, noise=1.0), vectors_of(cells, seed=2, noise=1.0)
    bench = make_bench(teacher=theirs, student=mine)
    scores = Fidelity().evaluate(bench.subjects["student"], bench)
    for k in (10, 50):
        kept = [len(a & b) / k for a, b in zip(*(neighbors(x, x, k, leave_self=1) for x in (mine, theirs)))]
        assert scores.values[f"knn_overlap_{k}"] == pytest.approx(np.mean(kept))
    low, high = scores.intervals["knn_overlap_10"]
    assert low < scores.values["knn_overlap_10"] < high


def test_the_teachers_index_is_that_of_the_reference(make_bench):
    cells, reference = make_cells(), make_cells(60, seed=5)
    mine, theirs = vectors_of(cells, seed=1, noise=1.0), vectors_of(cells, seed=2, noise=1.0)
    bench = make_bench(teacher=theirs, student=mine, reference=reference)
    found = Fidelity().evaluate(bench.subjects["student"], bench).values["knn_overlap_10_in_teacher_index"]
    index = bench.teacher.reference
    kept = [len(a & b) / 10 for a, b in zip(*(neighbors(index, x, 10, leave_self=0) for x in (mine, theirs)))]
    assert found == pytest.approx(np.mean(kept))


def test_cosines_are_those_of_plain_numpy(make_bench):
    cells = make_cells()
    mine, theirs = (vectors_of(cells, seed=seed) for seed in (1, 2))
    bench = make_bench(teacher=theirs, student=mine)
    values = Fidelity().evaluate(bench.subjects["student"], bench).values

    def cosines(a, b):
        a, b = a.astype(np.float64), b.astype(np.float64)
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    center = theirs.astype(np.float64).mean(axis=0)
    centered = cosines(mine - center, theirs - center)
    assert values["cosine"] == pytest.approx(cosines(mine, theirs).mean(), abs=1e-12)
    assert values["centered_cosine"] == pytest.approx(centered.mean(), abs=1e-12)
    assert values["centered_cosine_p5"] == pytest.approx(np.percentile(centered, 5))
    assert values["normalized_mse"] == pytest.approx(2 - 2 * cosines(mine, theirs).mean())
    distances = [pdist(x.astype(np.float64), "cosine") for x in (mine, theirs)]
    assert values["distance_spearman"] == pytest.approx(spearmanr(*distances).statistic)


def test_cka_and_divergence_by_their_definitions():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 7))
    grams = [(v - v.mean(0)) @ (v - v.mean(0)).T for v in (x, y)]
    expected = (grams[0] * grams[1]).sum() / np.sqrt((grams[0] ** 2).sum() * (grams[1] ** 2).sum())
    mine, theirs = torch.as_tensor(x), torch.as_tensor(y)
    assert linear_cka(mine, theirs) == pytest.approx(expected)
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert linear_cka(mine, torch.as_tensor(3 * x @ rotation)) == pytest.approx(1.0)
    total = 0.0
    units = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, y)]
    for cell in range(20):
        p, q = ((lambda s: np.exp(s) / np.exp(s).sum())(np.delete(u @ u[cell], cell) / 0.1) for u in reversed(units))
        total += (p * np.log(p / q)).sum()
    assert neighbor_divergence(mine, theirs) == pytest.approx(total / 20)


def test_other_spaces_have_no_cosine_and_two_cells_no_neighborhood(make_bench):
    cells = make_cells()
    bench = make_bench(student=vectors_of(cells, width=3), shared_space=False)
    values = Fidelity().evaluate(bench.subjects["student"], bench).values
    assert "cosine" not in values and 0 < values["knn_overlap_10"] < 1
    bench = make_bench(query=make_cells(2))
    with pytest.raises(NotEvaluable, match="2 cells"):
        Fidelity().evaluate(bench.subjects["student"], bench)
