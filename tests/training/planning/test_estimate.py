"""What a plan says, against what a small run then does."""

import json
from itertools import chain

import pytest

from tahoe_distill.cli.main import main
from tahoe_distill.teacher.published import PUBLISHED, published
from tahoe_distill.training.planning.estimate import estimate, unusual
from tahoe_distill.training.planning.models import build_model, made_up_batch, saved_bytes
from tests.helpers.in_process import train


@pytest.fixture
def run(run_config, tmp_path):
    """Two epochs of the small teacher, with checkpoints and an export."""
    folder = {"folder": str(tmp_path / "hf"), "save_interval": "1dur"}
    return run_config | {
        "max_duration": "2ep",
        "save_folder": str(tmp_path / "ckpt"),
        "save_interval": "1ep",
        "save_num_checkpoints_to_keep": 1,
        "callbacks": {**run_config["callbacks"], "hf_student": folder},
    }


def test_a_run_does_what_its_plan_says(run, tmp_path):
    model = build_model(run)
    found = estimate(model, run, rate=100.0)
    trainer = train(run, tmp_path / "run.yaml")
    assert found.schedule.batches == trainer.state.timestamp.batch.value
    assert found.schedule.cells_seen == trainer.state.timestamp.sample.value
    assert found.seconds == pytest.approx(found.schedule.cells_seen / 100)
    student = trainer.state.model.student
    assert found.models.student == sum(p.numel() for p in student.parameters() if p.requires_grad)
    batch = made_up_batch(model, 3, found.models.length)
    assert 3 * (found.models.teacher_flops + found.models.student_flops) == trainer.state.model.flops_per_batch(batch)
    weights = (tmp_path / "hf/model.safetensors").stat().st_size
    # Beside the weights stand their names.
    assert 0 < weights - found.exports < 8192
    (checkpoint,) = (path for path in (tmp_path / "ckpt").glob("*.pt") if not path.is_symlink())
    assert 0 < checkpoint.stat().st_size - found.checkpoints < 100_000


def test_memory_is_counted_in_cells(run):
    model = build_model(run)
    two, six = (saved_bytes(model, cells, length=16, precision="fp32") for cells in (2, 6))
    assert two > 0 and six == pytest.approx(3 * two, rel=0.02)
    sizes = estimate(model, run).models
    assert sizes.memory(8, 1) - sizes.memory(4, 1) == 4 * sizes.activations
    assert sizes.memory(0, 2) == sizes.teacher_bytes + sizes.states // 2


@pytest.mark.parametrize(("size", "millions"), [("70m", 71.0), ("1b", 1340), ("3b", 2700)])
def test_published_sizes_have_the_published_number_of_parameters(size, millions):
    import torch

    from tahoe_distill.models import Tx1Model

    with torch.device("meta"):
        model = Tx1Model(published(size))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.015)
    with pytest.raises(ValueError, match="unknown published size '7m'; did you mean '70m'"):
        published("7m")
    assert set(PUBLISHED) == {"70m", "1b", "3b"}


def test_what_is_seldom_meant_is_said(run):
    model = build_model(run)
    assert not list(unusual(run, estimate(model, run)))
    odd = run | {"max_duration": "3ba", "eval_interval": "10ba", "save_interval": "5ba", "global_train_batch_size": 7}
    odd |= {"device_train_microbatch_size": 4}
    said = "\n".join(unusual(odd, estimate(model, odd)))
    assert "eval_interval is 10ba, longer than the run of 3 batches" in said and "save_interval is 5ba" in said
    assert "a batch of 7 is no whole number of microbatches of 4" in said
    large = run | {"global_train_batch_size": 10_000}
    assert "nothing to train on" in "\n".join(unusual(large, estimate(model, large)))
    long = run | {"max_duration": "5000ep"}
    assert "5,000 times over its cells" in "\n".join(unusual(long, estimate(model, long)))


def test_the_command_says_it_and_writes_it(run, tmp_path, capsys):
    import yaml

    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    command = ["plan", "-f", str(tmp_path / "run.yaml"), "--measure", "max_duration=4ba", "--dollars", "3"]
    assert main([*command, "--json", str(tmp_path / "plan.json")]) == 0
    told = capsys.readouterr().out
    record = json.loads((tmp_path / "plan.json").read_text())
    assert record["schedule"]["batches"] == 4 and record["rate"] > 0 and "measured on this machine" in told
    assert not (tmp_path / "ckpt").exists() and not (tmp_path / "hf").exists()


def test_streams_in_a_store_that_is_out_of_reach_are_counted_as_published(run):
    address = "s3://nowhere-to-be-found/MFM/cellxgene_2025_01_21_merged_MDS"
    streams = {"blood": {"remote": f"{address}/train", "local": "/nonexistent"}}
    far = run | {"train_loader": {**run["train_loader"], "dataset": {"streams": streams}}, "max_duration": "10ba"}
    found = estimate(build_model(run), far)
    assert found.schedule.cells == 61_000_000 and found.to_fetch is None and found.streams[0].problem


BAD = {
    "--devices=0": "--devices is 0; expected at least 1",
    "--rate=-1": "--rate is -1; expected a number above 0",
    "--utilisation=2": "--utilisation is 2; expected a share",
    "--rate=3 --tflops=2": "--rate and --tflops are given; expected one of them",
    "optimizer.lr=-1": "optimizer.lr: found -1",
    "models.student=small": "'models'",
}


@pytest.mark.parametrize(("arguments", "message"), BAD.items(), ids=list(BAD))
def test_bad_input_is_one_paragraph(run, tmp_path, capsys, arguments, message):
    import yaml

    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    assert main(list(chain(["plan", "-f", str(tmp_path / "run.yaml")], arguments.split()))) == 1
    assert message in capsys.readouterr().err
