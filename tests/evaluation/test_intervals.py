"""Bootstrap intervals against scipy's and against scikit-learn's F1."""

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from sklearn.metrics import f1_score

from tahoe_distill.evaluation.intervals import bootstrap, draws, macro_f1_of, mean_of


def test_the_interval_of_a_mean_is_scipys():
    values = np.random.default_rng(0).gamma(2.0, size=200)
    theirs = scipy_bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    ours = bootstrap(mean_of(values), 200, seed=0, resamples=5000)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours[0] < values.mean() < ours[1]


def test_macro_f1_of_a_draw_is_scikit_learns():
    rng = np.random.default_rng(0)
    truth, found = rng.choice(list("abcd"), 60), rng.choice(list("abc"), 60)
    weights = rng.multinomial(60, np.full(60, 1 / 60), size=20)
    statistic = macro_f1_of(truth, found)(weights)
    for row, value in zip(weights, statistic):
        drawn = np.repeat(np.arange(60), row)
        assert value == pytest.approx(f1_score(truth[drawn], found[drawn], average="macro", zero_division=0))


def test_one_seed_draws_the_same_cells_for_two_subjects():
    values = np.random.default_rng(0).normal(size=50)
    first, second = (draws(mean_of(x), 50, seed=3) for x in (values, values + 1))
    np.testing.assert_allclose(second - first, 1.0)
