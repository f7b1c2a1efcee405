"""Label transfer and the report against values worked out by hand."""

import copy

import numpy as np
import pytest
import torch

from tahoe_distill.embedding import embed
from tahoe_distill.evaluation import evaluate, label_transfer, split_scores
from tahoe_distill.teacher import load_teacher


def test_cosines_of_the_report_are_those_of_plain_numpy(small_teacher, small_cells):
    teacher = load_teacher(small_teacher)
    teacher, student = ((model, teacher.processor) for model in (teacher.model, copy.deepcopy(teacher.model)))
    for parameter in student[0].parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    reference, query = small_cells[:40].copy(), small_cells[40:].copy()
    report = evaluate(student, teacher, query, reference=reference, label_key="kind")

    def vectors(model, cells):
        return embed(cells, model, copy=True).obsm["X_tx1"]

    def cosine(a, b):
        a, b = a.astype(np.float64), b.astype(np.float64)
        return ((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean()

    pair = vectors(student, query), vectors(teacher, query)
    center = vectors(teacher, reference).mean(axis=0).astype(np.float64)
    assert report.cosine == pytest.approx(cosine(*pair), abs=1e-12)
    assert report.centered_cosine == pytest.approx(cosine(*(x - center for x in pair)), abs=1e-12)
    assert report.centered_cosine < report.cosine - 0.01


def test_label_transfer_by_hand():
    reference = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    labels = ["a", "a", "a", "b", "b", "b"]
    score = label_transfer(
        reference=reference,
        reference_labels=labels,
        query=np.array([[0.05], [5.05], [4.9]]),
        query_labels=["a", "b", "a"],
        neighbors=3,
    )
    assert score.accuracy == pytest.approx(2 / 3)
    # a: precision 1, recall 1/2; b: precision 1/2, recall 1.
    assert score.macro_f1 == pytest.approx(2 / 3)


def test_label_transfer_needs_enough_cells():
    with pytest.raises(ValueError, match="at least 10 reference cells"):
        label_transfer(
            reference=np.zeros((3, 1)), reference_labels=["a"] * 3, query=np.zeros((1, 1)), query_labels=["a"]
        )


def test_split_scores_are_repeatable():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100)
    vectors = rng.normal(size=(100, 3)) + 5 * labels[:, None]
    assert split_scores(vectors, labels) == split_scores(vectors, labels)
    assert np.mean([score.accuracy for score in split_scores(vectors, labels)]) > 0.95
