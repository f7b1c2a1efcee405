"""Leiden clusters against labels and against the teacher's."""

import numpy as np
import pytest

from tahoe_distill.evaluation import NotEvaluable
from tahoe_distill.evaluation.clustering import Clustering
from tests.evaluation.conftest import make_cells, vectors_of

pytest.importorskip("igraph")


def test_clear_kinds_are_the_clusters(make_bench):
    cells = make_cells()
    noise = np.random.default_rng(0).normal(size=(90, 8)).astype(np.float32)
    bench = make_bench(teacher=vectors_of(cells, noise=0.05), student=noise)
    teacher, student = (Clustering().evaluate(bench.subjects[name], bench).values for name in ("teacher", "student"))
    assert teacher["silhouette"] > 0.8 and teacher["nmi"] > 0.8 and "teacher_ari" not in teacher
    assert student["ari"] < 0.1 and student["teacher_ari"] < 0.1 and student["silhouette"] < 0.1


def test_few_cells_say_why(make_bench):
    bench = make_bench(query=make_cells(12))
    with pytest.raises(NotEvaluable, match="12 cells are too few"):
        Clustering().evaluate(bench.subjects["student"], bench)
