"""The export callback in a real fit of Composer's trainer."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tahoe_distill.annotation.annotate import load_classifier
from tahoe_distill.hub import export
from tahoe_distill.hub.card import card_of_folder
from tahoe_distill.hub.folder import strays
from tahoe_distill.hub.push import NotBetterError
from tahoe_distill.models import Tx1ForCellClassification, Tx1Model
from tahoe_distill.probes import Probe
from tahoe_distill.teacher import load_teacher
from tahoe_distill.teacher.load import fingerprint_of
from tahoe_distill.training.callbacks import hf_student as export_callback
from tahoe_distill.training.callbacks.hf_student import HFStudentCallback
from tahoe_distill.training.model import TahoeDistillModel
from tests.helpers import fits


@pytest.fixture
def fit(small_teacher, student_spec, batch):
    """A function that trains for three batches with a callback and returns the model."""

    def run(callback):
        model = TahoeDistillModel(student=student_spec, teacher=str(small_teacher))
        fits.fit(model, [batch] * 3, callback)
        return model

    return run


def test_the_end_of_the_fit_writes_the_student(tmp_path, fit):
    run = {"run_name": "r", "model": {"teacher": "t", "objectives": {"cosine": 1.0}}}
    model = fit(HFStudentCallback(run, tmp_path / "hf"))
    exported = Tx1Model.from_pretrained(tmp_path / "hf").state_dict()
    assert all((exported[name] == tensor).all() for name, tensor in model.student.state_dict().items())
    assert json.loads((tmp_path / "hf/training_hyperparameters.json").read_text()) == run
    assert json.loads((tmp_path / "hf/metrics.json").read_text()) == {}
    assert (tmp_path / "hf/README.md").read_text() == card_of_folder(tmp_path / "hf")


def test_a_head_that_was_trained_is_exported_and_recorded(tmp_path, small_teacher, student_spec, batch):
    weights = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    teacher = load_teacher(small_teacher).fingerprint
    (tmp_path / "probe").mkdir()
    Probe(weights, weights[:, 0].copy(), ("a", "b"), 1.0, teacher).save_into(tmp_path / "probe")
    objectives = {"cosine": 1.0, "kl": {"probe": str(tmp_path / "probe")}}
    model = TahoeDistillModel(student_spec, str(small_teacher), objectives)
    fits.fit(model, [batch] * 2, HFStudentCallback({}, tmp_path / "hf"))
    exported = Tx1ForCellClassification.from_pretrained(tmp_path / "hf").state_dict()
    assert (exported["classifier.weight"] == model.objectives.objectives["kl"].head.weight).all()
    assert all((exported[f"tx1.{name}"] == tensor).all() for name, tensor in model.student.state_dict().items())
    (pair, own) = load_classifier(tmp_path / "hf")
    assert own.labels == ("a", "b") and own.record["method"] == "kl"
    assert own.record["fingerprint"] == fingerprint_of(pair[0].state_dict(), pair[1].vocab) != teacher
    card = (tmp_path / "hf/README.md").read_text()
    assert card == card_of_folder(tmp_path / "hf") and "2 labels a cell is, too (`a`, `b`)" in card


def test_an_interval_writes_folders_of_their_own(tmp_path, fit):
    fit(HFStudentCallback({}, tmp_path / "hf", save_interval="1ba", verify=False))
    assert {path.name for path in tmp_path.iterdir()} == {"hf", "hf-ba1", "hf-ba2"}


def test_the_mean_of_the_last_exports(tmp_path, fit):
    fit(HFStudentCallback({}, tmp_path / "hf", save_interval="1ba", verify=False, average_last=2))
    weights = {path.name: load_file(path / "model.safetensors") for path in tmp_path.iterdir()}
    assert set(weights) == {"hf", "hf-ba1", "hf-ba2", "hf-average"}
    for name, found in weights["hf-average"].items():
        expected = (weights["hf"][name].double() + weights["hf-ba2"][name].double()) / 2
        torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7)
    assert any((weights["hf"][name] != found).any() for name, found in weights["hf-average"].items())
    assert json.loads((tmp_path / "hf-average/average.json").read_text()) == {"batches": [2, 3]}
    # Its weights are nobody's that were evaluated.
    assert json.loads((tmp_path / "hf-average/metrics.json").read_text()) == {}
    assert strays(tmp_path / "hf-average") == []


def test_an_average_of_more_exports_than_there_are_is_told(tmp_path, fit, caplog):
    fit(HFStudentCallback({}, tmp_path / "hf", save_interval="2ba", verify=False, average_last=5))
    assert "mean of 5 exports, and there are 2 (batches 2, 3)" in caplog.text
    assert (tmp_path / "hf-average").is_dir()


def test_what_cannot_be_averaged_is_refused_before_any_training(tmp_path):
    with pytest.raises(ValueError, match="average_last must be 2 or more, the exports to average; found 1"):
        HFStudentCallback({}, tmp_path / "hf", average_last=1)
    (tmp_path / "hf-average").mkdir()
    with pytest.raises(FileExistsError, match="hf-average exists already"):
        HFStudentCallback({}, tmp_path / "hf", average_last=2)


def test_a_mismatch_stops_the_run_and_leaves_nothing(tmp_path, fit, monkeypatch):
    golden_vectors = export.golden_vectors

    def others(model, batch=None):
        golden = golden_vectors(model, batch)
        return golden if batch else export.Golden(golden.batch, golden.outputs + 1.0)

    monkeypatch.setattr(export, "golden_vectors", others)
    with pytest.raises(export.GoldenMismatchError, match="hf reloaded gives other cell embeddings"):
        fit(HFStudentCallback({}, tmp_path / "hf"))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_before_any_training(tmp_path):
    (tmp_path / "hf").mkdir()
    with pytest.raises(FileExistsError, match="callbacks.hf_student.overwrite=true"):
        HFStudentCallback({}, tmp_path / "hf")


def test_overwrite_replaces_a_folder(tmp_path, fit):
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "old").write_text("old")
    fit(HFStudentCallback({}, tmp_path / "hf", overwrite=True, verify=False))
    assert not (tmp_path / "hf" / "old").exists()


def test_an_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(ValueError, match="found 'int4'"):
        HFStudentCallback({}, tmp_path / "hf", dtype="int4")


EVAL = {"eval_loader": {"name": "tahoe_mds"}}
PUSH = {"repo_id": "lab/student", "only_if_better": "cosine"}


def test_only_the_last_export_is_published(tmp_path, fit, monkeypatch):
    pushes = []
    monkeypatch.setattr(export_callback, "push_folder", lambda folder, **how: pushes.append((folder, how)) or _Report)
    fit(HFStudentCallback(EVAL, tmp_path / "hf", "1ba", verify=False, push_to_hub=PUSH))
    assert pushes == [(tmp_path / "hf", PUSH)]


def test_a_student_that_is_not_better_is_kept_and_the_run_ends_well(tmp_path, fit, monkeypatch, caplog):
    monkeypatch.setattr(export_callback, "push_folder", _raise(NotBetterError("0.1 here and 0.2 there")))
    fit(HFStudentCallback(EVAL, tmp_path / "hf", verify=False, push_to_hub=PUSH))
    assert "was not published: 0.1 here and 0.2 there" in caplog.text
    assert (tmp_path / "hf" / "model.safetensors").exists()


def test_a_push_that_fails_keeps_the_folder_and_says_how_to_go_on(tmp_path, fit, monkeypatch):
    monkeypatch.setattr(export_callback, "push_folder", _raise(OSError("no route")))
    with pytest.raises(RuntimeError, match=r"\(no route\); publish it with tahoe-distill push .*hf lab/student"):
        fit(HFStudentCallback(EVAL, tmp_path / "hf", verify=False, push_to_hub=PUSH))
    assert (tmp_path / "hf" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repo_id": "a/b", "privat": True}, "hf_student.push_to_hub.privat is unknown; expected the keys repo_id"),
        ({"private": True}, "hf_student.push_to_hub.repo_id is missing"),
        ({"repo_id": "a/b", "only_if_better": "my_mse"}, "push_to_hub: only_if_better: unknown metric 'my_mse'"),
        ({"repo_id": "a/b", "only_if_better": "my_mse", "mode": "least"}, "mode must be max or min; found 'least'"),
        ({"repo_id": "a/b", "mode": "min"}, "push_to_hub: mode is 'min', but no only_if_better"),
        ({"repo_id": "a/b", "private": "yes"}, "push_to_hub.private: expected a bool, found 'yes'"),
        ("a/b", "push_to_hub: expected a mapping"),
    ],
)
def test_bad_push_settings_are_refused_at_the_start(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        HFStudentCallback(EVAL, tmp_path / "hf", push_to_hub=settings)


def test_a_push_without_metrics_is_refused_at_the_start(tmp_path):
    with pytest.raises(ValueError, match="the run has no eval_loader"):
        HFStudentCallback({}, tmp_path / "hf", push_to_hub=PUSH)


class _Report:
    url = "somewhere"


def _raise(error):
    def push(*arguments, **settings):
        raise error

    return push
