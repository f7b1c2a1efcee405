"""Evaluation metrics by the names that a YAML uses: ``<evaluator>/<metric>``, such as ``eval/centered_cosine``."""

import difflib


def read_metrics(state):
    """Name to value of each metric that an evaluation of this run has filled."""
    return {
        f"{label}/{name}": float(metric.compute())
        for label, metrics in state.eval_metrics.items()
        for name, metric in metrics.items()
        if metric.update_called
    }


def require_metric(state, name, where):
    """Refuse the name of a metric that the run's evaluations do not report.

    Args:
        state: Composer's state, once it has its evaluators.
        name: Such as ``eval/centered_cosine``.
        where: The setting that names it, for the message.

    Raises:
        ValueError: With the names that there are.
    """
    known = sorted(f"{label}/{metric}" for label, metrics in state.eval_metrics.items() for metric in metrics)
    if not known:
        raise ValueError(f"{where} is {name!r}, but the run evaluates nothing; add an eval_loader, or remove it")
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{where}: no evaluation metric is called {name!r}; {hint}known are {', '.join(known)}")
