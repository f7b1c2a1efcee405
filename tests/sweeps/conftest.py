"""A base that a stand-in for a run takes, and studies over it."""

import sys
from pathlib import Path

import pytest

from tahoe_distill.sweeps import Study, Worker
from tahoe_distill.sweeps.runs import base_of
from tahoe_distill.sweeps.spec import SweepSpec

FAKE = (sys.executable, str(Path(__file__).with_name("fake_run.py")))


@pytest.fixture
def run(tmp_path):
    """The YAML of a base."""
    return {
        "run_name": "base",
        "seed": 17,
        "max_duration": "40ba",
        "eval_interval": "20ba",
        "scheduler": {"name": "constant", "t_warmup": "8ba"},
        "optimizer": {"lr": 1},
        "train_loader": {"dataset": {"local": str(tmp_path / "train"), "shuffle_seed": "${seed}"}},
        "global_train_batch_size": 4,
        "callbacks": {"hf_student": {"folder": "hf", "best": "eval/knn_overlap"}},
        "loggers": {"wandb": {}},
        "fake": {"log": str(tmp_path / "starts.txt")},
    }


@pytest.fixture
def sweep(tmp_path):
    """The YAML of a sweep over its learning rate."""
    return {
        "base": "base.yaml",
        "out": str(tmp_path / "study"),
        "metric": "eval/knn_overlap",
        "space": {"lr": {"key": "optimizer.lr", "values": [1, 2, 3, 5]}},
        "trial": {"batches": 0.5, "evaluations": 2},
    }


@pytest.fixture
def open_study(run, sweep):
    """Opens the study of the sweep, with other keys of both where given."""

    def opened(mode="max", run=run, **keys):
        spec = SweepSpec.read({**sweep, **keys})
        return Study(spec, base_of(spec, run), mode=mode)

    return opened


@pytest.fixture
def work():
    """Works on a study until nothing is left; returns what was said."""

    def worked(study, jobs=1):
        said = []
        Worker(study, jobs=jobs, command=FAKE, say=said.append, poll=0.02).run()
        return said

    return worked
