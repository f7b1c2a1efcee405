"""Probes: as good as their cells allow, calibrated, and honest about which cells they were judged on."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tahoe_distill.annotation.calibration import expected_calibration_error, fit_temperature
from tahoe_distill.annotation.labelled import Labelled
from tahoe_distill.annotation.probing import ProbeSettings, fit_probe
from tahoe_distill.probes import softmax, unit


def made_up(count=300, noise=0.6, seed=0, **known):
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, count)
    vectors = np.eye(6)[kinds] + noise * rng.normal(size=(count, 6))
    return Labelled(vectors, np.array(["x", "y", "z"])[kinds], "a" * 64, where="these cells", **known)


def test_a_probe_is_the_regression_on_standardised_unit_vectors():
    cells = made_up()
    probe = fit_probe(cells)
    assert probe.labels == ("x", "y", "z") and probe.fingerprint == "a" * 64
    assert probe.record["cells"] == {"learned": 240, "held_out": 60}
    assert 0.7 < probe.record["held_out"]["macro_f1"] < 1
    vectors = unit(cells.vectors)
    # All cells but the fifth part: near to the regression on all of them.
    standard = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    expected = LogisticRegression().fit(standard, cells.labels).predict_proba(standard)
    assert np.abs(softmax(vectors @ probe.coef.T + probe.intercept) - expected).mean() < 0.05


def test_the_seed_decides():
    cells = made_up()
    first, same, other = (fit_probe(cells, ProbeSettings(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.coef, same.coef)
    assert not np.array_equal(first.coef, other.coef)


def test_two_labels_sum_to_one_as_the_regression_says():
    cells = made_up()
    kept = cells.labels != "z"
    two = Labelled(cells.vectors[kept], cells.labels[kept], "a" * 64)
    probe = fit_probe(two)
    assert probe.coef.shape == (2, 6)
    np.testing.assert_allclose(probe.coef[0], -probe.coef[1])
    assert (np.array(probe.labels)[probe.probabilities(two.vectors).argmax(axis=1)] == two.labels).mean() > 0.8


def test_labels_that_say_nothing_are_not_believed():
    rng = np.random.default_rng(3)
    cells = made_up(400)
    shuffled = Labelled(cells.vectors, rng.permutation(cells.labels), "a" * 64)
    held_out = fit_probe(shuffled, ProbeSettings(strength=1e4)).record["held_out"]
    assert held_out["macro_f1"] < 0.5 and held_out["ece"] < held_out["ece_before"] + 0.05


def test_groups_are_never_divided():
    cells = made_up(groups=np.array([f"donor{n % 6}" for n in range(300)]), group="donor")
    probe = fit_probe(cells, ProbeSettings(folds=3, min_cells=5))
    assert probe.record["cells"] == {"learned": 200, "held_out": 100} and probe.record["group"] == "donor"
    with pytest.raises(ValueError, match="found 6 groups, expected 7 or more"):
        fit_probe(cells, ProbeSettings(folds=7))


def test_a_label_of_one_group_that_is_kept_aside_is_told():
    cells = made_up()
    groups = np.where(cells.labels == "z", "z only", np.arange(300) % 4)
    odd = Labelled(cells.vectors, cells.labels, "a" * 64, where="these cells", groups=groups)
    messages = []
    for seed in range(5):
        try:
            fit_probe(odd, ProbeSettings(seed=seed, folds=2))
        except ValueError as error:
            messages.append(str(error))
    assert messages and all("all cells of z are in groups that are kept aside" in message for message in messages)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a"] * 60, "found the label a alone; expected two or more"),
        (["a"] * 40 + ["b"] * 15 + ["c"] * 5, r"fewer than 10 cells: c \(5\); leave"),
        (["a"] * 40 + ["b"] * 18 + [""] * 2, "2 of 60 cells have no label .NaN or empty."),
    ],
)
def test_labels_that_cannot_be_learned(labels, message):
    with pytest.raises(ValueError, match=message):
        fit_probe(Labelled(np.random.default_rng(0).normal(size=(60, 4)), np.array(labels), "a" * 64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 1}, "folds must be 2 or more"),
        ({"min_cells": 3}, "min_cells must be 5 or more"),
        ({"strength": 0.0}, "strength must be above 0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        ProbeSettings(**settings)


def test_the_temperature_undoes_a_known_one():
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(20000, 4))
    truth = (softmax(logits).cumsum(axis=1) < rng.random((20000, 1))).sum(axis=1)
    assert fit_temperature(3 * logits, truth) == pytest.approx(3.0, rel=0.05)
    assert expected_calibration_error(softmax(logits), truth) < 0.02
    assert expected_calibration_error(softmax(3 * logits), truth) > 0.1


def test_the_calibration_error_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.0, 1.0]])
    truth = np.array([0, 1, 1, 1])
    # Two cells at 0.9, one of them right; one at 0.65, right; one at 1, right.
    assert expected_calibration_error(probabilities, truth) == pytest.approx((2 * 0.4 + 0.35 + 0.0) / 4)
    assert expected_calibration_error(np.empty((0, 2)), np.empty(0, int)) == 0.0
