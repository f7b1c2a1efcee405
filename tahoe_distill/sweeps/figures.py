"""Figures of a sweep, from `trials.csv` alone: the metric against what was swept, importance, quality against size."""

import logging
import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd

from tahoe_distill.evaluation.page import Figure, to_spec
from tahoe_distill.evaluation.pareto import COLORS, front
from tahoe_distill.evaluation.subjects import BASELINE, STUDENT
from tahoe_distill.lazy import how_to_install
from tahoe_distill.sweeps.results import SETTING, dimensions_of

if TYPE_CHECKING:
    import altair

log = logging.getLogger(__name__)

_MOST_NAMES = 25
# Fewer settings than these say nothing of what matters most.
_LEAST_FOR_IMPORTANCE = 4


def trial_figures(table: pd.DataFrame, name: str = "sweep") -> list[Figure]:
    """Every figure that the settings allow.

    Args:
        table: What :func:`~tahoe_distill.sweeps.results.read_trials` gives.
        name: What the names of the figures begin with.
    """
    done = table[(table["state"] == "complete") & table["value"].notna()].reset_index(drop=True)
    if done.empty:
        return []
    found = [against(done, name), _importance(done, name), _size(done, name)]
    return [figure for figure in found if figure is not None]


def against(done: pd.DataFrame, name: str) -> Figure:
    """The metric against each dimension, a panel each."""
    dimensions = dimensions_of(done)
    better = "More" if done["mode"].iloc[0] == "max" else "Less"
    caption = f"{better} is better. Each point is a setting, the best one blue."
    if done["low"].notna().any():
        caption += " Vertical lines are 95 % intervals over seeds."
    if len(dimensions) > 1:
        caption += " Settings differ in the other things swept too; the line joins the means."
    panels = tuple(to_spec(_panel(done, dimension)) for dimension in dimensions)
    metric = done["metric"].iloc[0]
    return Figure(f"{name}-against", f"{metric} against {_listed(dimensions)}", caption, panels)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _panel(done: pd.DataFrame, dimension: str) -> "altair.LayerChart":
    import altair as alt

    # Names of columns with a colon mean a type to Altair.
    rows = done.rename(columns={f"{SETTING}{dimension}": "x"})[["name", "x", "value", "low", "high"]]
    rows = rows.assign(
        best=done.index == 0, low=rows["low"].fillna(rows["value"]), high=rows["high"].fillna(rows["value"])
    )
    is_number = pd.api.types.is_numeric_dtype(rows["x"]) and not pd.api.types.is_bool_dtype(rows["x"])
    x: Any
    if is_number:
        scale = _scale(rows["x"], padding=20, ratio=8)
        # A tick for each value that was tried, where there are few.
        tried = sorted(rows["x"].unique().tolist())
        axis = alt.Axis(values=tried, format="~g") if len(tried) <= 12 else alt.Axis(format="~g", tickCount=6)
        x = alt.X("x:Q", title=dimension, scale=scale, axis=axis)
    else:
        rows = rows.assign(x=rows["x"].astype(str))
        x = alt.X("x:N", title=dimension, sort=None, axis=alt.Axis(labelAngle=-30, labelLimit=160))
    y = alt.Y("value:Q", title=str(done["metric"].iloc[0]), scale=alt.Scale(zero=False, padding=15))
    color = alt.when("datum.best").then(alt.value(COLORS[STUDENT])).otherwise(alt.value(COLORS[BASELINE]))
    tips = [alt.Tooltip("name:N"), *(alt.Tooltip(f"{key}:Q", format=".4f") for key in ("value", "low", "high"))]
    base = alt.Chart(rows)
    layers = [
        base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(x, alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=90, opacity=1).encode(x, y, color=color, tooltip=tips),
    ]
    if is_number:
        means = rows.groupby("x", as_index=False)["value"].mean()
        layers.insert(0, alt.Chart(means).mark_line(color=COLORS[STUDENT], opacity=0.35).encode(x, y))
    return alt.layer(*layers).properties(height=280)


def _scale(values: pd.Series, *, padding: int, ratio: float) -> Any:
    """A logarithmic scale of values whose ends are further apart than a ratio, a linear one of others."""
    import altair as alt

    least, most = float(values.min()), float(values.max())
    if least > 0 and most >= ratio * least:
        return alt.Scale(type="log", nice=False, padding=padding)
    return alt.Scale(zero=False, padding=padding)


def importance(done: pd.DataFrame) -> dict[str, float]:
    """How much of the metric's variance each dimension explains, by Optuna's fANOVA; nothing where it cannot tell.

    Args:
        done: The complete settings of a table of trials.
    """
    try:
        import optuna
    except ImportError:
        log.warning("the figure of importance needs Optuna: %s", how_to_install("sweep"))
        return {}
    names = [name for name in dimensions_of(done) if done[f"{SETTING}{name}"].nunique() > 1]
    if len(names) < 2 or len(done) < _LEAST_FOR_IMPORTANCE or done["value"].nunique() < 2:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize" if done["mode"].iloc[0] == "max" else "minimize")
    kinds = {name: _distribution(done[f"{SETTING}{name}"]) for name in names}
    for row in done.to_dict("records"):
        params = {name: _plain(row[f"{SETTING}{name}"]) for name in names}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=kinds, value=float(row["value"])))
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(value) for name, value in found.items()}


def _distribution(column: pd.Series) -> Any:
    import optuna

    values = [_plain(value) for value in column.unique()]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return optuna.distributions.FloatDistribution(float(min(values)), float(max(values)))
    return optuna.distributions.CategoricalDistribution(values)


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _importance(done: pd.DataFrame, name: str) -> Figure | None:
    import altair as alt

    found = importance(done)
    if not found:
        return None
    rows = pd.DataFrame([{"name": key, "share": value} for key, value in found.items()])
    axis = alt.Axis(format="%", tickCount=5)
    chart = alt.Chart(rows).mark_bar(color=COLORS[STUDENT], opacity=0.85).encode(
        alt.X("share:Q", title="share of the variance between settings", axis=axis, scale=alt.Scale(domain=[0, 1])),
        alt.Y("name:N", title=None, sort=None),
        tooltip=["name:N", alt.Tooltip("share:Q", format=".1%")],
    ).properties(height=36 * len(rows))  # fmt: skip
    caption = (
        f"By a forest of trees fitted to {len(done)} settings (fANOVA). What matters little here may matter in a range "
        "that was not tried."
    )
    return Figure(f"{name}-importance", "What mattered", caption, (to_spec(chart),))


def _size(done: pd.DataFrame, name: str) -> Figure | None:
    """Quality against parameters, where the settings differ in them."""
    import altair as alt

    known = done[done["parameters"].notna()]
    if known["parameters"].nunique() < 2:
        return None
    sign = 1.0 if known["mode"].iloc[0] == "max" else -1.0
    best = front([(-size, sign * value) for size, value in zip(known["parameters"], known["value"], strict=True)])
    rows = known[["name", "parameters", "value"]].assign(
        best=best, low=known["low"].fillna(known["value"]), high=known["high"].fillna(known["value"])
    )
    scale = _scale(rows["parameters"], padding=40, ratio=5)
    x = alt.X("parameters:Q", title="parameters", scale=scale, axis=alt.Axis(format="~s", tickCount=6))
    y = alt.Y("value:Q", title=str(known["metric"].iloc[0]), scale=alt.Scale(zero=False, padding=20))
    color = alt.when("datum.best").then(alt.value(COLORS[STUDENT])).otherwise(alt.value(COLORS[BASELINE]))
    tips = [alt.Tooltip("name:N"), alt.Tooltip("parameters:Q", format=",.0f"), alt.Tooltip("value:Q", format=".4f")]
    base = alt.Chart(rows)
    layers = [
        base.transform_filter("datum.best")
        .mark_line(color=COLORS[STUDENT], opacity=0.5)
        .encode(x, y, order="parameters:Q"),
        base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(x, alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=110, opacity=1).encode(x, y, color=color, tooltip=tips),
    ]
    if len(rows) <= _MOST_NAMES:
        layers.append(base.mark_text(align="left", dx=9, dy=-9).encode(x, y, text="name:N"))
    caption = (
        "Blue settings are beaten by no smaller one; the line joins them. Grey ones cost as much or more and are worse."
    )
    return Figure(
        f"{name}-pareto", "Quality against size", caption, (to_spec(alt.layer(*layers).properties(height=320)),)
    )
