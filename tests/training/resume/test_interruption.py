"""Runs that are told to end, that meet another run, or that carry on with other settings; the runs are whole ones."""

import json
import os
import signal
import subprocess

import pytest
import torch

from tahoe_distill.training.resume.interruption import Interruption
from tests.helpers import HELPERS, REPOSITORY
from tests.helpers.whole_runs import weights


@pytest.fixture
def config(run_config):
    """A run of 8 batches that keeps its checkpoints, its files in the folder that it runs in."""
    return {
        **run_config,
        "max_duration": "8ba",
        "eval_interval": "8ba",
        "save_folder": "checkpoints",
        "save_interval": "100ba",
        "save_overwrite": True,
        "autoresume": True,
        "callbacks": {"hf_student": {"folder": "hf", "verify": False}, "kill_at": {"plan": "plan.json"}},
        "code_paths": [str(HELPERS / "kill_at.py")],
    }


def planned(folder, *points):
    folder.mkdir()
    (folder / "plan.json").write_text(json.dumps(points))
    return folder


@pytest.fixture(scope="module")
def whole(runs, tmp_path_factory):
    """Students of runs that nobody told to end, by number of processes."""
    students = {}

    def run(config, processes):
        if processes not in students:
            folder = planned(tmp_path_factory.mktemp("whole") / "run")
            code, output = runs.distill(folder, config, processes=processes)
            assert code == 0, output
            students[processes] = weights(folder / "hf")
        return students[processes]

    return run


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_told_to_end_saves_and_carries_on(runs, config, tmp_path, whole, processes):
    if processes == 2:
        config["fsdp_config"] = {"state_dict_type": "full"}
    folder = planned(tmp_path / "run", ("told", 4))
    code, output = runs.distill(folder, config, processes=processes)
    assert code == 75, output
    assert "SIGTERM: ending after this batch" in output
    assert (folder / "checkpoints" / "ep0-ba5-rank0.pt").exists() and not (folder / "hf").exists()
    assert not (folder / "checkpoints" / ".lock.json").exists()
    code, output = runs.distill(folder, config, processes=processes)
    assert code == 0, output
    assert "carrying on after batch 5" in output
    found, expected = weights(folder / "hf"), whole(config, processes)
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def test_a_run_says_what_it_trains_and_what_came_of_it(runs, config, tmp_path):
    folder = planned(tmp_path / "run")
    code, output = runs.distill(folder, config)
    assert code == 0, output
    lines = output.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("distilling "))
    assert "48 cells for training, 12 for evaluation (eval), 8 a batch, for 8ba, from the beginning" in lines[first]
    assert "student to hf, checkpoints in checkpoints" in lines[first]
    assert lines[-4:-1] == [
        "the student is in hf",
        "the checkpoints are in checkpoints",
        "next: tahoe-distill embed --model hf --adata cells.h5ad --out embedded.h5ad",
    ]
    assert lines[-1].startswith("how good is it: tahoe-distill evaluate --student hf --teacher ")
    assert "Setting seed" not in "".join(lines[first:]) and "run_name: test" not in output


def test_another_run_in_the_same_folder_is_refused(runs, config, tmp_path):
    folder = planned(tmp_path / "run")
    slow = {**config, "max_duration": "40ba", "eval_interval": "40ba"}
    numbers = [runs.start(folder, slow), runs.start(folder, slow)]
    ends = [runs.finish(number) for number in numbers]
    assert sorted(code for code, _ in ends) == [0, 1]
    refused = next(output for code, output in ends if code == 1)
    assert "checkpoints is held by the run test (process" in refused and "Traceback" not in refused


def test_a_run_that_carries_on_is_held_to_what_it_was(runs, config, tmp_path):
    folder = planned(tmp_path / "run", ("told", 3))
    assert runs.distill(folder, config)[0] == 75
    config["model"]["student"] = {**config["model"]["student"], "num_hidden_layers": 2}
    code, output = runs.distill(folder, config)
    assert code == 1
    assert "model.student.num_hidden_layers: 1 in the checkpoint, 2 now" in output
    assert "resume_anyway=[model.student.num_hidden_layers]" in output and "Traceback" not in output
    config["model"]["student"]["num_hidden_layers"] = 1
    config["optimizer"] = {**config["optimizer"], "lr": 2.0e-3}
    code, output = runs.distill(folder, config)
    assert code == 0, output
    assert "optimizer.lr: 0.001 in the checkpoint, 0.002 now" in output


def test_a_batch_larger_than_the_data_is_refused_with_both_numbers(runs, config, tmp_path):
    folder = planned(tmp_path / "run")
    code, output = runs.distill(folder, {**config, "global_train_batch_size": 64, "device_train_microbatch_size": 64})
    assert code == 1 and not (folder / "hf").exists()
    assert "train_loader gives no batch: it has 48 cells a process, a batch is of 64" in output


def test_a_loss_that_is_no_number_ends_in_a_paragraph(runs, config, tmp_path):
    folder = planned(tmp_path / "run")
    code, output = runs.distill(folder, {**config, "optimizer": {**config["optimizer"], "lr": 1.0e30}})
    assert code == 1
    assert "distill: error: the loss is nan at batch" in output and "Traceback" not in output


def test_a_scheduler_that_tells_every_process_gets_a_checkpoint(runs, config, tmp_path):
    """The helpers of a run, and those that load its data, do not end of the signal."""
    config["train_loader"] = {**config["train_loader"], "num_workers": 1}
    folder = planned(tmp_path / "run", ("told_all", 4))
    code, output = runs.distill(folder, config)
    assert code == 75, output
    assert "SIGUSR1: ending after this batch" in output and "died unexpectedly" not in output
    assert (folder / "checkpoints" / "ep0-ba5-rank0.pt").exists()


@pytest.fixture
def interruption(monkeypatch):
    ended = []
    monkeypatch.setattr("os.kill", lambda process, number: ended.append(number))
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    return Interruption(), ended


def test_what_the_launcher_repeats_is_the_same_signal(interruption, monkeypatch):
    told, ended = interruption
    clock = iter([100.0, 100.5, 130.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    told._receive(signal.SIGUSR1, None)
    told._receive(signal.SIGTERM, None)
    assert told.received == signal.SIGUSR1 and ended == []
    told._receive(signal.SIGTERM, None)
    assert ended == [signal.SIGTERM]


@pytest.mark.parametrize(("code", "requeued"), [(75, True), (0, False), (1, False)])
def test_the_job_of_slurm_goes_back_into_the_queue_after_a_checkpoint_alone(tmp_path, code, requeued):
    stubs = {
        "srun": 'shift; export SLURM_NODEID=0; exec "$@"',
        "scontrol": 'echo "$@" >> scontrol.log; echo node1; echo node2',
        # That an ignored signal stays ignored is what keeps the launcher alive.
        "composer": f'kill -USR1 $$; echo "$@" > composer.log; exit {code}',
    }
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    variables = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2", "SLURM_GPUS_ON_NODE": "4", "SLURM_JOB_NODELIST": "n"}
    environment = {**os.environ, **variables, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    script = REPOSITORY / "configs/slurm/node.sbatch"
    done = subprocess.run(["bash", script, "max_duration=1ep"], cwd=tmp_path, env=environment, check=False)
    assert done.returncode == code
    given = (tmp_path / "composer.log").read_text()
    assert "--nproc 4 --world_size 8 --node_rank 0 --master_addr node1 " in given
    assert given.endswith("-f configs/70m.yaml variables.run_folder=runs/70m max_duration=1ep\n")
    assert ("requeue 7" in (tmp_path / "scontrol.log").read_text()) is requeued
