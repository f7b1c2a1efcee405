"""Whole runs of `scripts/distill.py`, the first one started by `composer` as a user does."""

import re

import numpy as np
import pytest
import torch
import yaml

from tests.helpers.whole_runs import distill, weights


def test_one_process_trains_and_exports(tmp_path, run_config):
    config = {**run_config, "save_folder": str(tmp_path / "ckpt"), "save_interval": "6ba"}
    code, output = distill(tmp_path, config)
    assert code == 0, output
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert names >= {"config.json", "model.safetensors", "README.md", "metrics.json", "training_hyperparameters.json"}
    metrics = yaml.safe_load((tmp_path / "hf/metrics.json").read_text())
    fidelity = {"cosine", "centered_cosine", "normalized_mse", "knn_overlap"}
    assert set(metrics) == {f"eval/{name}" for name in fidelity | {"loss", "cosine_loss", "mse_loss"}}
    assert np.isfinite(list(metrics.values())).all()
    # A checkpoint of our own making, in a folder of our own: the only kind that may be unpickled.
    checkpoint = torch.load(next((tmp_path / "ckpt").glob("ep*")), weights_only=False, map_location="cpu")
    names = checkpoint["state"]["model"]
    assert not [name for name in names if "teacher" in name and name != "teacher_fingerprint"]
    saved = sum(tensor.numel() for name, tensor in names.items() if name.startswith("student."))
    assert saved == sum(tensor.numel() for tensor in weights(tmp_path / "hf").values())


def test_two_processes_shard_the_student_judge_it_and_export_it_whole(runs, tmp_path, run_config, small_cells):
    small_cells[40:].copy().write_h5ad(tmp_path / "cells.h5ad")
    callbacks = {
        **run_config["callbacks"],
        "hf_student": {**run_config["callbacks"]["hf_student"], "best": "cells/fidelity/knn_overlap_10"},
        "evaluate": {"adata": str(tmp_path / "cells.h5ad"), "label_key": "kind"},
    }
    config = {**run_config, "callbacks": callbacks, "fsdp_config": {"state_dict_type": "full"}}
    code, output = runs.distill(tmp_path, config, processes=2)
    assert code == 0, output
    metrics = yaml.safe_load((tmp_path / "hf/metrics.json").read_text())
    best = yaml.safe_load((tmp_path / "hf-best/best.json").read_text())
    assert 0 <= metrics["cells/fidelity/knn_overlap_10"] == best["value"] <= 1
    exported = weights(tmp_path / "hf")
    assert exported["transformer_encoder.layers.0.self_attn.Wqkv.weight"].shape == (24, 8)
    assert all(torch.isfinite(tensor).all() for tensor in exported.values())


def test_overrides_reach_the_run(runs, tmp_path, run_config):
    settings = ("max_duration=1ba", f"callbacks.hf_student.folder={tmp_path}/other")
    code, output = runs.distill(tmp_path, run_config, *settings)
    assert code == 0, output
    assert (tmp_path / "other/config.json").is_file()
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_durration": "1ba"}, "max_durration"),
        ({"model": {"name": "tahoe_distill", "teacher": "nowhere", "student": "tiny"}}, "nowhere"),
    ],
)
def test_bad_configs_end_in_one_clear_message(runs, tmp_path, run_config, change, message):
    code, output = runs.distill(tmp_path, {**run_config, **change})
    assert code != 0
    assert re.search(rf"distill: error: [^\n]*{message}", output), output
    assert not (tmp_path / "hf").exists()
