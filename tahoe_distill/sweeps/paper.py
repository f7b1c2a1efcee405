"""The figures and tables of a paper, from `metrics.json` and `trials.csv` files alone."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tahoe_distill.evaluation.compare import PRIMARY, compare
from tahoe_distill.evaluation.compare_page import comparison_table
from tahoe_distill.evaluation.contenders import Contender, check_comparable, contenders_of
from tahoe_distill.evaluation.figures import figures
from tahoe_distill.evaluation.page import HOW_TO_GET, Figure, can_draw, write_images
from tahoe_distill.evaluation.pareto import pareto_figure
from tahoe_distill.evaluation.record import METRICS_FILE, read_record
from tahoe_distill.metrics.tables import latex, latex_table, markdown_table
from tahoe_distill.sweeps.figures import trial_figures
from tahoe_distill.sweeps.results import TRIALS_FILE, markdown, read_trials, trial_rows

TOGETHER = "students"


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What one result gives.

    Args:
        name: What its files begin with.
        figures: Its figures.
        tables: Text by ending, ``md`` and ``tex``.
    """

    name: str
    figures: tuple[Figure, ...]
    tables: Mapping[str, str]


def draw_results(
    sources: Sequence[str | os.PathLike[str]], folder: str | os.PathLike[str], *, kind: str = "svg"
) -> tuple[list[Path], list[str]]:
    """Draw every figure and write every table that results allow.

    Args:
        sources: ``metrics.json`` and ``trials.csv`` files, or folders that hold one or both.
        folder: Where to; made where it is missing.
        kind: ``svg`` or ``png``.

    Returns:
        The files, and sentences on what was left out.

    Raises:
        FileNotFoundError: When a source is neither, nor holds one.
        ValueError: When one is something else than its name says.
        ImportError: Without Altair.
    """
    if not can_draw():
        raise ImportError(HOW_TO_GET)
    files = [file for source in sources for file in _found(Path(source))]
    names = _names(files)
    records = {name: read_record(file) for name, file in names.items() if file.name != TRIALS_FILE}
    drawn = [_of_evaluation(name, record) for name, record in records.items()]
    drawn += [_of_sweep(name, file) for name, file in names.items() if file.name == TRIALS_FILE]
    together, left_out = _together(records)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for one in [*drawn, *together]:
        written += write_images(one.figures, folder, kind)
        for ending, text in one.tables.items():
            written.append(folder / f"{one.name}.{ending}")
            written[-1].write_text(text, encoding="utf-8")
    return written, left_out


def _found(source: Path) -> list[Path]:
    if source.is_file() and source.suffix in (".json", ".csv"):
        return [source]
    files = [source / name for name in (METRICS_FILE, TRIALS_FILE) if (source / name).is_file()]
    if not files:
        raise FileNotFoundError(
            f"{source} is no result: expected a {METRICS_FILE} of `tahoe-distill evaluate --out`, a {TRIALS_FILE} of "
            "`tahoe-distill sweep`, or a folder with one"
        )
    return files


def _names(files: Sequence[Path]) -> dict[str, Path]:
    """A name for each file: its folder's, with more of the path where two folders have one name."""
    parts = [file.resolve().parent.parts for file in files]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["-".join(part[-length:]).strip("/") for part in parts]
        names = [
            f"{name}-trials" if file.name == TRIALS_FILE else name for name, file in zip(names, files, strict=True)
        ]
        if len(set(names)) == len(names):
            return dict(zip(names, files, strict=True))
    raise ValueError(f"the same result was given twice: {', '.join(map(str, files))}")


def _of_evaluation(name: str, record: Mapping[str, Any]) -> Drawn:
    # Of single cells nothing is known here: maps and labels are left to the evaluation's own report.
    drawn = figures(record, pd.DataFrame())
    named = tuple(dataclasses.replace(figure, name=f"{name}-{figure.name}") for figure in drawn)
    return Drawn(name, named, {"md": markdown_table(record) + "\n", "tex": latex_table(record)})


def _of_sweep(name: str, file: Path) -> Drawn:
    table = read_trials(file)
    head, rows = trial_rows(table)
    return Drawn(name, tuple(trial_figures(table, name)), {"md": markdown(head, rows), "tex": latex(head, rows)})


def _together(records: Mapping[str, Mapping[str, Any]]) -> tuple[list[Drawn], list[str]]:
    """All students of several evaluations in one table, and their quality against size and speed."""
    students = [
        Contender(f"{name}/{one.subject}" if len(found) > 1 else name, one.subject, one.record, one.cells, name)
        for name, record in records.items()
        for found in [contenders_of(record, pd.DataFrame())]
        for one in found
    ]
    if len(students) < 2:
        return [], []
    try:
        check_comparable(students)
        comparison = compare(students, PRIMARY)
    except ValueError as error:
        return [], [f"no figure of all students together: {error}"]
    head, lines = comparison_table(comparison)
    # Paired differences need the cells.
    kept = [place for place, name in enumerate(head) if not name.startswith("against") and not name.endswith("paired")]
    head, lines = [head[place] for place in kept], [[line[place] for place in kept] for line in lines]
    figure = pareto_figure(comparison)
    named = () if figure is None else (dataclasses.replace(figure, name=f"{TOGETHER}-pareto"),)
    return [Drawn(TOGETHER, named, {"md": markdown(head, lines), "tex": latex(head, lines)})], []
