"""Evaluation metrics by the names that a YAML uses, such as ``eval/centered_cosine``, and the best of them so far."""

import logging
from collections.abc import Mapping
from typing import Any

from composer.core import State

from tahoe_distill.evaluation import metric_direction
from tahoe_distill.metrics import is_better
from tahoe_distill.naming import check_keys, unknown

log = logging.getLogger(__name__)

_WHERE = "callbacks.hf_student.best"


def read_metrics(state: State) -> dict[str, float]:
    """Name to value of each metric that an evaluation of this run has filled."""
    return {
        f"{label}/{name}": float(metric.compute())
        for label, metrics in state.eval_metrics.items()
        for name, metric in metrics.items()
        if metric.update_called
    }


def require_metric(state: State, name: str, where: str) -> None:
    """Refuse the name of a metric that the run's evaluations do not report.

    Args:
        state: Composer's state, once it has its evaluators.
        name: Such as ``eval/centered_cosine``.
        where: The setting that names it, for the message.

    Raises:
        ValueError: With the names that there are.
    """
    known = [f"{label}/{metric}" for label, metrics in state.eval_metrics.items() for metric in metrics]
    if not known:
        raise ValueError(f"{where} is {name!r}, but the run evaluates nothing; add an eval_loader, or remove it")
    if name not in known:
        raise ValueError(f"{where}: {unknown('evaluation metric', name, known)}")


class BestSoFar:
    """Best value of one evaluation metric, and the batch it was reached at: when a student is worth keeping.

    Args:
        metric: Name of the metric, such as ``eval/centered_cosine``.
        mode: ``max`` where higher is better, ``min`` where lower is; by default what the metric itself says.

    Raises:
        ValueError: For an unknown mode, and without one for an unknown metric.
    """

    def __init__(self, metric: str, mode: str | None = None):
        self.metric = metric
        self.mode = metric_direction(metric, mode, where=_WHERE)
        self.value: float | None = None
        self.batch: int | None = None

    @classmethod
    def from_options(cls, options: str | Mapping[str, Any]) -> "BestSoFar":
        """From the YAML: the name of a metric, or ``{metric: …, mode: …}``.

        Raises:
            ValueError: For an unknown key or a missing metric.
        """
        settings = {"metric": options} if isinstance(options, str) else dict(options)
        check_keys(settings, ("metric", "mode"), _WHERE)
        if not isinstance(settings.get("metric"), str):
            raise ValueError(f"{_WHERE}.metric is missing; expected the name of one, such as eval/centered_cosine")
        return cls(**settings)

    def check(self, state: State) -> None:
        """Refuse a metric that the run does not report; see :func:`require_metric`."""
        require_metric(state, self.metric, f"{_WHERE}.metric")

    def improved(self, state: State) -> bool:
        """Whether the evaluation that just ended is the best so far, which is remembered."""
        value = read_metrics(state).get(self.metric)
        if value is None or not is_better(value, self._worst() if self.value is None else self.value, self.mode):
            return False
        self.value, self.batch = value, state.timestamp.batch.value
        log.info("best %s so far: %.6g at batch %d", self.metric, self.value, self.batch)
        return True

    def _worst(self) -> float:
        return float("-inf" if self.mode == "max" else "inf")

    def record(self) -> dict[str, Any]:
        """What is recorded with the student: metric, mode, value and batch."""
        return {"metric": self.metric, "mode": self.mode, "value": self.value, "batch": self.batch}

    def restore(self, record: Mapping[str, Any]) -> None:
        """Carry on from a record, unless it is of another metric or mode."""
        if (record.get("metric"), record.get("mode")) == (self.metric, self.mode):
            self.value, self.batch = record["value"], record["batch"]
