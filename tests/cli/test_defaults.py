"""What a run's YAML need not say."""

import datetime

import pytest

from tahoe_distill.cli import defaults
from tahoe_distill.cli.defaults import merge, with_defaults

QUIET = {"callbacks": {"distillation": {}}, "log_config": True, "log_to_console": True}
AUTO = {**QUIET, "global_train_batch_size": 32, "device_train_microbatch_size": "auto"}


@pytest.fixture
def machine(monkeypatch):
    def set_up(gpu, processes=1, fsdp="2"):
        monkeypatch.setattr(defaults, "_has_gpu", lambda: gpu)
        monkeypatch.setenv("WORLD_SIZE", str(processes))
        monkeypatch.setenv("FSDP_VERSION", fsdp)

    return set_up


def test_the_step_callback_is_added_once():
    log = {"log_config": True, "log_to_console": True}
    assert with_defaults(log, ["a=1"]) == ["a=1", "callbacks.distillation={}"]
    assert with_defaults({**log, "callbacks": None}, []) == ["callbacks.distillation={}"]
    assert with_defaults({**log, "callbacks": {"distillation": {"log_schedules": False}}}, ["a=1"]) == ["a=1"]
    override = ["callbacks.distillation.log_schedules=false"]
    assert with_defaults(log, override) == override


def test_neither_the_configuration_nor_composers_blocks_are_printed_unless_that_is_asked_for():
    assert with_defaults({"callbacks": {"distillation": {}}}, []) == ["log_config=false", "log_to_console=false"]


@pytest.mark.parametrize(("processes", "device_batch"), [(1, 32), (2, 16)])
def test_auto_microbatch_is_the_device_batch_on_cpus(machine, caplog, processes, device_batch):
    machine(gpu=False, processes=processes)
    run = {**AUTO, "fsdp_config": {"state_dict_type": "full"}}
    assert with_defaults(run, []) == [f"device_train_microbatch_size={device_batch}"]
    assert f"taking the device batch, {device_batch}" in caplog.text


def test_auto_is_what_a_run_without_a_microbatch_gets(machine):
    machine(gpu=False)
    assert with_defaults({**QUIET, "global_train_batch_size": 8}, []) == ["device_train_microbatch_size=8"]


def test_overrides_count_as_the_yaml_does(machine):
    machine(gpu=False)
    fixed = {**AUTO, "device_train_microbatch_size": 4}
    assert with_defaults(fixed, []) == []
    overrides = ["device_train_microbatch_size=auto", "global_train_batch_size=12"]
    run = merge(fixed, with_defaults(fixed, overrides))
    assert run.device_train_microbatch_size == 12
    assert with_defaults(AUTO, ["device_train_microbatch_size=2"]) == ["device_train_microbatch_size=2"]


def test_interpolated_sizes_and_dates_are_read(machine):
    machine(gpu=False)
    run = {**AUTO, "variables": {"n": 6}, "global_train_batch_size": "${variables.n}"}
    run["run_name"] = datetime.date(2024, 5, 1)
    assert with_defaults(run, []) == ["device_train_microbatch_size=6"]


def test_auto_stays_on_a_gpu(machine):
    machine(gpu=True)
    assert with_defaults({**AUTO, "fsdp_config": {}}, []) == []
    machine(gpu=True, processes=8)
    assert with_defaults(AUTO, []) == []
    machine(gpu=True, processes=8, fsdp="1")
    assert with_defaults({**AUTO, "fsdp_config": {}}, []) == []


def test_auto_with_fsdp2_is_refused_with_the_way_out(machine):
    machine(gpu=True, processes=4)
    with pytest.raises(ValueError, match="Write a number, such as 2, or remove fsdp_config"):
        with_defaults({**AUTO, "fsdp_config": {"state_dict_type": "full"}}, [])


def test_a_batch_that_does_not_divide_is_left_to_llm_foundry(machine):
    machine(gpu=False, processes=3)
    assert with_defaults(AUTO, []) == []
