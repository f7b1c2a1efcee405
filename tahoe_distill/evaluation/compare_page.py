"""What a comparison looks like: a table on a terminal and in Markdown, and a page."""

import json
import os
from pathlib import Path

from markupsafe import Markup

from tahoe_distill.evaluation.compare import Comparison, Gate, Standing
from tahoe_distill.evaluation.contenders import Contender
from tahoe_distill.evaluation.page import HOW_TO_GET, can_draw, notice, page, paragraph, section, table, write_images
from tahoe_distill.evaluation.pareto import pareto_figure
from tahoe_distill.metrics.tables import ROWS, cell, rows, show

COMPARISON_FILE, PAGE_FILE, TABLE_FILE = "comparison.json", "comparison.html", "comparison.md"
_COSTS = {"cost/parameters": "parameters", "cost/cells_per_second": "cells per second"}


def comparison_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table, the best student on top.

    Args:
        comparison: The students.
    """
    words, kind = ROWS.get(comparison.metric, (comparison.metric, "number"))
    head = ["student", words.strip(), "95 %", f"against {comparison.first}", "95 %, paired", *_COSTS.values()]
    return head, [_line(standing, kind) for standing in comparison.standings]


def _line(standing: Standing, kind: str) -> list[str]:
    def ends(pair: tuple[float, float] | None, sign: str = "") -> str:
        return (
            "" if pair is None else " … ".join(sign + show(end, kind) if end > 0 else show(end, kind) for end in pair)
        )

    difference = standing.difference
    return [
        standing.name,
        show(standing.value, kind),
        ends(standing.interval),
        "" if difference is None else f"{'+' if difference[0] > 0 else ''}{show(difference[0], kind)}",
        "" if difference is None else ends(difference[1:], "+"),
        *(show(standing.costs.get(cost), "count") for cost in _COSTS),
    ]


def terminal_comparison(comparison: Comparison) -> str:
    """The table in columns."""
    head, lines = comparison_table(comparison)
    widths = [max(len(line[place]) for line in (head, *lines)) for place in range(len(head))]
    return "\n".join(
        "  ".join(f"{text:<{width}}" if place == 0 else f"{text:>{width}}" for place, (text, width) in pairs).rstrip()
        for pairs in (enumerate(zip(line, widths, strict=True)) for line in (head, *lines))
    )


def markdown_comparison(comparison: Comparison) -> str:
    """The table in Markdown."""
    head, lines = comparison_table(comparison)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines))


def write_comparison(
    comparison: Comparison,
    contenders: list[Contender],
    folder: str | os.PathLike[str],
    *,
    verdict: Gate | None = None,
    images: str | None = None,
) -> str | None:
    """Write ``comparison.json``, ``comparison.md`` and, where it can be drawn, ``comparison.html`` into a folder.

    Args:
        comparison: The students.
        contenders: The same, with all their numbers.
        folder: Where; there already.
        verdict: What the gate said.
        images: ``png`` or ``svg`` to have the figure as an image too.

    Returns:
        How to get the page, where it could not be drawn.
    """
    folder = Path(folder)
    record = comparison.to_dict() | ({} if verdict is None else {"gate": vars(verdict)})
    (folder / COMPARISON_FILE).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (folder / TABLE_FILE).write_text(markdown_comparison(comparison) + "\n", encoding="utf-8")
    if not can_draw():
        return HOW_TO_GET
    figure = pareto_figure(comparison)
    blocks = [] if verdict is None else [_verdict(verdict, comparison.first)]
    blocks += [section("In order", table(*comparison_table(comparison)), _how_to_read(comparison))]
    blocks += [] if figure is None else [section("Figures", figure.html())]
    blocks += [section("All numbers", _all_numbers(contenders))]
    lead = f"{comparison.cells:,} cells, the same for every student, against one teacher."
    html = page(f"{len(comparison.standings)} students compared", blocks, lead=lead)
    (folder / PAGE_FILE).write_text(html, encoding="utf-8")
    if images and figure is not None:
        write_images([figure], folder, images)
    return None


def _verdict(verdict: Gate, first: str) -> Markup:
    head = f"{first} is no worse than the others" if verdict.passed else f"{first} is not shown to be no worse"
    return notice("good" if verdict.passed else "bad", head, *verdict.because)


def _how_to_read(comparison: Comparison) -> Markup:
    return paragraph(
        f"{'More' if comparison.higher_is_better else 'Less'} of {comparison.metric} is better.",
        f"Differences are against {comparison.first}; an interval that holds 0 means that these cells do not tell the "
        "two apart.",
    )


def _all_numbers(contenders: list[Contender]) -> Markup:
    lines: dict[str, list[str]] = {}
    order = [pair for contender in contenders for pair in rows(contender.record)]
    for metric, words in dict.fromkeys(order):
        found = [cell(contender.record, contender.subject, metric) for contender in contenders]
        if any(found):
            lines[metric] = [words.strip(), *found]
    return table(["", *(contender.name for contender in contenders)], lines.values())
