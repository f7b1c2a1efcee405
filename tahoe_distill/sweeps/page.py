"""The page of a sweep: what to take, how sure that is, every setting, and what failed."""

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from tahoe_distill.evaluation.page import (
    HOW_TO_GET,
    Figure,
    can_draw,
    facts,
    folded,
    items,
    notice,
    page,
    paragraph,
    section,
    table,
    write_images,
)
from tahoe_distill.sweeps.confirm import Confirmation
from tahoe_distill.sweeps.figures import trial_figures
from tahoe_distill.sweeps.results import BEST_FILE, dimensions_of, trial_rows
from tahoe_distill.sweeps.study import Outcome, Study

log = logging.getLogger(__name__)

PAGE_FILE = "sweep.html"
_KIND = {"better": "good", "worse": "bad", "no different": "unsure"}


def write_page(
    study: Study,
    trials: pd.DataFrame,
    best: Outcome,
    *,
    confirmation: Confirmation | None = None,
    images: str | None = None,
) -> list[Path]:
    """Write ``sweep.html`` into the study's folder, and its figures as images where asked for.

    Args:
        study: The study.
        trials: Its table.
        best: Its best setting.
        confirmation: What other cells said.
        images: ``png`` or ``svg``; ``None`` for none.

    Returns:
        The files; none without Altair, of which a warning says how to get it.
    """
    if not can_draw():
        log.warning(HOW_TO_GET)
        return []
    drawn = trial_figures(trials)
    path = study.folder / PAGE_FILE
    path.write_text(sweep_page(study, trials, best, drawn=drawn, confirmation=confirmation), encoding="utf-8")
    return [path, *(write_images(drawn, study.folder, images) if images else [])]


def sweep_page(
    study: Study,
    trials: pd.DataFrame,
    best: Outcome,
    *,
    drawn: Sequence[Figure],
    confirmation: Confirmation | None = None,
) -> str:
    """The HTML; the arguments are those of :func:`write_page`, and the figures."""
    counts = ", ".join(f"{count} {state}" for state, count in trials["state"].value_counts().items())
    return page(
        f"What is the best {' and '.join(dimensions_of(trials))}?",
        [
            _chosen(trials, best),
            *([_confirmed(confirmation)] if confirmation else []),
            *([section("Figures", *(figure.html() for figure in drawn))] if drawn else []),
            section("Settings, the best on top", table(*trial_rows(trials)), _how_to_read(study)),
            *_failed(trials),
            section("The study", _facts(study, best)),
        ],
        lead=f"{len(trials)} settings on {study.spec.base}: {counts}.",
    )


def _chosen(trials: pd.DataFrame, best: Outcome) -> Markup:
    row = trials.iloc[0]
    params = ", ".join(f"{name} {value}" for name, value in (best.setting.params or {}).items())
    rivals = trials[(trials["state"] == "complete") & (trials.index > 0)]
    said = [f"Its {row['metric']} is {row['value']:.4f}{_ends(row)}."]
    if len(rivals):
        second = rivals.iloc[0]
        said.append(f"The next one, {second['name']}, has {second['value']:.4f}{_ends(second)}.")
    overlap = (
        len(rivals) > 0 and pd.notna(row["low"]) and pd.notna(rivals.iloc[0]["low"]) and _meet(row, rivals.iloc[0])
    )
    if overlap:
        said.append("Their intervals over seeds meet: these runs do not tell the two apart.")
    if pd.isna(row["low"]):
        said.append("One seed each: how much of a difference is chance is not known (--seeds 3).")
    sure = pd.notna(row["low"]) and not overlap
    return notice(
        "good" if sure else "unsure", f"Best: {params}", " ".join(said), f"{BEST_FILE} is the run to start next."
    )


def _ends(row: pd.Series) -> str:
    return "" if pd.isna(row["low"]) else f" (95 % over seeds {row['low']:.4f} to {row['high']:.4f})"


def _meet(one: pd.Series, other: pd.Series) -> bool:
    return bool(one["low"] <= other["high"] and other["low"] <= one["high"])


def _confirmed(found: Confirmation) -> Markup:
    head = f"On cells that the sweep did not see: {found.verdict} than the base"
    if found.verdict == "no different":
        head = "On cells that the sweep did not see: no different from the base"
    return notice(_KIND[found.verdict], head, found.sentence())


def _how_to_read(study: Study) -> Markup:
    part = study.spec.fraction
    return paragraph(
        f"{'More' if study.mode == 'max' else 'Less'} of {study.spec.metric} is better; it is that of a run's last "
        f"evaluation, mean over {len(study.seeds)} seed{'s' if len(study.seeds) > 1 else ''}.",
        f"Trials ran on {part.batches} of the batches and {part.cells} of the cells: what is best there need not be "
        "best in a whole run.",
        "A pruned setting was ended early, and its number is that of the moment.",
    )


def _failed(trials: pd.DataFrame) -> list[Markup]:
    rows = trials[trials["error"].notna()]
    said = (f"{row['name']}: {row['error']}" for _, row in rows.iterrows())
    return [section("What failed", folded(f"{len(rows)} settings", items(said)))] if len(rows) else []


def _facts(study: Study, best: Outcome) -> Markup:
    spec, run = study.spec, study.run_of(best.setting, study.seeds[0])
    final = study.base.resolved
    return facts(
        [
            ("base", spec.base),
            ("sampler", f"{spec.sampler}, {spec.trials} settings"),
            ("seeds", ", ".join(map(str, study.seeds))),
            (
                "length of a trial",
                f"{run['max_duration']} of {final['max_duration']}, judged every {run['eval_interval']}",
            ),
            ("pruning", "none" if spec.pruning is None else f"below the median, after {spec.pruning.startup} settings"),
            *((dimension.name, ", ".join(dimension.all_keys)) for dimension in spec.space),
        ]
    )
