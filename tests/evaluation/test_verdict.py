"""The verdict and the controls, on labels and predictions made up for the purpose."""

import numpy as np
import pytest
from anndata import AnnData

from tahoe_distill.evaluation import Columns, Evaluation, Subject, judge
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.verdict import controls

F1, ACCURACY, OVERLAP = "annotation/knn_macro_f1", "annotation/knn_accuracy", "fidelity/knn_overlap_10"


def made_up(*, wrong=0, labels=True, permuted=0.1, shuffled=0.5):
    """An evaluation of 400 cells of two types, of which a student takes ``wrong`` more for the other type."""
    truth = np.array(["a", "b"] * 200)
    cells = AnnData(np.zeros((400, 1)), obs={"kind": truth})
    found = Evaluation(Bench(cells, columns=Columns(label="kind" if labels else None)))
    vectors = np.zeros((400, 2))
    for name, role in (("teacher", "teacher"), ("student", "student"), ("ridge", "baseline")):
        found.bench.subjects[name] = Subject(name, role, vectors)
    found.bench.subjects["permuted"] = Subject("permuted", "control", vectors, expects="student")
    found.bench.subjects["shuffled"] = Subject("shuffled", "control", vectors, shuffled_labels=True, expects="teacher")
    for name, mistakes in (("teacher", 20), ("student", 20 + wrong)):
        said = truth.copy()
        said[:mistakes] = np.where(truth[:mistakes] == "a", "b", "a")
        right = float((said == truth).mean())
        found.values[name] = {F1: right, ACCURACY: right} if labels else {}
        found.cells[name] = {"predicted_label": said}
    found.values["student"][OVERLAP] = 0.8
    found.values["ridge"] = {OVERLAP: 0.3}
    found.values["permuted"] = {OVERLAP: permuted}
    found.values["shuffled"] = {ACCURACY: shuffled}
    return found


def test_a_student_that_says_the_same_may_replace_its_teacher():
    verdict = judge(made_up(), "student")
    assert verdict.replaces_teacher is True
    assert verdict.difference == (0.0, 0.0, 0.0)
    assert "80% of the teacher's ten nearest neighbours" in verdict.because and "30%" in verdict.because


def test_the_lower_end_of_the_interval_decides_not_the_difference():
    # Four cells of 400 lost: macro-F1 falls by 0.01, and by less than 0.02 in all but few draws.
    few = judge(made_up(wrong=4), "student", margin=0.011)
    assert few.difference[0] == pytest.approx(-0.01) and few.replaces_teacher is False
    assert judge(made_up(wrong=4), "student", margin=0.03).replaces_teacher is True


def test_without_labels_nothing_can_be_told():
    verdict = judge(made_up(labels=False), "student")
    assert verdict.replaces_teacher is None and verdict.difference is None
    assert "no labels" in verdict.because and "80%" in verdict.because


@pytest.mark.parametrize(("permuted", "shuffled", "bad"), [(0.5, 0.5, "permuted"), (0.1, 0.95, "shuffled")])
def test_a_control_that_does_not_fail_takes_the_trust_away(permuted, shuffled, bad):
    found = made_up(permuted=permuted, shuffled=shuffled)
    assert {control["control"]: control["failed_as_it_must"] for control in controls(found)} == {
        "permuted": bad != "permuted",
        "shuffled": bad != "shuffled",
    }
    verdict = judge(found, "student")
    assert verdict.replaces_teacher is False
    assert f"“{bad}” did not fail" in verdict.because


def test_a_control_may_be_as_good_as_chance():
    (_, shuffled) = controls(made_up(shuffled=0.5))
    assert shuffled["failed_as_it_must"]
