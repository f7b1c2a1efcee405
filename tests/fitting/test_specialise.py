"""Specialising: the pruned student gives what it gave, training brings it closer, other students are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tahoe_distill
from tahoe_distill.cells import open_cells
from tahoe_distill.cli.main import main
from tahoe_distill.fitting.cells import count_cells
from tahoe_distill.fitting.fit import fit_student
from tahoe_distill.fitting.specialise import prune, specialise
from tahoe_distill.fitting.targets import Given
from tests.fitting.conftest import QUICK, STUDENT
from tests.helpers.tiny_student import tiny_pair


@pytest.fixture(scope="module")
def student(counted, teacher):
    fitted = fit_student(counted, teacher, {**STUDENT, "set_pools": ["mean", "attention"]}, settings=QUICK)
    return fitted.model, fitted.processor


@pytest.fixture(scope="module")
def atlas(fit_cells, teacher):
    few = fit_cells.copy()
    few.X = few.X.multiply(np.arange(40) < 30).tocsr()
    with open_cells(few) as cells:
        return few, count_cells(cells, teacher.processor.vocab)


def test_a_pruned_student_gives_the_same_vectors(student, atlas):
    few, counted = atlas
    pruned = prune(*student, counted)
    assert len(pruned[1].vocab.tokens) < len(student[1].vocab.tokens)
    for name, pair in {"whole": student, "pruned": pruned}.items():
        tahoe_distill.embed(few, pair, key_added=name, normalize=False)
    np.testing.assert_allclose(few.obsm["pruned"], few.obsm["whole"], atol=1e-5)


def test_training_brings_it_closer_and_leaves_the_given_one_alone(student, atlas, counted, teacher):
    before = {name: weight.clone() for name, weight in student[0].state_dict().items()}
    found = specialise(student, atlas[1], teacher, other=counted, settings=replace(QUICK, steps=150))
    assert found.metrics["eval/centered_cosine"] > found.metrics["before/centered_cosine"]
    assert {"before_other/knn_overlap", "other/knn_overlap"} < set(found.metrics)
    assert all(torch.equal(weight, before[name]) for name, weight in student[0].state_dict().items())


def test_what_cannot_be_specialised_is_refused(student, atlas, teacher, counted):
    with pytest.raises(ValueError, match="this one is a transformer"):
        specialise(tiny_pair(), atlas[1], teacher, settings=QUICK)
    vectors = Given(np.random.default_rng(0).normal(size=(140, 5)).astype(np.float32), "mine")
    with pytest.raises(ValueError, match="gives 16 coordinates, its teacher 5"):
        specialise(student, atlas[1], vectors, settings=QUICK)
    vectors = Given(np.random.default_rng(0).normal(size=(140, 16)).astype(np.float32), "mine")
    with pytest.raises(ValueError, match="other cells are judged by a teacher"):
        specialise(student, atlas[1], vectors, other=counted, settings=QUICK)


def test_the_command(fit_cells, atlas, small_teacher, tmp_path, capsys):
    source, few, common = tmp_path / "cells.h5ad", tmp_path / "few.h5ad", ["--views", "2", "--steps", "3", "--quiet"]
    fit_cells.write_h5ad(source)
    atlas[0].write_h5ad(few)
    fit = ["fit", str(source), "--teacher", str(small_teacher), "--student", "static-tiny", "--out"]
    assert main([*fit, str(tmp_path / "hf"), *common]) == 0
    capsys.readouterr()
    special = ["specialise", str(tmp_path / "hf"), "--adata", str(few), "--teacher", str(small_teacher)]
    assert main([*special, "--other", str(source), "--out", str(tmp_path / "special"), *common]) == 0
    shown = capsys.readouterr().out
    assert "student, before" in shown and "student, refined" in shown and "other cells, after" in shown
    assert "Beside them, on the same cells, the student that" in (tmp_path / "special/README.md").read_text()
    assert main([*special, "--out", str(tmp_path / "hf")]) == 1
    assert "exists already" in capsys.readouterr().err
