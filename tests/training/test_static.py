"""Runs of students without attention: from a live teacher and its cache, killed and resumed, sharded, and embedded."""

import json
import shutil

import anndata
import numpy as np
import pytest
import torch

from tahoe_distill import embed
from tahoe_distill.cli.main import main
from tahoe_distill.hub.checklist import failed_checks
from tests.helpers import HELPERS
from tests.helpers.whole_runs import weights, write_config

STUDENT = {"preset": "static-tiny", "hidden_size": 8, "intermediate_size": 8, "set_pair_rank": 4}
AUGMENT = {"downsample": {"probability": 0.7, "low": 0.3, "high": 1.0}, "mix": {"probability": 0.5}}


@pytest.fixture
def config(run_config, shards):
    """A run of such a student on mixed and thinned cells, from the teacher's outputs for each gene."""
    run_config["model"]["student"] = {**STUDENT, "init": "teacher", "init_cells": str(shards / "train")}
    run_config["model"]["objectives"] = {"cosine": {"center": True}, "mse": 0.5, "gene": 0.1}
    run_config["train_loader"]["collator"]["augment"] = AUGMENT
    return run_config


def test_a_run_is_exported_checked_and_embeds_as_any_other(runs, tmp_path, config, small_cells):
    code, output = runs.distill(tmp_path, config)
    assert code == 0, output
    assert failed_checks(tmp_path / "hf") == {}
    assert "all genes" in (tmp_path / "hf/README.md").read_text()
    metrics = json.loads((tmp_path / "hf/metrics.json").read_text())
    assert {"eval/knn_overlap", "eval/centered_cosine"} <= set(metrics)
    cells = small_cells.copy()
    embed(cells, tmp_path / "hf", genes=True)
    assert cells.obsm["X_tx1"].shape == (60, 16) and cells.varm["X_tx1"].shape == (40, 8)
    small_cells.write_h5ad(tmp_path / "cells.h5ad")
    command = ["embed", "--model", tmp_path / "hf", "--adata", tmp_path / "cells.h5ad", "--out", tmp_path / "out.h5ad"]
    assert main([*map(str, command)]) == 0
    found = anndata.read_h5ad(tmp_path / "out.h5ad").obsm["X_tx1"]
    np.testing.assert_allclose(found, cells.obsm["X_tx1"], atol=1e-6)
    with pytest.raises(ValueError, match="attentions were asked for, and this model pays none"):
        embed(small_cells.copy(), tmp_path / "hf", attentions="all")


def test_killed_and_started_again_it_ends_the_same(runs, tmp_path, config):
    config |= {"max_duration": "10ba", "save_folder": "checkpoints", "save_interval": "3ba", "autoresume": True}
    config |= {"code_paths": [str(HELPERS / "kill_at.py")], "save_overwrite": True}
    config["callbacks"] = {"hf_student": {"folder": "hf", "verify": False}, "kill_at": {"plan": "plan.json"}}
    students = {}
    for name, kills in {"whole": [], "killed": [("batch_end", 7)]}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "plan.json").write_text(json.dumps(kills))
        for _ in kills:
            assert runs.distill(folder, config)[0] == -9
        code, output = runs.distill(folder, config)
        assert code == 0, output
        students[name] = weights(folder / "hf")
    for name, tensor in students["whole"].items():
        assert torch.equal(students["killed"][name], tensor), name


def test_two_processes_shard_it(runs, tmp_path, config):
    code, output = runs.distill(tmp_path, {**config, "fsdp_config": {"state_dict_type": "full"}}, processes=2)
    assert code == 0, output
    assert weights(tmp_path / "hf")["gene_encoder.embedding.weight"].shape == (43, 8)


def test_views_of_a_cache_train_it_without_the_teacher(runs, tmp_path, config, small_teacher):
    config["model"]["objectives"].pop("gene")
    gone = tmp_path / "teacher"
    shutil.copytree(small_teacher, gone)
    config["model"]["teacher"] = str(gone)
    path = write_config(tmp_path, config)
    assert main(["cache", "-f", str(path), "--out", str(tmp_path / "cache"), "--views", "3", "--quiet"]) == 0
    shutil.rmtree(gone)
    config["model"]["teacher"] = {"cache": str(tmp_path / "cache")}
    config["model"]["student"]["init_cells"] = str(tmp_path / "cache/train")
    code, output = runs.distill(tmp_path, config)
    assert code == 0, output
    assert weights(tmp_path / "hf")["gene_set_encoder.head.linear.weight"].shape == (16, 12)


def test_cells_that_are_not_binned_are_refused(runs, tmp_path, config):
    config["train_loader"]["collator"] |= {"do_binning": False, "log_transform": True}
    code, output = runs.distill(tmp_path, config)
    assert code != 0 and "do_binning is off, and a student with encoder: set reads bins" in output
