"""Names to metrics and directions: what is known, what is refused, and how a user adds one."""

import types

import pytest
import torch
from torchmetrics import Metric

from tahoe_distill.metrics import METRICS, READS, LossTerm, build_metrics, direction, is_better, register_metric

BUILT_IN = {
    "centered_cosine": "max",
    "cosine": "max",
    "knn_overlap": "max",
    "masked_expression_mse": "min",
    "masked_spearman": "max",
    "normalized_mse": "min",
}


class Mine(Metric):
    """A user's own metric."""

    name = "mine"
    higher_is_better = False
    reads = "shared_space"

    def update(self, student, teacher):
        """Nothing to keep."""

    def compute(self):
        """Always the same."""
        return torch.tensor(1.0)


@pytest.fixture
def clean_registry(monkeypatch):
    monkeypatch.setattr(METRICS, "registered", dict(METRICS.registered))


def test_names_and_directions_are_pinned():
    assert {name: direction(f"eval/{name}") for name in METRICS.names()} == BUILT_IN


@pytest.mark.parametrize("name", ["loss", "eval/loss", "eval/cosine_loss", "pbmc/eval/hidden:fine_loss"])
def test_less_of_a_loss_is_better(name):
    assert direction(name) == "min"


@pytest.mark.parametrize("name", ["eval/my_mse", "lossless_agreement", "error"])
def test_an_unknown_name_is_never_guessed_by_its_words(name):
    with pytest.raises(ValueError, match=r"best: unknown metric .* Known: .*normalized_mse.* with mode: max or min"):
        direction(name, where="best")
    assert (direction(name, "max"), direction(name, "min")) == ("max", "min")


def test_what_is_said_goes_before_what_is_known():
    assert direction("eval/loss", "max") == "max"
    with pytest.raises(ValueError, match="best: mode must be max or min; found 'lowest'"):
        direction("eval/loss", "lowest", where="best")


def test_equal_and_nan_are_not_better():
    assert is_better(2.0, 1.0, "max") and is_better(1.0, 2.0, "min")
    nan = float("nan")
    assert not any(is_better(new, old, mode) for mode in ("max", "min") for new, old in ((1, 1), (nan, 1), (1, nan)))


def test_a_run_reports_what_it_can_feed():
    assert sorted(build_metrics(["cosine"], {"terms"})) == ["cosine_loss", "loss"]
    assert set(build_metrics([], {"terms", "embeddings"})) == {"loss", "knn_overlap"}
    assert set(build_metrics([], READS)) == {"loss", *BUILT_IN}


def test_a_loss_term_is_a_mean_over_cells():
    metric = LossTerm("mse")
    metric.update({"mse": torch.tensor(1.0), "total": torch.tensor(9.0)}, 3)
    metric.update({"mse": torch.tensor(5.0)}, 1)
    assert metric.compute() == 2.0


def test_ones_own_by_decorator(clean_registry):
    assert register_metric(Mine) is Mine
    assert direction("eval/mine") == "min"
    assert isinstance(build_metrics([], READS)["mine"], Mine)
    with pytest.raises(ValueError, match="the metric name 'mine' of .* is taken by .*:Mine"):
        register_metric(type("Other", (Mine,), {}))


def test_ones_own_by_entry_point(monkeypatch):
    groups = {"tahoe_distill_metrics": [types.SimpleNamespace(name="mine", load=lambda: Mine)]}
    monkeypatch.setattr("tahoe_distill.naming.entry_points", lambda group: groups.get(group, []))
    assert direction("eval/mine") == "min"
    assert isinstance(build_metrics([], READS)["mine"], Mine)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "Wrong has no name"),
        ({"name": "my_loss"}, "cannot be called 'my_loss'"),
        ({"name": "loss"}, "cannot be called 'loss'"),
        ({"name": "eval/mine"}, "without a slash"),
        ({"higher_is_better": None}, "does not say which values are better, found higher_is_better = None"),
        ({"reads": "logits"}, "reads 'logits': .* one of terms, embeddings, shared_space, expression"),
    ],
)
def test_a_class_that_does_not_declare_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        register_metric(type("Wrong", (Mine,), changes))


def test_something_else_is_no_metric():
    with pytest.raises(ValueError, match="expected a subclass of torchmetrics.Metric"):
        register_metric(dict)


def test_a_metric_that_needs_arguments_is_named(clean_registry):
    register_metric(type("Needy", (Mine,), {"name": "needy", "__init__": lambda self, k: None}))
    with pytest.raises(ValueError, match="needy could not be built without arguments: .*'k'"):
        build_metrics([], READS)
