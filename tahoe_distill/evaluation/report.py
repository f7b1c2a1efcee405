"""The report of an evaluation: one HTML file that says what came out, from the record and the table of cells."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from tahoe_distill.evaluation.figures import figures
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
from tahoe_distill.evaluation.record import read_cells, read_record
from tahoe_distill.metrics.tables import cell, rows

log = logging.getLogger(__name__)

REPORT_FILE = "report.html"
_ANSWERS = {True: ("good", "Yes"), False: ("bad", "No"), None: ("unsure", "Cannot be told")}


def write_report(folder: str | os.PathLike[str], *, images: str | None = None) -> list[Path]:
    """Write ``report.html`` beside the record that a folder holds, and the figures as images where asked for.

    Args:
        folder: What ``tahoe-distill evaluate --out`` wrote.
        images: ``png`` or ``svg``; ``None`` for none.

    Returns:
        The files; none without Altair, of which a warning says how to get it.

    Raises:
        FileNotFoundError: When the folder holds no evaluation.
        ValueError: When it holds something else.
    """
    folder = Path(folder)
    record, cells = read_record(folder), read_cells(folder)
    if not can_draw():
        log.warning(HOW_TO_GET)
        return []
    drawn = figures(record, cells)
    path = folder / REPORT_FILE
    path.write_text(report(record, drawn), encoding="utf-8")
    return [path, *(write_images(drawn, folder, images) if images else [])]


def report(record: Mapping[str, Any], drawn: list[Figure]) -> str:
    """The HTML of a report.

    Args:
        record: What :func:`~tahoe_distill.evaluation.record.to_record` gives.
        drawn: What :func:`~tahoe_distill.evaluation.figures.figures` gives.
    """
    cells = record["cells"]
    names = ", ".join(about["name"] for about in cells["files"].values())
    reference = f", {cells['reference']:,} reference cells" if cells["reference"] else ""
    lead = f"{cells['query']:,} cells{reference}{f' of {names}' if names else ''}; {record['created'][:10]}."
    count = len(record["verdicts"])
    return page(
        "How good is the student?" if count == 1 else f"How good are these {count} students?",
        [
            *_verdicts(record),
            *_controls(record),
            *([section("Figures", *(figure.html() for figure in drawn))] if drawn else []),
            section(
                "Numbers", _short_table(record), folded("every number with its 95 % interval", _long_table(record))
            ),
            section("Left out, and what to know", _left_out(record)),
            section("Data, versions, machine", _facts(record)),
        ],
        lead=lead,
    )


def _verdicts(record: Mapping[str, Any]) -> list[Markup]:
    found = []
    for verdict in record["verdicts"]:
        kind, answer = _ANSWERS[verdict["replaces_teacher"]]
        head = (
            f"{answer}: may {verdict['student']} replace the teacher for annotation, at a margin of "
            f"{verdict['margin']:g} macro-F1?"
        )
        found.append(notice(kind, head, verdict["because"]))
    return found


def _controls(record: Mapping[str, Any]) -> list[Markup]:
    wrong = [control for control in record["controls"] if not control["failed_as_it_must"]]
    said = [
        notice(
            "bad",
            f"The control “{control['control']}” did not fail: do not trust these numbers",
            f"Its {control['number']} is {control['value']:.3f}, where less than {control['must_be_below']:.3f} was "
            "expected. Something tells cells apart that should not.",
        )
        for control in wrong
    ]
    right = [control for control in record["controls"] if control["failed_as_it_must"]]
    if not record["controls"]:
        said.append(notice("unsure", "No control was measured", "Nothing shows that a bad student would be found out."))
    elif right:
        parts = [f"{c['control']} ({c['number']} {c['value']:.3f}, below {c['must_be_below']:.3f})" for c in right]
        said.append(notice("plain", "Controls that failed as they must", "; ".join(parts) + "."))
    return said


def _roles(record: Mapping[str, Any]) -> dict[str, str]:
    return {name: subject["role"] for name, subject in record["subjects"].items()}


def _short_table(record: Mapping[str, Any]) -> Markup:
    names = list(record["subjects"])
    lines = [
        (
            words.strip() if not words.startswith("  ") else f"… {words.strip()}",
            *(_number(record, n, metric) for n in names),
        )
        for metric, words in rows(record)
    ]
    return table(["", *names], lines, marks=_roles(record))


def _number(record: Mapping[str, Any], name: str, metric: str) -> str:
    """A number, its interval below it in small type."""
    shown = cell(record, name, metric, intervals=True)
    value, bracket, ends = shown.partition(" (")
    return Markup("{}<small>{}</small>").format(value, ends.rstrip(")")) if bracket else value


def _long_table(record: Mapping[str, Any]) -> Markup:
    names = list(record["subjects"])
    metrics = sorted({metric for subject in record["subjects"].values() for metric in subject["values"]})
    primary = set(record["primary"].values())
    lines = [
        (
            f"{metric} {'↑' if record['higher_is_better'][metric] else '↓'}{' (primary)' if metric in primary else ''}",
            *(_number(record, name, metric) for name in names),
        )
        for metric in metrics
    ]
    said = paragraph("↑ more is better, ↓ less is better; “primary” stands for its evaluator where one number must.")
    return Markup("{}{}").format(said, table(["", *names], lines, marks=_roles(record)))


def _left_out(record: Mapping[str, Any]) -> Markup:
    reasons: dict[tuple[str, str], list[str]] = {}
    for left in record["skipped"]:
        reasons.setdefault((left["evaluator"], left["reason"]), []).append(left["subject"])
    said = [f"{evaluator} ({', '.join(who)}): {why}" for (evaluator, why), who in reasons.items()]
    return Markup("{}{}").format(items(record["notes"]), items(said) or paragraph("Nothing was left out."))


def _facts(record: Mapping[str, Any]) -> Markup:
    cells = record["cells"]
    given = [(kind, f"{about['name']}, {about['bytes']:,} bytes, SHA-256 {about['sha256'][:16]}…")
             for kind, about in cells["files"].items()]  # fmt: skip
    columns = [(f"{key} column" if key != "control" else key, value) for key, value in cells["columns"].items()]
    models = [
        (name, f"{subject['source'] or 'given in Python'}, {_dimensions(subject)}")
        for name, subject in record["subjects"].items()
        if subject["role"] in ("teacher", "student")
    ]
    machine = record["machine"]
    on = f"{machine['system']} {machine['machine']}, {machine['cores']} cores, {machine['threads']} threads, "
    about = [("machine", on + (machine["gpu"] or "no GPU"))]
    about += [("versions", ", ".join(f"{name} {number}" for name, number in record["versions"].items()))]
    about += [("seed", str(record["seed"])), ("time taken", f"{record['seconds']:,.0f} s")]
    return facts([*given, *columns, *models, *about])


def _dimensions(subject: Mapping[str, Any]) -> str:
    known = subject["about"]
    genes = f", {known['genes_matched']:,} of {known['genes_total']:,} genes" if "genes_matched" in known else ""
    return f"{subject['dimensions']} dimensions{genes}"
