"""Settings of a run that cannot be right are named before anything is imported."""

import subprocess
import sys

import pytest

from tahoe_distill.training.run_config import REQUIRED, RunConfigError, check_run


def message(run):
    with pytest.raises(RunConfigError) as caught:
        check_run(run, "a.yaml")
    return str(caught.value)


def test_a_whole_run_passes(run_config):
    check_run(run_config, "a.yaml")


@pytest.mark.parametrize("key", REQUIRED)
def test_each_missing_section_is_named_with_an_example(run_config, key):
    del run_config[key]
    assert f"a.yaml cannot be run:\n  {key} is missing; expected " in message(run_config)


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("max_duration", "0ba", "more than 0ba"),
        ("max_duration", 10, "a number with its unit, ep (epochs), ba (batches)"),
        ("max_duration", "2 epochs", "a number with its unit"),
        ("max_duration", "1dur", "dur is a part of it"),
        ("eval_interval", "often", "a number with its unit"),
        ("global_train_batch_size", "many", "a whole number, 1 or more"),
        ("global_train_batch_size", True, "a whole number, 1 or more"),
        ("device_train_microbatch_size", 0, "1 or more, or auto"),
        ("optimizer.lr", "fast", "a number above 0"),
        ("optimizer.lr", "1e-3", "with a decimal point, such as 1.0e-3"),
        ("optimizer.lr", -1.0, "a number above 0"),
        ("train_loader.collator.mlm_probability", "half", "a number between 0 and 1"),
        ("train_loader.collator.mlm_probability", [0.5, 1.0], "a number between 0 and 1"),
        ("train_loader.dataset.shuffle", "yess", "true or false"),
        ("eval_loader.drop_last", "no thanks", "true or false"),
        ("model.objectives", {}, "at least one objective, such as {cosine: 1.0}"),
        ("callbacks.hf_student.verify", 1, "true or false"),
        ("optimizer.betas", "many", "two numbers from 0 to below 1"),
        ("optimizer.betas", [0.9, 1.5], "two numbers from 0 to below 1"),
        ("precision", "fp33", "one of fp32, amp_fp16"),
        ("python_log_level", "loud", "one of debug, info"),
        ("dist_timeout", "long", "a number above 0"),
        ("fsdp_config", {"state_dict_type": "fulll"}, "one of full, sharded"),
        ("save_folder", "/proc/no/ckpt", "a folder that can be written to; /proc cannot be written to"),
        ("callbacks.hf_student.folder", "/dev/null/hf", "a folder that can be written to; /dev/null is no folder"),
        ("scheduler.t_warmup", "a bit", "a number with its unit"),
    ],
)
def test_each_wrong_value_is_named_with_what_was_expected(run_config, path, value, expected):
    section = run_config
    *parents, key = path.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
    section[key] = value
    found = message(run_config)
    name, value = next(iter(value.items()), ("", value)) if isinstance(value, dict) and value else ("", value)
    assert f"{path}{'.' if name else ''}{name}: found {value!r}, expected " in found and expected in found


@pytest.mark.parametrize("key", ["optimizer", "model.objectives"])
def test_an_empty_section_is_told_apart_from_none(run_config, key):
    section, _, rest = key.partition(".")
    if rest:
        run_config[section][rest] = None
    else:
        run_config[section] = None
    assert f"{key} is empty; expected " in message(run_config)


def test_every_problem_is_told_at_once(run_config):
    del run_config["optimizer"]
    run_config["seed"] = "x"
    run_config["eval_loader"] = [run_config["eval_loader"], {"label": "b", "num_workers": -1}]
    assert len(message(run_config).splitlines()) == 4
    assert "eval_loader[1].num_workers: found -1" in message(run_config)


def test_the_check_imports_nothing_heavy():
    code = (
        "import sys, tahoe_distill.training.run_config; print({'torch', 'composer', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
