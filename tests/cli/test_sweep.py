"""`tahoe-distill sweep` from a YAML to a page, once by a real run; the rest by its checks."""

import json
from pathlib import Path

import pytest
import yaml

from tahoe_distill.cli.main import main
from tahoe_distill.cli.sweep import read_sweep
from tahoe_distill.models import Tx1Config
from tahoe_distill.objectives import Shapes, build_objectives
from tahoe_distill.sweeps.runs import final_run
from tahoe_distill.sweeps.space import grid
from tahoe_distill.training.student.build import student_config
from tests.helpers import REPOSITORY

SWEEPS = sorted((REPOSITORY / "configs/sweeps").glob("*.yaml"))


@pytest.fixture
def written(tmp_path, run_config):
    """Path of a sweep over the weight of an objective of the small run, and its content."""
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(run_config))
    sweep = {
        "base": str(tmp_path / "base.yaml"),
        "out": str(tmp_path / "study"),
        "metric": "eval/knn_overlap",
        "space": {"alpha": {"key": "model.objectives.mse", "values": [0.25, 0.75]}},
        "trial": {"batches": 0.5, "cells": 0.5, "evaluations": 1},
    }
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(sweep))
    return path, sweep


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_ready_ones_fit_their_base(path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    assert main(["sweep", "-f", str(path), "--check", "--seeds", "3"]) == 0
    spec, base = read_sweep(str(path))
    assert path.read_text().startswith(f"# tahoe-distill sweep -f configs/sweeps/{path.name}")
    assert base.seed == 17 and spec.trials >= 6
    for params in grid(spec.space):
        model = final_run(spec, base, params)["model"]
        student = student_config(model["student"], Tx1Config())
        shapes = {"student_width": student.hidden_size, "student_layers": student.num_hidden_layers}
        teacher = {"teacher_width": 512, "teacher_embedding": 512, "teacher_layers": 12}
        build_objectives(model["objectives"], Shapes(student_embedding=student.embedding_size, **shapes, **teacher))


def test_a_ready_one_takes_a_base_that_stands_on_another(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    spec, base = read_sweep("configs/sweeps/temperature.yaml", ["base=configs/70m.yaml", "seed=3", "trial.batches=0.1"])
    assert base.seed == 3 and spec.fraction.batches == 0.1
    assert base.resolved["save_folder"] == "runs/70m/checkpoints" and "base" not in base.written["variables"]
    assert list(base.resolved["model"]["objectives"]) == ["cosine", "relational"]


def test_a_sweep_of_a_real_run(written, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    path, sweep = written
    assert main(["sweep", "-f", str(path), "space.alpha.values=[0.25]", "--figures", "svg"]) == 0
    said, study = capsys.readouterr().out, Path(sweep["out"])
    assert "1 setting of alpha (model.objectives.mse) by grid" in said and "next: composer" in said
    lines = (study / "trials.csv").read_text().splitlines()
    assert len(lines) == 2 and lines[1].startswith("tx1-alpha0.25,complete,eval/knn_overlap,max,")
    assert {"sweep.html", "best.yaml", "sweep-against.svg"} <= {place.name for place in study.iterdir()}
    result = json.loads((study / "runs/tx1-alpha0.25/result.json").read_text())
    # Half of the six batches; the student is there, its checkpoints are not.
    assert result["batch"] == 3 and result["parameters"] > 0 and "eval/loss" in result["metrics"]
    assert not (study / "runs/tx1-alpha0.25/checkpoints").exists()
    best = yaml.safe_load((study / "best.yaml").read_text())
    assert best["max_duration"] == "6ba" and "epoch_size" not in best["train_loader"]["dataset"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["space.alpha.key=model.objectives.mze"], "did you mean model.objectives.mse"),
        (["space.alpha.values=[]"], "space.alpha.values is empty"),
        (["metric=eval/knn_overlop"], "did you mean 'knn_overlap'"),
        (["trails=3"], "the sweep and its base has no option 'trails': did you mean 'trials'"),
        (["base=none.yaml"], "none.yaml does not exist"),
        (["global_train_batch_size=0"], "global_train_batch_size: found 0"),
    ],
)
def test_what_is_wrong_is_told_before_anything_starts(written, capsys, overrides, said):
    path, sweep = written
    assert main(["sweep", "-f", str(path), *overrides]) == 1
    assert said in capsys.readouterr().err
    assert not (Path(sweep["out"]) / "runs").exists()


def test_two_equal_seeds_are_refused(written, capsys):
    assert main(["sweep", "-f", str(written[0]), "--seeds", "17", "17"]) == 1
    assert "seeds has 17 twice" in capsys.readouterr().err
