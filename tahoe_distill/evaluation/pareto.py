"""Quality against cost: speed and size of models, and which of them no other beats in both."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from tahoe_distill.evaluation.baselines import RANDOM
from tahoe_distill.evaluation.page import Figure, to_spec
from tahoe_distill.evaluation.subjects import BASELINE, CONTROL, STUDENT, TEACHER
from tahoe_distill.evaluation.tables import ROWS, names_of, show

if TYPE_CHECKING:
    import altair

COLORS = {TEACHER: "#8b6fd1", STUDENT: "#3d85d8", BASELINE: "#8d97a4", CONTROL: "#cf8232"}
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
    return [least / 1.5, most * 1.6] if most > 5 * least else [0, most * 1.3]
