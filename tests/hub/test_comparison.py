"""Which metric value is better, and the refusals."""

import pytest

from tahoe_distill.hub.comparison import NotBetterError, find_metric, require_better, verdict


def test_better_passes_in_both_directions():
    require_better({"eval/loss": 0.1}, {"eval/loss": 0.2}, "loss")
    require_better({"eval/masked_expression_mse": 0.1}, {"eval/masked_expression_mse": 0.2}, "masked_expression_mse")
    require_better({"eval/cosine": 0.2}, {"eval/cosine": 0.1}, "eval/cosine")


def test_an_unknown_metric_decides_only_where_its_direction_is_said():
    new, old = {"eval/error_free_share": 0.9}, {"eval/error_free_share": 0.8}
    with pytest.raises(ValueError, match="only_if_better: unknown metric 'error_free_share'.* with mode: max or min"):
        require_better(new, old, "error_free_share")
    require_better(new, old, "error_free_share", mode="max")
    with pytest.raises(NotBetterError, match="0.9 here and 0.8 there, and lower is better"):
        require_better(new, old, "error_free_share", mode="min")


def test_a_verdict_is_given_where_the_direction_is_known():
    assert [verdict("eval/loss", *pair) for pair in ((1, 2), (2, 1), (1, 1), (1, None))] == [
        *("better", "worse", "equal", "")
    ]
    assert verdict("eval/error_free_share", 1, 2) == ""


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
