"""Quality against cost: speed and size of models, and which of them no other beats in both."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from tahoe_distill.evaluation.baselines import RANDOM
from tahoe_distill.evaluation.compare import Comparison
from tahoe_distill.evaluation.page import Figure, to_spec
from tahoe_distill.evaluation.subjects import BASELINE, CONTROL, STUDENT, TEACHER
from tahoe_distill.metrics.tables import ROWS, names_of, show

if TYPE_CHECKING:
    import altair

COLORS = {TEACHER: "#8b6fd1", STUDENT: "#3d85d8", BASELINE: "#8d97a4", CONTROL: "#cf8232"}
# Number, its words, whether more of it is better.
_COSTS = (("cost/parameters", "parameters", False), ("cost/cells_per_second", "cells per second", True))
_SPEED, _OVERLAP = "cost/cells_per_second", "fidelity/knn_overlap_10"


def speed_figure(record: Mapping[str, Any]) -> Figure | None:
    """Speed against neighbours kept; ``None`` where either was not measured."""
    rows = []
    for name in names_of(record, TEACHER, STUDENT):
        subject = record["subjects"][name]
        values, role = subject["values"], subject["role"]
        kept = 1.0 if role == TEACHER else values.get(_OVERLAP)
        if kept is not None and _SPEED in values:
            low, high = subject["intervals"].get(_OVERLAP, (kept, kept))
            size = {"parameters": show(values["cost/parameters"], "count")}
            rows.append(
                {"name": name, "role": role, "speed": values[_SPEED], "kept": kept, "low": low, "high": high, **size}
            )
    if not any(row["role"] == STUDENT for row in rows):
        return None
    caption = (
        "Up and to the right is better. The teacher keeps its own neighbours by definition; the dashed line is what "
        "the best baseline keeps, below which no student is worth its training. Speed was measured on this machine, "
        "one model after the other."
    )
    return Figure("speed", "Speed against fidelity", caption, (to_spec(_scatter(rows, _lines(record))),))


def _lines(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The best baseline of those that are no random model."""
    kept = {
        name: record["subjects"][name]["values"][_OVERLAP]
        for name in names_of(record, BASELINE)
        if _OVERLAP in record["subjects"][name]["values"] and not name.startswith(RANDOM)
    }
    return [{"name": name, "kept": kept[name]} for name in sorted(kept, key=lambda name: -kept[name])[:1]]


def _scatter(rows: list[dict[str, Any]], lines: list[dict[str, Any]]) -> "altair.LayerChart":
    import altair as alt

    speeds = [row["speed"] for row in rows]
    scale = alt.Scale(type="log" if max(speeds) > 5 * min(speeds) else "linear", domain=_around(speeds), nice=False)
    x = alt.X("speed:Q", title="cells per second", scale=scale, axis=alt.Axis(format="~s", tickCount=5))
    y = alt.Y("kept:Q", title=ROWS[_OVERLAP][0], scale=alt.Scale(domain=[0, 1.05]), axis=alt.Axis(format="%"))
    color = alt.Color("role:N", scale=alt.Scale(domain=[*COLORS], range=[*COLORS.values()]), legend=None)
    tips = [alt.Tooltip("name:N"), alt.Tooltip("speed:Q", format=",.0f", title="cells per second")]
    tips += [alt.Tooltip("kept:Q", format=".1%", title="neighbours kept"), alt.Tooltip("parameters:N")]
    base = alt.Chart(pd.DataFrame(rows))
    points = base.mark_point(filled=True, size=140, opacity=1).encode(x, y, color=color, tooltip=tips)
    bars = base.mark_rule(strokeWidth=1.5).encode(x, alt.Y("low:Q"), y2="high:Q")
    names = base.mark_text(align="left", dx=10, dy=-10).encode(x, y, text="name:N")
    layers = [bars, points, names]
    if lines:
        given = alt.Chart(pd.DataFrame(lines))
        layers.insert(0, given.mark_rule(strokeDash=[5, 4], color=COLORS[BASELINE]).encode(y))
        layers.append(
            given.mark_text(align="left", dx=4, dy=-6, color=COLORS[BASELINE]).encode(y, x=alt.value(0), text="name:N")
        )
    return alt.layer(*layers).properties(height=320)


def _around(values: list[float]) -> list[float]:
    """A range with room for what is written beside its ends."""
    least, most = min(values), max(values)
    return [least / 1.5, most * 2.5] if most > 5 * least else [0, most * 1.35]


def pareto_figure(comparison: Comparison) -> Figure | None:
    """Size and speed against quality, with those on top that no other beats in both; ``None`` where none was measured.

    Args:
        comparison: The students.
    """
    panels = [_pareto(comparison, *axis) for axis in _COSTS]
    drawn = tuple(to_spec(panel) for panel in panels if panel is not None)
    if not drawn:
        return None
    caption = (
        "Blue students are beaten by no other in both; the line joins them. Grey ones cost more, or as much, and are "
        "worse. Vertical lines are 95 % intervals over cells."
    )
    return Figure("pareto", "Quality against size and speed", caption, drawn)


def _pareto(comparison: Comparison, cost: str, words: str, more: bool) -> "altair.LayerChart | None":
    known = [standing for standing in comparison.standings if cost in standing.costs]
    if not known:
        return None
    signs = (1.0 if more else -1.0, 1.0 if comparison.higher_is_better else -1.0)
    best = front([(signs[0] * standing.costs[cost], signs[1] * standing.value) for standing in known])
    rows = []
    for standing, is_best in zip(known, best, strict=True):
        low, high = standing.interval or (standing.value, standing.value)
        ends = {"cost": standing.costs[cost], "value": standing.value, "low": low, "high": high}
        rows.append({"name": standing.name, "best": is_best, **ends})
    return _front_chart(pd.DataFrame(rows), words, comparison.metric)


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each point, whether no other is as good in both coordinates and better in one; more is better."""
    return [
        not any(a >= x and b >= y and (a > x or b > y) for a, b in points)
        for x, y in points
    ]  # fmt: skip


def _front_chart(rows: pd.DataFrame, words: str, metric: str) -> "altair.LayerChart":
    import altair as alt

    title, kind = ROWS.get(metric, (metric, "number"))
    costs = rows["cost"].tolist()
    scale = alt.Scale(type="log" if max(costs) > 5 * min(costs) else "linear", domain=_around(costs), nice=False)
    x = alt.X("cost:Q", title=words, scale=scale, axis=alt.Axis(format="~s", tickCount=5))
    axis = alt.Axis(format="%" if kind == "share" else ".2~f")
    y = alt.Y("value:Q", title=title.strip(), scale=alt.Scale(zero=False, padding=20), axis=axis)
    color = alt.when("datum.best").then(alt.value(COLORS[STUDENT])).otherwise(alt.value(COLORS[BASELINE]))
    tips = [alt.Tooltip("name:N"), alt.Tooltip("cost:Q", format=",.0f", title=words)]
    tips += [alt.Tooltip(f"{end}:Q", format=".4f") for end in ("value", "low", "high")]
    base = alt.Chart(rows, title=words)
    joined = base.transform_filter("datum.best").mark_line(color=COLORS[STUDENT], opacity=0.5)
    layers = (
        joined.encode(x, y, order="cost:Q"),
        base.mark_rule(strokeWidth=1.5).encode(x, alt.Y("low:Q"), y2="high:Q"),
        base.mark_point(filled=True, size=120, opacity=1).encode(x, y, color=color, tooltip=tips),
        base.mark_text(align="left", dx=9, dy=-9).encode(x, y, text="name:N"),
    )
    return alt.layer(*layers).properties(height=300)
