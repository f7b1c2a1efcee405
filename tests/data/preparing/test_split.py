"""Splits: exact at random, whole by groups, the same for the same seed."""

import numpy as np
import pytest

from tahoe_distill.data.preparing.split import group_split, random_split


def test_random_split_is_exact_and_seeded():
    first = random_split(1000, 0.1, 3)
    assert first.sum() == 100 and np.array_equal(first, random_split(1000, 0.1, 3))
    assert not np.array_equal(first, random_split(1000, 0.1, 4))


@pytest.mark.parametrize(("cells", "fraction", "expected"), [(1, 0.5, 0), (2, 0.01, 1), (3, 0.99, 2), (10, 0, 0)])
def test_small_sets_keep_a_training_cell(cells, fraction, expected):
    assert random_split(cells, fraction, 0).sum() == expected


def test_groups_stay_whole():
    groups = np.repeat([f"donor{number}" for number in range(20)], np.arange(10, 30))
    chosen = group_split(groups, 0.2, 5)
    assert not set(groups[chosen]) & set(groups[~chosen])
    assert chosen.mean() == pytest.approx(0.2, abs=0.06)
    assert np.array_equal(chosen, group_split(groups, 0.2, 5))


def test_two_groups_give_one_to_each():
    assert group_split(["a"] * 9 + ["b"], 0.1, 0).sum() in (1, 9)


def test_refusals():
    with pytest.raises(ValueError, match="at least two groups, found one: 'a'"):
        group_split(["a", "a"], 0.5, 0)
    for split in (lambda: random_split(5, 1.0, 0), lambda: group_split(["a", "b"], -1, 0)):
        with pytest.raises(ValueError, match="val_fraction"):
            split()
