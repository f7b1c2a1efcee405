"""Which metric value is better, and the refusals."""

import pytest

from tahoe_distill.hub.comparison import NotBetterError, find_metric, lower_is_better, require_better


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("eval/loss", True),
        ("eval/cosine_loss", True),
        ("eval/normalized_mse", True),
        ("eval/cosine", False),
        ("eval/centered_cosine", False),
        ("lossless_agreement", False),
    ],
)
def test_direction_by_name(metric, lower):
    assert lower_is_better(metric) is lower


def test_better_passes_in_both_directions():
    require_better({"eval/loss": 0.1}, {"eval/loss": 0.2}, "loss")
    require_better({"eval/cosine": 0.2}, {"eval/cosine": 0.1}, "eval/cosine")


@pytest.mark.parametrize("new", [0.5, 0.4])
def test_equal_and_worse_are_refused_with_both_numbers(new):
    with pytest.raises(NotBetterError, match=f"eval/cosine is {new} here and 0.5 there"):
        require_better({"eval/cosine": new}, {"eval/cosine": 0.5}, "cosine")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"a/cosine": 1.0, "b/cosine": 1.0}, "several metrics named 'cosine'; expected one of: a/cosine, b/cosine"),
        ({}, "no metric named 'cosine'; expected one of: none at all"),
        ({"cosine": float("nan")}, "expected a finite number for cosine, found nan"),
    ],
)
def test_a_metric_that_cannot_decide(metrics, message):
    with pytest.raises(ValueError, match=message):
        find_metric(metrics, "cosine", "it")
