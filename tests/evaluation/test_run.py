"""A whole evaluation with real models: who is judged by what, what is left out, and what users can add."""

import json
import math

import numpy as np
import pytest
import torch

from tahoe_distill.evaluation import Columns, Evaluator, TeacherVectors, evaluate, register_evaluator, to_record
from tahoe_distill.evaluation.base import EVALUATORS
from tahoe_distill.evaluation.run import choose_evaluators
from tahoe_distill.evaluation.verdict import controls, judge
from tahoe_distill.models import Tx1Config, Tx1Processor
from tests.evaluation.conftest import make_cells
from tests.helpers.tiny_student import randomised

COLUMNS = Columns(label="kind", batch="batch", condition="drug", control="DMSO")
QUICK = ("cost", "clustering")


def make_model(vocab, seed, **settings):
    """A tiny model whose vectors depend on expression."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "context_length": 64}
    return randomised(Tx1Config(vocab_size=len(vocab), **{**shape, **settings}), 0.2), Tx1Processor(
        vocab, max_length=64
    )


@pytest.fixture(scope="module")
def teacher(small_vocab):
    return make_model(small_vocab, 1)


@pytest.fixture(scope="module")
def found(small_vocab, teacher):
    """Two students: the teacher itself, and a model of another width."""
    students = {"same": teacher, "narrow": make_model(small_vocab, 2, hidden_size=8)}
    return evaluate(students, teacher, make_cells(), reference=make_cells(60, seed=3), columns=COLUMNS, skip=QUICK)


def test_everything_that_can_be_judged_is(found):
    assert list(found.subjects)[:3] == ["teacher", "same", "narrow"]
    roles = {name: subject.role for name, subject in found.subjects.items()}
    assert roles["ridge"] == roles["highly variable genes"] == roles["random weights (same)"] == "baseline"
    assert roles["permuted genes (narrow)"] == roles["shuffled labels"] == "control"
    same, narrow = found.values["same"], found.values["narrow"]
    assert same["fidelity/knn_overlap_10"] == same["genes/gene_overlap_10"] == 1
    assert same["perturbation/shift_cosine"] == pytest.approx(1) and same["perturbation/retrieval"] == 1
    assert same["expression/mse_ratio"] == 1 and "masked expression: excellent" in found.notes
    assert "fidelity/cosine" not in narrow and narrow["fidelity/cka"] < 1
    assert "annotation/swap_knn_macro_f1" in same and "annotation/swap_knn_macro_f1" not in narrow
    assert "integration/ilisi" in found.values["teacher"] and "fidelity/cka" not in found.values["teacher"]
    assert "fidelity/cosine" in found.values["ridge"]
    # 30 genes have no 30 components.
    assert "30 principal components" not in found.subjects


def test_the_record_is_json_without_nan(found):
    record = json.loads(json.dumps(to_record(found), allow_nan=False))
    assert record["subjects"]["same"]["values"]["fidelity/knn_overlap_10"] == 1
    assert {entry["control"] for entry in record["controls"]} >= {"shuffled labels", "permuted genes (same)"}
    assert record["higher_is_better"]["fidelity/normalized_mse"] is False
    assert all(math.isfinite(value) for subject in record["subjects"].values() for value in subject["values"].values())


def test_a_student_that_is_its_teacher_loses_nothing(found):
    verdict = judge(found, "same", margin=0.02)
    assert verdict.difference == (0, 0, 0)
    shuffled = next(entry for entry in controls(found) if entry["control"] == "shuffled labels")
    assert shuffled["failed_as_it_must"]


def test_a_control_that_does_not_fail_forbids_the_replacement(found):
    changed = dict(found.values["permuted genes (same)"])
    changed["fidelity/knn_overlap_10"] = 0.9
    before = found.values["permuted genes (same)"]
    found.values["permuted genes (same)"] = changed
    verdict = judge(found, "same")
    found.values["permuted genes (same)"] = before
    assert verdict.replaces_teacher is False and "did not fail" in verdict.because


def test_without_labels_all_that_needs_none_is_done(teacher):
    found = evaluate(teacher, teacher, make_cells(), skip=QUICK)
    assert found.values["student"]["fidelity/knn_overlap_10"] == 1
    reasons = {entry["evaluator"]: entry["reason"] for entry in found.skipped}
    assert "--label-key" in reasons["annotation"] and "--batch-key" in reasons["integration"]
    assert "shuffled labels" not in found.subjects
    assert judge(found, "student").replaces_teacher is None


def test_vectors_are_teacher_enough(teacher):
    cells = make_cells()
    vectors = np.random.default_rng(0).normal(size=(90, 16))
    found = evaluate(teacher, TeacherVectors(vectors), cells, columns=COLUMNS, skip=QUICK, baselines=False)
    assert 0 < found.values["student"]["fidelity/knn_overlap_10"] < 0.5
    assert any("gene embeddings" in entry["reason"] for entry in found.skipped)


def test_constant_vectors_are_scored_where_they_can_be_and_nan_refused(teacher):
    cells, ones = make_cells(), np.ones((90, 16))
    found = evaluate(teacher, TeacherVectors(ones), cells, only=["fidelity"], baselines=False)
    assert "fidelity/cka" not in found.values["student"]
    assert any(entry["evaluator"] == "fidelity/cka" and "not defined" in entry["reason"] for entry in found.skipped)
    ones[3] = np.nan
    with pytest.raises(ValueError, match="the vectors of 1 of 90 cells are NaN"):
        evaluate(teacher, TeacherVectors(ones), cells)
    with pytest.raises(ValueError, match="a vector for each of 90 cells, found an array of"):
        evaluate(teacher, TeacherVectors(ones[:5]), cells)


class Width(Evaluator):
    """What a user would write."""

    name = "width"
    primary = "dimensions"
    lower_is_better = frozenset({"dimensions"})

    def evaluate(self, subject, bench):
        return {"dimensions": float(subject.query.shape[1])}


def test_a_user_adds_an_evaluator(teacher, monkeypatch):
    monkeypatch.setattr(EVALUATORS, "registered", dict(EVALUATORS.registered))
    register_evaluator(Width)
    found = evaluate(teacher, teacher, make_cells(), only=["width"], baselines=False)
    assert found.values["student"] == {"width/dimensions": 16.0}
    assert found.higher_is_better == {"width/dimensions": False} and found.primary == {"width": "width/dimensions"}
    path = f"{__name__}:Width"
    assert [type(e).__name__ for e in choose_evaluators([path])] == ["Width"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"only": ["fidelty"]}, "unknown evaluator 'fidelty'; did you mean 'fidelity'"),
        ({"skip": ["anotation"]}, "did you mean 'annotation'"),
        ({"only": ["cost"], "skip": ["cost"]}, "no evaluator is left"),
    ],
)
def test_wrong_names_are_refused_before_work(arguments, match):
    with pytest.raises(ValueError, match=match):
        choose_evaluators(**arguments)


def test_cost_is_measured_in_processes_of_their_own(teacher, small_vocab):
    student = make_model(small_vocab, 3, hidden_size=8)
    found = evaluate(student, teacher, make_cells(30), only=["cost"], baselines=False)
    values = found.values["student"]
    assert values["cost/parameters"] == student[0].num_parameters() < found.values["teacher"]["cost/parameters"]
    assert values["cost/compression"] == pytest.approx(teacher[0].num_parameters() / student[0].num_parameters())
    assert values["cost/cells_per_second"] > 0 and values["cost/peak_memory"] > 1e8
    assert values["cost/speedup"] == pytest.approx(
        values["cost/cells_per_second"] / found.values["teacher"]["cost/cells_per_second"]
    )
