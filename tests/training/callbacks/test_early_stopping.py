"""Early stopping and the best student, from YAML to the exported folders."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from composer.callbacks import EarlyStopper

from tahoe_distill.metrics import CenteredCosine, KNNOverlap, LossTerm, MaskedExpressionMSE, NormalizedMSE
from tahoe_distill.models import Tx1Model
from tahoe_distill.training.callbacks.early_stopping import StoppingMemory
from tests.helpers.in_process import train


@pytest.fixture
def config(run_config, tmp_path):
    """Six batches, each evaluated; nothing improves after the first, since nothing is learned."""
    run_config["callbacks"] = {
        "hf_student": {"folder": str(tmp_path / "hf"), "verify": False, "best": "eval/centered_cosine"},
        "early_stopper": {"monitor": "centered_cosine", "dataloader_label": "eval", "patience": "2ba"},
    }
    return {
        **run_config,
        "eval_interval": "1ba",
        "optimizer": {"name": "decoupled_adamw", "lr": 0.0, "weight_decay": 0.0},
    }


def embedding_table(folder):
    return Tx1Model.from_pretrained(folder).gene_encoder.embedding.weight


@pytest.mark.parametrize("duration", ["12ba", "3ep"])
def test_a_run_that_stops_early_is_exported(tmp_path, config, duration):
    trainer = train({**config, "max_duration": duration}, tmp_path / "run.yaml")
    assert trainer.state.timestamp.batch == 4
    assert {path.name for path in tmp_path.glob("hf*")} == {"hf", "hf-best"}
    metrics = json.loads((tmp_path / "hf/metrics.json").read_text())
    best = json.loads((tmp_path / "hf-best/best.json").read_text())
    assert best == {"metric": "eval/centered_cosine", "mode": "max", "value": metrics[best["metric"]], "batch": 1}


def test_the_best_folder_follows_the_evaluations_and_survives_a_resume(tmp_path, config):
    del config["callbacks"]["early_stopper"]
    config["callbacks"]["hf_student"]["best"] = {"metric": "eval/loss", "mode": "max"}
    config |= {"optimizer": {"name": "decoupled_adamw", "lr": 0.02}, "save_folder": str(tmp_path / "checkpoints")}
    config |= {"save_interval": "2ba", "save_overwrite": True, "autoresume": True}
    train({**config, "max_duration": "2ba"}, tmp_path / "run.yaml")
    first = json.loads((tmp_path / "hf-best/best.json").read_text())
    # The loss of a student that learns is highest at the first evaluation, so no later one is an improvement.
    assert first["batch"] == 1
    table = embedding_table(tmp_path / "hf-best")
    assert not torch.equal(table, embedding_table(tmp_path / "hf"))
    config["callbacks"]["hf_student"]["overwrite"] = True
    trainer = train({**config, "max_duration": "4ba"}, tmp_path / "run.yaml")
    assert trainer.state.timestamp.batch == 4
    assert json.loads((tmp_path / "hf-best/best.json").read_text()) == first
    assert torch.equal(table, embedding_table(tmp_path / "hf-best"))


@pytest.fixture
def resumable(config, tmp_path):
    config |= {"save_folder": str(tmp_path / "checkpoints"), "save_interval": "1ba", "save_overwrite": True}
    config["callbacks"]["hf_student"]["overwrite"] = True
    return {**config, "autoresume": True}


def test_a_resumed_run_stops_where_the_whole_one_does(tmp_path, resumable):
    train({**resumable, "max_duration": "3ba"}, tmp_path / "run.yaml")
    trainer = train({**resumable, "max_duration": "12ba"}, tmp_path / "run.yaml")
    assert trainer.state.timestamp.batch == 4


def test_a_run_that_stopped_is_exported_and_not_trained_further(tmp_path, resumable, caplog):
    train({**resumable, "max_duration": "12ba"}, tmp_path / "run.yaml")
    table = embedding_table(tmp_path / "hf")
    shutil.rmtree(tmp_path / "hf")
    trainer = train({**resumable, "max_duration": "12ba"}, tmp_path / "run.yaml")
    assert trainer.state.timestamp.batch == 4
    assert "the run had stopped early at batch 4" in caplog.text
    assert torch.equal(table, embedding_table(tmp_path / "hf"))


def test_more_patience_takes_a_stopped_run_further(tmp_path, resumable):
    train({**resumable, "max_duration": "12ba"}, tmp_path / "run.yaml")
    resumable["callbacks"]["early_stopper"]["patience"] = "4ba"
    trainer = train({**resumable, "max_duration": "12ba"}, tmp_path / "run.yaml")
    assert trainer.state.timestamp.batch == 6


def test_only_a_best_folder_of_the_same_run_is_replaced(tmp_path, config):
    train(config, tmp_path / "run.yaml")
    shutil.rmtree(tmp_path / "hf")
    train(config, tmp_path / "run.yaml")
    shutil.rmtree(tmp_path / "hf")
    with pytest.raises(FileExistsError, match="hf-best exists already; remove it"):
        train({**config, "seed": 2}, tmp_path / "run.yaml")


def stopper(monitor, metric, **options):
    """An early stopper as it is once the run has checked it."""
    early = EarlyStopper(monitor, "eval", **options)
    state = SimpleNamespace(callbacks=[early], eval_metrics={"eval": {monitor: metric}})
    StoppingMemory(state).check(state)
    return early


@pytest.mark.parametrize(
    ("metric", "comparison"),
    [
        (NormalizedMSE, torch.less),
        (MaskedExpressionMSE, torch.less),
        (CenteredCosine, torch.greater),
        (KNNOverlap, torch.greater),
    ],
)
def test_values_are_compared_as_the_metric_says(metric, comparison):
    assert stopper(metric.name, metric()).comp_func is comparison


def test_a_loss_with_a_misleading_name_and_what_the_user_says():
    assert stopper("terrors_found", KNNOverlap()).comp_func is torch.greater
    assert stopper("cosine_loss", LossTerm("cosine")).comp_func is torch.less
    assert stopper("cosine_loss", LossTerm("cosine"), comp="greater").comp_func is torch.greater
    assert stopper("knn_overlap", KNNOverlap(), comp="less").comp_func is torch.less


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        ({"hf_student": {"best": "eval/centred_cosine"}}, "hf_student.best: .*did you mean 'centered_cosine'"),
        ({"hf_student": {"best": "val/cosine"}}, "best.metric: .*did you mean 'eval/cosine'"),
        ({"early_stopper": {"monitor": "cosin", "dataloader_label": "eval"}}, "'eval/cosin'; did you mean 'eval/cos"),
        ({"early_stopper": {"monitor": "loss", "dataloader_label": "train"}}, "Known: eval/centered_cosine, eval/"),
        (
            {"early_stopper": {"monitor": "loss", "dataloader_label": "eval", "patience": "8sp"}},
            "patience must be in epochs or batches, such as 3ep or 2000ba; found 8sp",
        ),
    ],
)
def test_misspelt_settings_are_refused_before_training(tmp_path, config, callbacks, message):
    config["callbacks"] = {
        **callbacks,
        "hf_student": {"folder": str(tmp_path / "hf"), **callbacks.get("hf_student", {})},
    }
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run.yaml")
    assert not (tmp_path / "hf").exists()
