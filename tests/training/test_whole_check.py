"""Names and options that a run gives its parts, and what --check looks at."""

import json

import pytest
from llmfoundry.utils.config_utils import TRAIN_CONFIG_KEYS

from tahoe_distill.training.whole_check import check_names, check_whole_run


def changed(run, path, value):
    # The fixture's loaders share their sections.
    section = run = json.loads(json.dumps(run))
    *parents, key = path.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
    section[key] = value
    return run


def test_a_whole_run_can_start(run_config):
    assert set(run_config) <= TRAIN_CONFIG_KEYS
    assert check_whole_run(run_config).startswith("the run can start: a student of ")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("max_durations", "1ba", "the configuration has no option 'max_durations': did you mean 'max_duration'"),
        ("model.name", "tahoe_distil", "model: unknown model 'tahoe_distil'; did you mean 'tahoe_distill'"),
        ("train_loader.name", "tahoe_md", "train_loader: unknown train loader 'tahoe_md'; did you mean 'tahoe_mds'"),
        ("train_loader.num_worker", 1, "train_loader has no option 'num_worker': did you mean 'num_workers'"),
        ("eval_loader.num_worker", 1, "eval_loader has no option 'num_worker': did you mean 'num_workers'"),
        ("eval_loader.dataset.shufle", True, "eval_loader.dataset has no option 'shufle': did you mean 'shuffle'"),
        ("eval_loader.collator.max_lenght", 3, "eval_loader.collator has no option 'max_lenght'"),
        ("eval_loader.collator", {}, "eval_loader needs collator"),
        ("fsdp_config.state_dict_typ", "full", "fsdp_config has no option 'state_dict_typ': did you mean 'state_dict_"),
        ("compile_config.modee", "x", "compile_config has no option 'modee': did you mean 'mode'"),
        ("optimizer.betaz", 1, "optimizer has no option 'betaz': did you mean 'betas'"),
        ("optimizer.name", "decoupled_adam", "optimizer: unknown optimizer 'decoupled_adam'; did you mean"),
        ("scheduler.t_warmupp", "1ba", "scheduler has no option 't_warmupp': did you mean 't_warmup'"),
        ("callbacks.speed_moniter", {}, "unknown callback 'speed_moniter'; did you mean 'speed_monitor'"),
        ("callbacks.hf_student.foldr", "x", "callbacks.hf_student has no option 'foldr': did you mean 'folder'"),
        ("loggers.wandbb", {}, "loggers.wandbb: unknown logger 'wandbb'; did you mean 'wandb'"),
        ("algorithms.gradient_cliping", {}, "unknown algorithm 'gradient_cliping'; did you mean 'gradient_clipping'"),
    ],
)
def test_each_typo_is_told_with_its_place_and_the_closest_name(run_config, path, value, message):
    with pytest.raises(ValueError, match=message):
        check_names(changed(run_config, path, value))


def test_of_several_evaluations_the_one_with_the_typo_is_named(run_config):
    first = {**run_config["eval_loader"], "label": "blood"}
    run_config["eval_loader"] = [first, {**first, "label": "skin", "drop_lst": True}]
    with pytest.raises(ValueError, match=r"eval_loader\[1\] 'skin' has no option 'drop_lst'"):
        check_names(run_config)


def test_options_of_fsdp_1_and_2_are_known(run_config):
    settings = {"state_dict_type": "full", "activation_checkpointing": False, "reshard_after_forward": True}
    check_names(changed(run_config, "fsdp_config", {**settings, "sharding_strategy": "FULL_SHARD"}))


def test_weights_and_biases_without_a_key_is_told_before_it_starts(run_config, monkeypatch, tmp_path):
    pytest.importorskip("wandb")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run_config["loggers"] = {"wandb": {}}
    with pytest.raises(ValueError, match="Weights & Biases wants a key: set WANDB_API_KEY"):
        check_names(run_config)
    monkeypatch.setenv("WANDB_MODE", "offline")
    check_names(run_config)
