"""The export callback in a real fit of Composer's trainer."""

import json

import pytest
from composer import Trainer
from torch.utils.data import DataLoader

from tahoe_distill.hub import export
from tahoe_distill.models import Tx1Model
from tahoe_distill.training.export_callback import HFStudentCallback
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.steps_callback import DistillationCallback


@pytest.fixture
def fit(small_teacher, student_spec, batch):
    def run(callback, batches=3):
        model = TahoeDistillModel(student=student_spec, teacher=str(small_teacher))
        loader = DataLoader([batch] * batches, batch_size=None)
        Trainer(
            model=model,
            train_dataloader=loader,
            max_duration=f"{batches}ba",
            callbacks=[callback, DistillationCallback()],
            device="cpu",
            device_train_microbatch_size=4,
            progress_bar=False,
            accumulate_train_batch_on_tokens=False,
        ).fit()
        return model

    return run


def test_the_end_of_the_fit_writes_the_student(tmp_path, fit):
    run = {"run_name": "r", "model": {"teacher": "t", "objectives": {"cosine": 1.0}}}
    model = fit(HFStudentCallback(run, tmp_path / "hf"))
    exported = Tx1Model.from_pretrained(tmp_path / "hf").state_dict()
    assert all((exported[name] == tensor).all() for name, tensor in model.student.state_dict().items())
    assert json.loads((tmp_path / "hf/training_hyperparameters.json").read_text()) == run
    assert json.loads((tmp_path / "hf/metrics.json").read_text()) == {}


def test_an_interval_writes_folders_of_their_own(tmp_path, fit):
    fit(HFStudentCallback({}, tmp_path / "hf", save_interval="1ba", verify=False))
    assert {path.name for path in tmp_path.iterdir()} == {"hf", "hf-ba1", "hf-ba2"}


def test_a_mismatch_stops_the_run_and_leaves_nothing(tmp_path, fit, monkeypatch):
    embed_probe = export._embed_probe
    monkeypatch.setattr(export, "_embed_probe", lambda model, batch: embed_probe(model, batch) + 1.0)
    with pytest.raises(export.ExportMismatchError, match="first values"):
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
