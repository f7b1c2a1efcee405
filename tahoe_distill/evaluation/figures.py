"""Figures of an evaluation, from its record and its table of cells: bars, labels, confusion."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tahoe_distill.evaluation.baselines import RIDGE
from tahoe_distill.evaluation.intervals import bootstrap, mean_of
from tahoe_distill.evaluation.maps import map_figure
from tahoe_distill.evaluation.page import Figure, to_spec
from tahoe_distill.evaluation.pareto import COLORS, speed_figure
from tahoe_distill.evaluation.subjects import BASELINE, STUDENT, TEACHER
from tahoe_distill.metrics.tables import ROWS, names_of, show

if TYPE_CHECKING:
    import altair

# Students beside each other in one panel.
_STUDENTS = ("#3d85d8", "#d1495b", "#2a9d8f", "#e09f3e", "#7b6cc4", "#5c946e", "#b5651d", "#c06fa8")
_MAIN = (
    "fidelity/knn_overlap_10",
    "annotation/knn_macro_f1",
    "fidelity/centered_cosine",
    "annotation/swap_knn_macro_f1",
    "clustering/teacher_ari",
    "perturbation/shift_cosine",
)
_BY_LABEL = {"knn_overlap_10": "10 nearest neighbours kept", "centered_cosine": "cosine, centred"}
# More labels than these do not fit on a screen; the rarest are left to the table of cells.
_MOST_LABELS = 40


def figures(record: Mapping[str, Any], cells: pd.DataFrame) -> list[Figure]:
    """Every figure that the numbers allow, in the order of a report.

    Args:
        record: What :func:`~tahoe_distill.evaluation.record.to_record` gives.
        cells: What :func:`~tahoe_distill.evaluation.record.cell_table` gives.
    """
    students = names_of(record, STUDENT)
    found = [
        _main_numbers(record),
        map_figure(cells, students),
        _by_label(cells, students),
        _confusion(record, students),
        speed_figure(record),
    ]
    return [figure for figure in found if figure is not None]


def _main_numbers(record: Mapping[str, Any]) -> Figure | None:
    tables = ((metric, _bars_of(record, metric)) for metric in _MAIN)
    panels = [_bars(metric, rows) for metric, rows in tables if any(row["role"] == STUDENT for row in rows)]
    if not panels:
        return None
    caption = (
        "Teacher violet, students blue, baselines grey, controls orange. Lines are 95 % intervals over cells. A "
        "student is worth its training only where it beats every grey bar; orange ones must be far below."
    )
    return Figure("numbers", "Main numbers beside their baselines", caption, tuple(map(to_spec, panels)))


def _bars_of(record: Mapping[str, Any], metric: str) -> list[dict[str, Any]]:
    kind, rows = ROWS[metric][1], []
    for name, subject in record["subjects"].items():
        if (value := subject["values"].get(metric)) is not None:
            low, high = subject["intervals"].get(metric, (value, value))
            shown = {"value": value, "low": low, "high": high, "text": show(value, kind), "end": max(high, value, 0.0)}
            rows.append({"name": name, "role": subject["role"], **shown})
    return rows


def _bars(metric: str, rows: list[dict[str, Any]]) -> "altair.LayerChart":
    import altair as alt

    words, kind = ROWS[metric]
    most, least = max(row["end"] for row in rows), min(0.0, *(row["low"] for row in rows))
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(ticks=False, domain=False))
    x = alt.X(
        "value:Q",
        title=None,
        axis=alt.Axis(format="%" if kind == "share" else ".2~f", tickCount=5),
        # Room for the number behind the longest bar.
        scale=alt.Scale(domain=[least, (most - least) * 1.3 + least or 1.0], nice=False),
    )
    tips = [alt.Tooltip("name:N", title="what"), alt.Tooltip("text:N", title=words.strip())]
    tips += [alt.Tooltip(f"{end}:Q", format=".3f", title=f"{end} end, 95 %") for end in ("low", "high")]
    base = alt.Chart(pd.DataFrame(rows), title=_title(metric))
    color = alt.Color("role:N", scale=alt.Scale(domain=[*COLORS], range=[*COLORS.values()]), legend=None)
    bars = base.mark_bar(height=alt.RelativeBandSize(0.65), opacity=0.85).encode(x, y, color=color, tooltip=tips)
    lines = base.mark_rule(strokeWidth=1.5).encode(alt.X("low:Q"), y, x2="high:Q")
    texts = base.mark_text(align="left", dx=5).encode(alt.X("end:Q"), y, text="text:N")
    return alt.layer(bars, lines, texts).properties(height=24 * len(rows))


def _title(metric: str) -> str:
    """Words for a number that stand without those above it in the table."""
    return {
        "annotation/swap_knn_macro_f1": "labels learned from the teacher, macro-F1",
        "clustering/teacher_ari": "clusters against the teacher's, ARI",
    }.get(metric, ROWS[metric][0].strip())


def _by_label(cells: pd.DataFrame, students: list[str]) -> Figure | None:
    """Means by label, the worst on top; by the teacher's clusters where there are no labels."""
    group = next((column for column in ("label", f"{TEACHER}/cluster") if column in cells), None)
    tables = {key: _means(cells, key, students, group) for key in _BY_LABEL} if group else {}
    panels = [_points(key, rows, students) for key, rows in tables.items() if len(rows)]
    if not panels:
        return None
    what = "label" if group == "label" else "cluster of the teacher"
    caption = (
        f"Mean over the cells of each {what}, worst on top, with 95 % intervals over cells; in brackets the number of "
        "cells. Grey squares are ridge regression from the counts."
    )
    return Figure("labels", "Where is the student bad?", caption, tuple(map(to_spec, panels)))


def _means(cells: pd.DataFrame, key: str, students: list[str], group: str) -> pd.DataFrame:
    """A row for each label and each of the students and ridge that have this number of each cell."""
    counts = cells[group].replace("", np.nan).value_counts().head(_MOST_LABELS)
    rows = []
    for name in [name for name in (*students, RIDGE) if f"{name}/{key}" in cells]:
        for label, count in counts.items():
            values = cells.loc[cells[group] == label, f"{name}/{key}"].to_numpy(dtype=float)
            low, high = bootstrap(mean_of(values), len(values), seed=0)
            ends = {"value": values.mean(), "low": low, "high": high}
            rows.append({"label": f"{label} ({count})", "name": name, **ends})
    return pd.DataFrame(rows)


def _points(key: str, rows: pd.DataFrame, students: list[str]) -> "altair.LayerChart":
    import altair as alt

    first = rows[rows["name"] == students[0]]
    order = (first if len(first) else rows).sort_values("value")["label"].tolist()
    names = [name for name in (*students, RIDGE) if name in set(rows["name"])]
    marks = {
        name: (COLORS[BASELINE], "square") if name == RIDGE else (_STUDENTS[place % len(_STUDENTS)], "circle")
        for place, name in enumerate(names)
    }
    least, most = min(0.0, rows["low"].min()), max(1.0, rows["high"].max())
    y = alt.Y("label:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, grid=True))
    axis = alt.Axis(format="%" if key.startswith("knn") else ".2~f", tickCount=5)
    x = alt.X("value:Q", title=None, axis=axis, scale=alt.Scale(domain=[least, most], nice=False))
    legend = alt.Legend(orient="bottom", title=None) if len(names) > 1 else None
    color, shape = (
        kind(
            "name:N", sort=None, legend=legend, scale=alt.Scale(domain=names, range=[marks[name][at] for name in names])
        )
        for at, kind in enumerate((alt.Color, alt.Shape))
    )
    tips = [alt.Tooltip("name:N", title="what"), alt.Tooltip("label:N", title="label")]
    tips += [alt.Tooltip(f"{end}:Q", format=".3f") for end in ("value", "low", "high")]
    base = alt.Chart(rows, title=_BY_LABEL[key])
    offset = alt.YOffset("name:N", sort=names) if len(names) > 2 else alt.YOffset()
    encoded = {"y": y, "color": color} | ({"yOffset": offset} if len(names) > 2 else {})
    lines = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(alt.X("low:Q"), x2="high:Q", **encoded)
    points = base.mark_point(filled=True, size=60, opacity=1).encode(x, shape=shape, tooltip=tips, **encoded)
    height = len(order) * (24 if len(names) <= 2 else 10 * len(names))
    return alt.layer(lines, points).properties(height=height)


def _confusion(record: Mapping[str, Any], students: list[str]) -> Figure | None:
    tables = {name: record["subjects"][name]["tables"].get("annotation/confusion") for name in (TEACHER, *students)}
    panels = [_matrix(name, table) for name, table in tables.items() if table]
    if not panels:
        return None
    caption = (
        "Rows are the true labels, columns what the vote of the ten nearest cells says; a row's colours are shares of "
        "its cells, its numbers are cells. What the student mixes up and the teacher does not, is the student's fault."
    )
    return Figure("confusion", "What is taken for what", caption, tuple(map(to_spec, panels)))


def _matrix(name: str, table: Mapping[str, Any]) -> "altair.LayerChart":
    import altair as alt

    labels, counts = table["labels"], np.array(table["counts"])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        {"truth": labels[i], "found": labels[j], "cells": int(counts[i, j]), "share": round(float(shares[i, j]), 4)}
        for i, j in np.ndindex(counts.shape)
    ]
    base = alt.Chart(pd.DataFrame(rows), title=name).encode(
        alt.X("found:N", title="found", sort=labels, axis=alt.Axis(labelAngle=-45, labelLimit=120, ticks=False)),
        alt.Y("truth:N", title="true", sort=labels, axis=alt.Axis(labelLimit=150, ticks=False)),
        tooltip=["truth:N", "found:N", "cells:Q", alt.Tooltip("share:Q", format=".1%")],
    )
    # Shades of one colour over the page's own, so that they fit light and dark.
    fill = alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 1]), legend=None)
    boxes = base.mark_rect(color=COLORS[STUDENT]).encode(opacity=fill)
    layers = (
        base.transform_filter("datum.cells > 0 && datum.share > 0.55").mark_text(fontSize=10, color="white"),
        base.transform_filter("datum.cells > 0 && datum.share <= 0.55").mark_text(fontSize=10),
    )
    written = [layer.encode(text="cells:Q") for layer in layers] if len(labels) <= 25 else []
    return alt.layer(boxes, *written).properties(height=len(labels) * (26 if len(labels) <= 25 else 12))
