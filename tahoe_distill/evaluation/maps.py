"""UMAP of teacher and students for the same cells, side by side."""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.linalg import orthogonal_procrustes

from tahoe_distill.evaluation.bench import sample
from tahoe_distill.evaluation.page import Figure, to_spec
from tahoe_distill.evaluation.run import Evaluation
from tahoe_distill.evaluation.subjects import TEACHER

MOST_POINTS = 10_000
NEIGHBORS = 15
_COORDINATES = ("umap_1", "umap_2")
# As many as there are colours to tell apart; the rarest share the last one.
_COLORS = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#eeca3b", "#b279a2", "#ff9da6", "#9d755d", "#bab0ac",
    "#9ecae9", "#ffbf79", "#88d27a", "#d67195", "#439894", "#b79a20", "#d6a5c9", "#83bcb6", "#d8b5a5", "#79706e",
)  # fmt: skip
_SHARES = ("#e4572e", "#f19a3e", "#e9c46a", "#8ab17d", "#2a9d8f")
_FIFTHS = [f"{20 * fifth}–{20 * fifth + 20} %" for fifth in range(5)]
_OTHER, _NONE = "other", "none"


def add_maps(found: Evaluation) -> None:
    """Give each cell its place in the UMAP of the teacher and of each student: ``umap_1`` and ``umap_2`` of ``cells``.

    Of 10,000 cells at most, each label in its share; the other cells have NaN. A student's map is turned and mirrored
    onto the teacher's, as neither way up means anything.

    Args:
        found: The evaluation, which they are added to.
    """
    bench = found.bench
    shown = sample(bench.query.obs, bench.columns, MOST_POINTS, seed=bench.seed)
    if len(shown) <= NEIGHBORS:
        found.notes.append(f"no maps: {len(shown)} cells are too few for a graph of {NEIGHBORS} neighbours")
        return
    onto = None
    for subject in (bench.teacher, *found.students):
        places = umap(subject.query[shown], seed=bench.seed)
        places = places - places.mean(axis=0)
        if onto is None:
            onto = places
        else:
            places = places @ orthogonal_procrustes(places, onto)[0]
        whole = np.full((bench.query.n_obs, 2), np.nan)
        whole[shown] = places.round(3)
        found.cells.setdefault(subject.name, {}).update(zip(_COORDINATES, whole.T, strict=True))


def umap(vectors: np.ndarray, *, seed: int) -> np.ndarray:
    """(n, 2) of (n, e): scanpy's UMAP of the 15-neighbour graph by cosine.

    Args:
        vectors: More than 15 of them.
        seed: Of its random numbers.
    """
    import scanpy

    cells = AnnData(np.zeros((len(vectors), 1), dtype=np.float32), obsm={"X": vectors})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scanpy.pp.neighbors(cells, n_neighbors=NEIGHBORS, use_rep="X", metric="cosine", random_state=seed)
        # The spectral layout to start from has no meaning for cells that are all alike, and fails for few.
        start = "spectral" if len(vectors) > 3 * NEIGHBORS and np.ptp(vectors, axis=0).max() > 0 else "random"
        scanpy.tl.umap(cells, init_pos=start, random_state=seed)
    return np.asarray(cells.obsm["X_umap"], dtype=np.float64)


def map_figure(cells: pd.DataFrame, students: list[str]) -> Figure | None:
    """The maps, their selections linked, in the colours of any label; ``None`` where the cells have no places.

    Args:
        cells: The table of cells, as ``cells.csv.gz`` holds it.
        students: Names of the students.
    """
    names = [name for name in (TEACHER, *students) if f"{name}/{_COORDINATES[0]}" in cells]
    shown = cells[cells[f"{TEACHER}/{_COORDINATES[0]}"].notna()] if TEACHER in names else cells[:0]
    if len(names) < 2 or shown.empty:
        return None
    data = {"cell": shown["cell"].to_numpy()}
    for number, name in enumerate(names):
        data |= {f"{axis}{number}": shown[f"{name}/{key}"] for axis, key in zip("xy", _COORDINATES, strict=True)}
    colors = dict(_colorings(shown, students))
    data |= {f"c{number}": values for number, values in enumerate(colors.values())}
    # Neighbours kept have colours in order; which these are, an expression must know by their fields.
    ordered = [f"c{number}" for number, name in enumerate(colors) if name.startswith("neighbours kept")]
    caption = (
        f"{len(shown):,} cells{' drawn in the shares of their labels' if len(shown) < len(cells) else ''}. Drag over "
        "one map to see the same cells in the others, double-click to let go; click a name in the legend to see it "
        "alone. Distances between far groups mean nothing in a UMAP: read who lies beside whom."
    )
    spec = _spec(pd.DataFrame(data), names, list(colors), ordered)
    return Figure("maps", "The same cells by teacher and student", caption, (spec,))


def _colorings(cells: pd.DataFrame, students: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """What cells can be coloured by: its name, and a text for each cell."""
    for column in ("label", "batch", "condition"):
        if column in cells:
            yield column, _few(cells[column])
    for name in students:
        if (column := f"{name}/knn_overlap_10") in cells:
            yield f"neighbours kept by {name}", _bins(cells[column])
    for name in (TEACHER, *students):
        for key, words in (("predicted_label", "label predicted from"), ("cluster", "clusters of")):
            if f"{name}/{key}" in cells:
                yield f"{words} {name}", _few(cells[f"{name}/{key}"])


def _few(column: pd.Series) -> np.ndarray:
    """Texts of no more kinds than there are colours."""
    values = column.astype(str).replace("", _NONE)
    common = values.value_counts().index
    kept = common if len(common) <= len(_COLORS) else common[: len(_COLORS) - 1]
    return values.where(values.isin(kept), _OTHER).to_numpy(dtype=object)


def _bins(column: pd.Series) -> np.ndarray:
    fifths = np.minimum((column.fillna(0).to_numpy() * 5).astype(int), 4)
    return np.array(_FIFTHS, dtype=object)[fifths]


def palette(data: pd.DataFrame, ordered: list[str]) -> list[str]:
    """A Vega expression for each place in a legend: the colour there of the field that cells are coloured by.

    Places go to the kinds that are there, in order; a share of neighbours keeps its colour whichever others are there.

    Args:
        data: The cells.
        ordered: Fields that hold shares.
    """
    shades = {field: [_SHARES[_FIFTHS.index(kind)] for kind in sorted(data[field].unique())] for field in ordered}
    expressions = []
    for place, color in enumerate(_COLORS):
        cases = [f"by === '{field}' ? '{found[place]}' : " for field, found in shades.items() if place < len(found)]
        expressions.append(f"{''.join(cases)}'{color}'")
    return expressions


def _spec(data: pd.DataFrame, names: list[str], colors: list[str], ordered: list[str]) -> dict[str, Any]:
    import altair as alt

    fields = [f"c{number}" for number in range(len(colors))]
    by = alt.param(
        name="by", value=fields[0], bind=alt.binding_select(options=fields, labels=colors, name="colour by")
    ) if fields else None  # fmt: skip
    brush, legend = (
        alt.selection_interval(name="brush"),
        alt.selection_point(name="named", fields=["shown"], bind="legend"),
    )
    scale = alt.Scale(range=[alt.ExprRef(color) for color in palette(data, ordered)])
    tips = [alt.Tooltip("cell", title="cell"), *(alt.Tooltip(f, title=words) for f, words in zip(fields, colors))]
    hidden = alt.Axis(labels=False, ticks=False, title=None, grid=False, domain=False)
    views = []
    for number, name in enumerate(names):
        view = alt.Chart(title=name).mark_circle(size=22 if len(data) < 3000 else 10, clip=True)
        view = view.encode(
            alt.X(f"x{number}:Q", axis=hidden, scale=alt.Scale(zero=False, nice=False, padding=8)),
            alt.Y(f"y{number}:Q", axis=hidden, scale=alt.Scale(zero=False, nice=False, padding=8)),
            color=alt.when(brush).then(
                alt.Color("shown:N", scale=scale, legend=alt.Legend(orient="bottom", title=None, symbolOpacity=1))
            ).otherwise(alt.value("#9aa3ad")),
            opacity=alt.when(brush & legend).then(alt.value(0.85)).otherwise(alt.value(0.12)),
            tooltip=tips,
        )  # fmt: skip
        views.append(view.properties(height=380, name=f"map{number}"))
    chart = alt.concat(*views, columns=2, data=data).transform_calculate(shown="datum[by]" if fields else "''")
    spec = to_spec((chart.add_params(by) if by is not None else chart).resolve_scale(color="shared"))
    # Altair would give each view a selection of its own, and warn that they are the same.
    views = [view["name"] for view in spec["concat"]]
    kinds: dict[str, dict[str, Any]] = {
        "brush": {"select": "interval"},
        "named": {"select": {"type": "point", "fields": ["shown"]}, "bind": "legend"},
    }
    selections = [{"name": name, **kind, "views": views} for name, kind in kinds.items()]
    return {**spec, "params": [*spec.get("params", []), *selections]}
