"""Fidelity and label transfer against values worked out by hand."""

import numpy as np
import pytest

from tahoe_distill.evaluation import centered_cosine, label_transfer, mean_cosine, split_scores


def test_mean_cosine_by_hand():
    student = np.array([[1.0, 0.0], [0.0, 2.0]])
    teacher = np.array([[3.0, 0.0], [1.0, 1.0]])
    assert mean_cosine(student, teacher) == pytest.approx((1 + 0.5**0.5) / 2)


def test_centered_cosine_gives_no_credit_for_the_mean():
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=(50, 4)) + 100
    constant = np.tile(teacher.mean(axis=0), (50, 1))
    assert mean_cosine(constant, teacher) > 0.99
    assert centered_cosine(constant, teacher) == 0.0
    assert centered_cosine(teacher, teacher) == pytest.approx(1.0)


def test_cosines_refuse_different_spaces():
    with pytest.raises(ValueError, match="same space"):
        mean_cosine(np.zeros((3, 2)), np.zeros((3, 4)))


def test_label_transfer_by_hand():
    reference = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    labels = ["a", "a", "a", "b", "b", "b"]
    score = label_transfer(reference, labels, np.array([[0.05], [5.05], [4.9]]), ["a", "b", "a"], neighbors=3)
    assert score.accuracy == pytest.approx(2 / 3)
    # a: precision 1, recall 1/2; b: precision 1/2, recall 1.
    assert score.macro_f1 == pytest.approx(2 / 3)


def test_label_transfer_needs_enough_cells():
    with pytest.raises(ValueError, match="at least 10 reference cells"):
        label_transfer(np.zeros((3, 1)), ["a"] * 3, np.zeros((1, 1)), ["a"])


def test_split_scores_are_repeatable():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 100)
    vectors = rng.normal(size=(100, 3)) + 5 * labels[:, None]
    assert split_scores(vectors, labels) == split_scores(vectors, labels)
    assert np.mean([score.accuracy for score in split_scores(vectors, labels)]) > 0.95
