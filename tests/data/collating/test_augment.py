"""Down-sampled and mixed cells: integer counts, the right amount, and the input untouched."""

import numpy as np
import pytest

from tahoe_distill.data.collating.augment import Augment, mixed, thinned


def cell(seed, genes=200, rate=20):
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(1000, genes, replace=False)), rng.poisson(rate, genes).astype(np.float32) + 1


def generators(count, seed=0):
    return [np.random.default_rng([seed, number]) for number in range(count)]


def test_thinning_keeps_the_fraction():
    genes, counts = cell(0)
    kept = [thinned((genes, counts), 0.3, rng)[1].sum() for rng in generators(50)]
    assert np.mean(kept) == pytest.approx(0.3 * counts.sum(), rel=0.02)


def test_thinned_counts_are_whole_positive_and_no_larger():
    genes, counts = cell(0)
    left, kept = thinned((genes, counts), 0.2, np.random.default_rng(1))
    assert (kept > 0).all() and (kept == np.rint(kept)).all()
    assert (kept <= counts[np.isin(genes, left)]).all()


def test_mixing_is_a_convex_combination_over_the_union():
    one, two = cell(1), cell(2)
    genes, counts = mixed(one, two, 0.25, rng=np.random.default_rng(0))
    assert set(genes) <= set(one[0]) | set(two[0]) and len(set(genes)) == len(genes)
    assert counts.sum() == pytest.approx(0.25 * one[1].sum() + 0.75 * two[1].sum(), rel=0.05)


def test_only_what_is_asked_for():
    cells = [cell(seed) for seed in range(4)]
    for (genes, counts), (same_genes, same_counts) in zip(cells, Augment().apply(cells, generators(4))):
        assert np.array_equal(genes, same_genes) and np.array_equal(counts, same_counts)


def test_input_is_untouched_and_result_reproducible():
    cells = [cell(seed) for seed in range(6)]
    before = [(genes.copy(), counts.copy()) for genes, counts in cells]
    augment = Augment(downsample=0.5, low=0.1, high=0.5, mix=0.5)
    first, second = (augment.apply(cells, generators(6)) for _ in range(2))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, second))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(cells, before))
    assert any(not np.array_equal(a[1], b[1]) for a, b in zip(cells, first))


def test_a_cell_that_would_be_empty_stays():
    lonely = (np.array([3]), np.array([1.0], dtype=np.float32))
    augment = Augment(downsample=1.0, low=1e-9, high=1e-9)
    assert augment.apply([lonely], generators(1))[0] is lonely


def test_fractions_are_refused():
    with pytest.raises(ValueError, match="raw integer counts; found 0.5"):
        Augment(mix=1.0).apply([(np.array([1]), np.array([0.5]))], generators(1))


def test_options():
    augment = Augment.from_options({"downsample": {"probability": 0.5, "low": 0.1}, "mix": {"probability": 0.2}})
    assert augment == Augment(downsample=0.5, low=0.1, high=1.0, mix=0.2)
    with pytest.raises(ValueError, match="did you mean 'downsample'"):
        Augment.from_options({"downsampel": {}})
    with pytest.raises(ValueError, match="low <= high"):
        Augment(downsample=1, low=0.5, high=0.2)
    with pytest.raises(ValueError, match="probability must lie in"):
        Augment(mix=2)
