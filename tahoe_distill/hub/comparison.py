"""Which of two metric values is better, and the table of old against new."""

import math
import re

# Parts of a metric's name that say that less is better; of all others more is.
_LOWER_IS_BETTER = {"loss", "mse", "nmse", "rmse", "mae", "error", "distance", "perplexity", "divergence"}


class NotBetterError(ValueError):
    """A new version is not better than the published one."""


def lower_is_better(metric):
    """Whether less of ``metric`` is better, judged by the words of its name."""
    return not _LOWER_IS_BETTER.isdisjoint(re.split(r"[^a-z0-9]+", metric.lower()))


def find_metric(metrics, name, whose):
    """The full name of a metric, given in full (``eval/cosine``) or by its last part where that is unique (``cosine``).

    Args:
        metrics: Metric name to value.
        name: What the user wrote.
        whose: Where the metrics come from, for the message.

    Raises:
        ValueError: When no metric, or more than one, has that name, or its value is not a number.
    """
    matches = [name] if name in metrics else [full for full in metrics if full.rpartition("/")[2] == name]
    if len(matches) != 1:
        problem = "several metrics" if matches else "no metric"
        known = ", ".join(sorted(matches or metrics)) or "none at all"
        raise ValueError(f"{whose} has {problem} named {name!r}; expected one of: {known}")
    if not is_number(metrics[matches[0]]):
        raise ValueError(f"{whose}: expected a finite number for {matches[0]}, found {metrics[matches[0]]!r}")
    return matches[0]


def require_better(new, old, name):
    """Refuse a version that is not better than the published one.

    Args:
        new: Metrics of the new version.
        old: Metrics of the published one.
        name: The metric that decides.

    Raises:
        NotBetterError: With both numbers, when the new one is equal or worse.
        ValueError: When either lacks the metric.
    """
    full = find_metric(new, name, "the folder's metrics.json")
    find_metric(old, full, "the published metrics.json")
    lower = lower_is_better(full)
    better = new[full] < old[full] if lower else new[full] > old[full]
    if not better:
        raise NotBetterError(
            f"not better than what is published: {full} is {new[full]:.6g} here and {old[full]:.6g} there, and "
            f"{'lower' if lower else 'higher'} is better; push without the condition to replace it all the same"
        )


def comparison_table(new, old):
    """Markdown table of the metrics of two versions; the last column says how the new one did."""
    rows = ["| metric | published before | this version | |", "|---|---|---|---|"]
    for name in sorted({*new, *old}):
        before, after = old.get(name), new.get(name)
        rows.append(f"| {name} | {format_value(before)} | {format_value(after)} | {_verdict(name, before, after)} |")
    return "\n".join(rows)


def format_value(value):
    """A metric's value as the card prints it."""
    if value is None:
        return "not measured"
    return f"{value:.4f}" if is_number(value) else str(value)


def is_number(value):
    """Whether a value is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _verdict(name, before, after):
    if not (is_number(before) and is_number(after)):
        return ""
    if before == after:
        return "equal"
    return "better" if (after < before) == lower_is_better(name) else "worse"
