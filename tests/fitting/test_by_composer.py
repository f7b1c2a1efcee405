"""Transformer students of `distill`: a run of Composer, its student handed back."""

import json

import numpy as np
import pytest

import tahoe_distill
from tahoe_distill.fitting import by_composer
from tahoe_distill.fitting.labelled import FitSettings
from tests.conftest import STUDENT

QUICK = FitSettings(steps=3, batch_size=16, device="cpu")


def test_a_transformer_is_trained_and_handed_back(fit_cells, small_teacher, tmp_path):
    fitted = tahoe_distill.distill(
        fit_cells, small_teacher, STUDENT, out=tmp_path / "hf", settings=QUICK, progress=False
    )
    assert fitted.model.config.encoder == "transformer" and not fitted.model.training
    record = json.loads((tmp_path / "hf/training_hyperparameters.json").read_text())
    assert record == fitted.record and record["max_duration"] == "3ba" and record["model"]["student"] == STUDENT
    assert fitted.training["batches"] == 3 and 0 <= fitted.metrics["eval/knn_overlap"] <= 1
    vectors = tahoe_distill.embed(fit_cells, fitted, copy=True).obsm["X_tx1"]
    assert vectors.shape == (140, 16) and np.isfinite(vectors).all()


def test_a_run_that_fails_says_why(fit_cells, small_teacher, tmp_path):
    wrong = {**STUDENT, "hidden_size": 512}
    with pytest.raises(RuntimeError, match="the student is 512 wide, its teacher 16"):
        by_composer.train_transformer(fit_cells, small_teacher, wrong, out=tmp_path / "hf", settings=QUICK)
    assert not (tmp_path / "hf").exists()


def test_without_composer_the_extra_is_named(fit_cells, small_teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(by_composer.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"composer, llmfoundry, streaming is not installed.*\[train\]"):
        tahoe_distill.distill(fit_cells, small_teacher, "tiny", out=tmp_path / "hf")


def test_what_a_run_cannot_do_is_refused_first(fit_cells, small_teacher, tmp_path):
    for options in ({"teacher_key": "X_kind", "out": tmp_path / "hf"}, {"teacher": small_teacher}):
        with pytest.raises(ValueError, match="a transformer student needs a teacher"):
            tahoe_distill.distill(fit_cells, student="tiny", **options)
    with pytest.raises(ValueError, match="has no closed form"):
        tahoe_distill.distill(fit_cells, small_teacher, "tiny", out=tmp_path / "hf", settings=FitSettings(steps=0))
