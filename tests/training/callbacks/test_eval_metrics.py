"""Which evaluation is the best so far."""

from types import SimpleNamespace

import pytest
from composer.core import Timestamp

from tahoe_distill.training.callbacks import eval_metrics
from tahoe_distill.training.callbacks.eval_metrics import BestSoFar


@pytest.mark.parametrize(
    ("metric", "mode", "values", "improved"),
    [
        ("eval/cosine", None, [0.1, float("nan"), 0.1, 0.2], [True, False, False, True]),
        ("eval/normalized_mse", None, [2.0, 3.0, 1.0, 1.0], [True, False, True, False]),
        ("eval/masked_expression_mse", None, [2.0, 3.0, 1.0, 1.0], [True, False, True, False]),
        ("eval/mse_loss", None, [float("nan"), 2.0, 3.0, 1.0], [False, True, False, True]),
        ("eval/loss", "max", [1.0, 2.0, 1.5, 2.0], [True, True, False, False]),
    ],
)
def test_what_is_better(monkeypatch, metric, mode, values, improved):
    best, found = BestSoFar(metric, mode), []
    for batch, value in enumerate(values):
        monkeypatch.setattr(eval_metrics, "read_metrics", lambda state, value=value: {metric: value})
        found.append(best.improved(SimpleNamespace(timestamp=Timestamp(batch=batch))))
    assert found == improved


def test_the_record_of_another_metric_is_forgotten():
    best = BestSoFar("eval/cosine")
    best.restore({"metric": "eval/loss", "mode": "min", "value": 0.1, "batch": 3})
    assert best.value is None
    best.restore({})
    best.restore({"metric": "eval/cosine", "mode": "max", "value": 0.1, "batch": 3})
    assert best.record() == {"metric": "eval/cosine", "mode": "max", "value": 0.1, "batch": 3}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "a"}, "did you mean 'metric'"),
        ({"mode": "max"}, "metric is missing"),
        ({"metric": "eval/my_mse"}, "callbacks.hf_student.best: unknown metric 'my_mse'"),
        ({"metric": "eval/loss", "mode": "lowest"}, "must be max or min; found 'lowest'"),
    ],
)
def test_bad_options_of_best_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BestSoFar.from_options(options)
