"""Tables for people: the right numbers in the right columns, in words."""

import pytest

from tahoe_distill.metrics.tables import cell, markdown_table, names_of, rows, show, terminal_table


@pytest.fixture
def small():
    """A record as small as tables can read."""

    def subject(role, values, intervals=None):
        return {"role": role, "values": values, "intervals": intervals or {}}

    return {
        "cells": {"query": 1000, "reference": None},
        "primary": {"fidelity": "fidelity/knn_overlap_10", "mine": "mine/score"},
        "subjects": {
            "teacher": subject("teacher", {"cost/parameters": 166401.0}),
            "s": subject(
                "student",
                {
                    "fidelity/knn_overlap_10": 0.5,
                    "cost/parameters": 71036.0,
                    "cost/peak_memory": 1.5e9,
                    "mine/score": 2,
                },
                {"fidelity/knn_overlap_10": [0.25, 0.75]},
            ),
            "ridge": subject("baseline", {"fidelity/knn_overlap_10": 0.4}),
        },
    }


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.1234, "share", "12.3%"),
        (166401.0, "count", "166,401"),
        (1.5e9, "bytes", "1,500 MB"),
        (0.12345, "number", "0.123"),
        (None, "number", ""),
    ],
)
def test_numbers_as_people_read_them(value, kind, text):
    assert show(value, kind) == text


def test_a_cell_has_its_interval_when_asked(small):
    assert cell(small, "s", "fidelity/knn_overlap_10") == "50.0%"
    assert cell(small, "s", "fidelity/knn_overlap_10", intervals=True) == "50.0% (25.0% … 75.0%)"
    assert cell(small, "ridge", "fidelity/knn_overlap_10", intervals=True) == "40.0%"
    assert cell(small, "teacher", "fidelity/knn_overlap_10", intervals=True) == ""


def test_rows_are_what_somebody_has_and_own_evaluators_come_last(small):
    assert [metric for metric, _ in rows(small)] == [
        "fidelity/knn_overlap_10",
        "cost/parameters",
        "cost/peak_memory",
        "mine/score",
    ]


def test_markdown(small):
    lines = markdown_table(small, intervals=False).splitlines()
    assert lines[0] == "| | teacher | s | ridge |"
    assert lines[2] == "| 10 nearest neighbours kept |  | 50.0% | 40.0% |"


def test_the_terminal_shows_models_above_baselines_in_even_columns(small):
    head, models, baselines = terminal_table(small).split("\n\n")
    assert head == "1,000 held-out cells"
    assert "teacher" in models and "ridge" not in models
    assert "ridge" in baselines and "parameters" not in baselines
    assert len({len(line) for line in models.splitlines()}) == 1


def test_names_by_role(small):
    assert names_of(small, "student", "baseline") == ["s", "ridge"]
