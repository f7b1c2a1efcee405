"""The best evaluation of a run so far: when a student is worth keeping beside the last one."""

import logging
import math

from tahoe_distill.naming import check_keys
from tahoe_distill.training.callbacks.eval_metrics import read_metrics, require_metric

log = logging.getLogger(__name__)

_MODES = ("max", "min")
_WHERE = "callbacks.hf_student.best"


class BestSoFar:
    """Best value of one evaluation metric, and the batch it was reached at.

    Args:
        metric: Name of the metric, such as ``eval/centered_cosine``.
        mode: ``max`` where higher is better, ``min`` where lower is; by default ``min`` for losses only.

    Raises:
        ValueError: For an unknown mode.
    """

    def __init__(self, metric, mode=None):
        if mode is not None and mode not in _MODES:
            raise ValueError(f"{_WHERE}.mode must be max or min; found {mode!r}")
        self.metric = metric
        self.mode = mode or ("min" if metric.endswith("loss") else "max")
        self.value = None
        self.batch = None

    @classmethod
    def from_options(cls, options):
        """From the YAML: the name of a metric, or ``{metric: …, mode: …}``.

        Raises:
            ValueError: For an unknown key or a missing metric.
        """
        settings = {"metric": options} if isinstance(options, str) else dict(options)
        check_keys(settings, ("metric", "mode"), _WHERE)
        if not isinstance(settings.get("metric"), str):
            raise ValueError(f"{_WHERE}.metric is missing; expected the name of one, such as eval/centered_cosine")
        return cls(**settings)

    def check(self, state):
        """Refuse a metric that the run does not report; see :func:`require_metric`."""
        require_metric(state, self.metric, f"{_WHERE}.metric")

    def improved(self, state):
        """Whether the evaluation that just ended is the best so far, which is remembered."""
        value = read_metrics(state).get(self.metric)
        if value is None or not self._is_better(value):
            return False
        self.value, self.batch = value, state.timestamp.batch.value
        log.info("best %s so far: %.6g at batch %d", self.metric, self.value, self.batch)
        return True

    def _is_better(self, value):
        if math.isnan(value):
            return False
        return self.value is None or (value > self.value if self.mode == "max" else value < self.value)

    def record(self):
        """What is recorded with the student: metric, mode, value and batch."""
        return {"metric": self.metric, "mode": self.mode, "value": self.value, "batch": self.batch}

    def restore(self, record):
        """Carry on from a record, unless it is of another metric or mode."""
        if (record.get("metric"), record.get("mode")) == (self.metric, self.mode):
            self.value, self.batch = record["value"], record["batch"]
