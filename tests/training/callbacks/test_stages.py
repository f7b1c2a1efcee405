"""What a stage's end leaves: a checkpoint and an export, kept, in a real fit of Composer's trainer."""

import pytest

from tahoe_distill.training.callbacks.hf_student import HFStudentCallback
from tahoe_distill.training.model import TahoeDistillModel
from tahoe_distill.training.resume.checkpoint_files import find_checkpoints
from tests.helpers.fits import fit

TAU = {"schedule": "linear", "start": 4.0, "end": 0.5, "stages": 4}
OBJECTIVES = {"cosine": 1.0, "relational": {"standardize": True, "tau": TAU}}


@pytest.fixture
def train(tmp_path, small_teacher, student_spec, batch):
    """A function that trains for 8 batches and gives the batches of checkpoints and the names of exports."""

    def run(objectives=OBJECTIVES, **settings):
        model = TahoeDistillModel(student_spec, str(small_teacher), objectives)
        settings = {"save_interval": "3ba", "save_num_checkpoints_to_keep": 1, "save_overwrite": True, **settings}
        export = HFStudentCallback({"autoresume": True}, tmp_path / "hf", verify=False)
        fit(model, [batch] * 8, export, save_folder=str(tmp_path / "saved"), run_name="r", **settings)
        saved = {checkpoint.batch for checkpoint in find_checkpoints(tmp_path / "saved")}
        return saved, {path.name for path in tmp_path.iterdir()} - {"saved"}

    return run


def test_each_stage_leaves_a_checkpoint_and_an_export(train):
    saved, exported = train()
    # Of the interval's own, at 3, 6 and the end, the last is kept; 6 is a stage's end too.
    assert saved == {2, 4, 6, 8}
    assert exported == {"hf", "hf-ba2", "hf-ba4", "hf-ba6"}


def test_without_stages_there_is_nothing_of_the_kind(train):
    saved, exported = train({"cosine": {"weight": {"start": 1.0, "end": 0.5}}})
    assert saved == {8} and exported == {"hf"}


def test_a_run_in_epochs_has_its_stages_end_with_epochs(train):
    saved, exported = train(max_duration="4ep", save_interval="1ba")
    assert saved == {8, 16, 24, 32}
    # Composer's interval of "1dur" comes with the last batch too where the duration is in epochs.
    assert exported - {"hf-ba32"} == {"hf", "hf-ba8", "hf-ba16", "hf-ba24"}


def test_a_run_that_carries_on_keeps_what_its_stages_left(train, tmp_path):
    train(max_duration="5ba", autoresume=True)
    saved, exported = train(autoresume=True)
    assert {2, 6} <= saved and {"hf-ba2", "hf-ba6"} <= exported
