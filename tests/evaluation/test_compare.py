"""Comparisons: the paired interval against a plain reference, the order, the gate, what must not be compared."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from tahoe_distill.evaluation.compare import compare, gate, paired_difference
from tahoe_distill.evaluation.compare_page import markdown_comparison, terminal_comparison, write_comparison
from tahoe_distill.evaluation.contenders import Contender, contenders_of, read_contenders
from tahoe_distill.evaluation.page import can_draw
from tahoe_distill.evaluation.pareto import front
from tahoe_distill.evaluation.record import read_cells
from tests.helpers.browser import CHROMIUM, open_page

OVERLAP, F1 = "fidelity/knn_overlap_10", "annotation/knn_macro_f1"
COUNT = 300


def made_up(name, overlap, found=None, **costs):
    """A student of an evaluation of 300 cells."""
    truth = np.array(["a", "b", "c"] * (COUNT // 3))
    found = truth if found is None else found
    overlap = np.asarray(overlap, dtype=float)
    cells = pd.DataFrame({"label": truth, "judged": True, f"{name}/knn_overlap_10": overlap})
    cells[f"{name}/predicted_label"] = found
    values = {OVERLAP: overlap.mean(), F1: f1_score(truth, found, average="macro"), "fidelity/cka": 0.9}
    values |= {f"cost/{cost}": value for cost, value in costs.items()}
    record = {
        "seed": 0,
        "cells": {"names": "hash", "query": COUNT, "reference": None, "files": {}},
        "higher_is_better": {OVERLAP: True, F1: True, "fidelity/cka": True, "fidelity/normalized_mse": False},
        "primary": {},
        "subjects": {
            "teacher": {"role": "teacher", "source": "t", "sketch": [0.1, 0.2], "values": {}},
            name: {"role": "student", "values": values, "intervals": {OVERLAP: [0.0, 1.0]}},
        },
    }
    return Contender(name, name, record, cells, f"folder of {name}")


@pytest.fixture
def noise():
    return np.random.default_rng(0).uniform(0.2, 0.8, COUNT)


def test_the_interval_is_of_pairs_as_plain_numpy_draws_them(noise):
    better, first = made_up("better", noise + 0.05), made_up("first", noise)
    value, low, high = paired_difference(better, first, OVERLAP)
    # Every cell is better by the same amount, whatever is drawn: the interval of two unpaired means would be wide.
    np.testing.assert_allclose([value, low, high], 0.05, atol=1e-12)
    other = made_up("other", np.random.default_rng(1).permutation(noise))
    value, low, high = paired_difference(other, first, OVERLAP)
    difference = other.cells["other/knn_overlap_10"].to_numpy() - noise
    rng = np.random.default_rng(7)
    drawn = [difference[rng.integers(0, COUNT, COUNT)].mean() for _ in range(4000)]
    assert value == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose([low, high], np.quantile(drawn, [0.025, 0.975]), atol=0.004)


def test_macro_f1_is_paired_by_the_predicted_labels():
    truth = np.array(["a", "b", "c"] * 100)
    wrong = truth.copy()
    wrong[:30] = "a"
    worse, first = made_up("worse", np.zeros(COUNT), wrong), made_up("first", np.zeros(COUNT))
    value, low, high = paired_difference(worse, first, F1)
    assert value == pytest.approx(f1_score(truth, wrong, average="macro") - 1)
    assert low < value < high < 0


def test_students_stand_in_order_and_differ_from_the_first(noise):
    students = [made_up("first", noise), made_up("best", noise + 0.1), made_up("worst", noise - 0.1)]
    found = compare(students)
    assert [standing.name for standing in found.standings] == ["best", "first", "worst"]
    assert found.first == "first" and found.standings[1].difference is None
    assert found.standings[0].difference[0] == pytest.approx(0.1)
    for student in students:
        student.values["fidelity/normalized_mse"] = student.values[OVERLAP]
    turned = compare(students, "fidelity/normalized_mse")
    assert [standing.name for standing in turned.standings] == ["worst", "first", "best"]
    assert json.dumps(turned.to_dict(), allow_nan=False)


def test_an_unknown_number_is_answered_with_the_closest(noise):
    with pytest.raises(ValueError, match=r"first: unknown number 'fidelity/knn_overlap'; did you mean '.*_10'"):
        compare([made_up("first", noise)], "fidelity/knn_overlap")


@pytest.mark.parametrize(("shift", "margin", "passed"), [(0, 0, True), (-0.05, 0.04, False), (-0.05, 0.06, True)])
def test_the_gate_lets_through_what_is_no_worse_at_the_margin(noise, shift, margin, passed):
    found = gate([made_up("new", noise + shift), made_up("old", noise), made_up("bad", noise - 0.5)], OVERLAP, margin)
    assert found.passed is passed
    assert len(found.because) == 2 and f"{margin:g} may be lost" in found.because[0]


def test_the_gate_knows_numbers_of_which_less_is_better(noise):
    students = [made_up("new", noise + 0.1), made_up("old", noise)]
    for student in students:
        student.cells[f"{student.name}/normalized_mse"] = student.cells[f"{student.name}/knn_overlap_10"]
        student.values["fidelity/normalized_mse"] = student.values[OVERLAP]
    assert not gate(students, "fidelity/normalized_mse", 0.05).passed
    assert gate(students[::-1], "fidelity/normalized_mse", 0.0).passed


def test_a_gate_does_not_judge_by_few_cells():
    # 0.02 better on the mean, by two cells of 300.
    values = np.full(COUNT, 0.5)
    lucky = values.copy()
    lucky[:2] += 3
    lucky[2] -= 1
    assert not gate([made_up("new", lucky), made_up("old", values)], OVERLAP, 0.0).passed


def test_what_a_gate_cannot_judge(noise):
    students = [made_up("new", noise), made_up("old", noise)]
    with pytest.raises(ValueError, match=f"no paired interval; expected one of {F1}, {OVERLAP}"):
        gate(students, "fidelity/cka", 0.1)
    with pytest.raises(ValueError, match="cannot be negative; found -1"):
        gate(students, OVERLAP, -1)
    with pytest.raises(ValueError, match="at least two students"):
        gate(students[:1], OVERLAP, 0.1)


def test_cells_that_do_not_give_the_number_are_not_taken_for_it(noise):
    stranger, first = made_up("stranger", noise), made_up("first", noise)
    stranger.values[OVERLAP] += 0.3
    assert paired_difference(stranger, first, OVERLAP) is None


def test_the_front_is_what_no_other_beats():
    assert front([(1, 5), (2, 4), (2, 3), (0, 0), (3, 1)]) == [True, True, False, False, True]
    # The same twice is beaten by neither.
    assert front([(1, 1), (1, 1)]) == [True, True]


def test_tables_have_the_difference_and_both_intervals(noise):
    students = [made_up("first", noise, parameters=9000.0), made_up("better", noise + 0.05, parameters=12000.0)]
    found = compare(students)
    head, better, first = terminal_comparison(found).splitlines()
    assert "against first" in head and better.split()[0] == "better" and "+5.0%" in better and "12,000" in better
    assert "+" not in first
    assert markdown_comparison(found).splitlines()[2].startswith("| better |")


def test_a_written_evaluation_is_read_as_its_students(judged_folder, record):
    found = read_contenders([judged_folder / "metrics.json"])
    folder = judged_folder.name
    assert [contender.name for contender in found] == [f"{folder}/near", f"{folder}/far"]
    comparison = compare(found)
    assert comparison.standings[0].name == f"{folder}/near"
    value, low, high = comparison.standings[1].difference
    assert low <= value <= high < 0
    assert not gate(found[::-1], OVERLAP, 0.02).passed and gate(found, OVERLAP, 0.0).passed
    in_memory = compare(contenders_of(record, read_cells(judged_folder)))
    assert in_memory.standings[1].difference == comparison.standings[1].difference


@pytest.fixture
def two_folders(judged_folder, record, tmp_path):
    """A function that writes the evaluation twice, the second time changed."""

    def write(change):
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            changed = copy.deepcopy(record)
            if name == "two":
                change(changed)
            (tmp_path / name / "metrics.json").write_text(json.dumps(changed))
            (tmp_path / name / "cells.csv.gz").write_bytes((judged_folder / "cells.csv.gz").read_bytes())
        return [tmp_path / "one", tmp_path / "two"]

    return write


def test_the_same_students_twice_keep_names_of_their_own(two_folders):
    found = read_contenders(two_folders(lambda record: None))
    assert [contender.name for contender in found] == ["one/near", "one/far", "two/near", "two/far"]
    assert paired_difference(found[2], found[0], OVERLAP) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r["cells"].update(names="x", query=7), r"judged other cells \(7, not these 60\)"),
        (lambda r: r["cells"].update(reference=5), "learned from 5 reference cells, not from none"),
        (lambda r: r["subjects"]["teacher"].update(sketch=[0.9] * 32, source="70m"), r"its teacher \(70m\) gives"),
        (lambda r: r["subjects"].clear(), "holds no student"),
    ],
)
def test_what_was_not_judged_alike_is_not_compared(two_folders, change, says):
    with pytest.raises(ValueError, match=says):
        read_contenders(two_folders(change))


def test_files_of_one_name_and_other_content_are_other_cells(two_folders):
    folders = two_folders(lambda record: record["cells"].update(files={"adata": {"sha256": "1"}}))
    first = json.loads((folders[0] / "metrics.json").read_text())
    first["cells"]["files"] = {"adata": {"sha256": "2"}}
    (folders[0] / "metrics.json").write_text(json.dumps(first))
    with pytest.raises(ValueError, match="the same names and another content"):
        read_contenders(folders)


@pytest.mark.skipif(not can_draw(), reason="figures need altair and vl-convert-python")
def test_the_page_of_a_comparison(noise, tmp_path):
    students = [
        made_up(f"s{n}<b>", noise - n / 50, parameters=10.0**n, cells_per_second=100.0 * n) for n in range(1, 4)
    ]
    verdict = gate(students, OVERLAP, 0.02)
    assert write_comparison(compare(students), students, tmp_path, verdict=verdict, images="png") is None
    assert {path.name for path in tmp_path.iterdir()} == {
        "comparison.json",
        "comparison.md",
        "comparison.html",
        "pareto.png",
    }
    assert json.loads((tmp_path / "comparison.json").read_text())["gate"]["passed"] is True
    assert "s1<b>" not in (tmp_path / "comparison.html").read_text()
    if CHROMIUM is not None:
        opened = open_page(tmp_path / "comparison.html", tmp_path)
        assert opened.console == opened.requests == []
        assert opened.dom.count('data-drawn="yes"') == 2
