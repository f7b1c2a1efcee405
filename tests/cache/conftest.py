"""A run whose batches can be compared one by one."""

import pytest

from tests.helpers.in_process import distributed_ends


@pytest.fixture(autouse=True)
def no_process_group_is_left():
    """Writing a cache joins a process group, in which forked processes of later tests would wait for ever."""
    with distributed_ends():
        yield


@pytest.fixture
def config(run_config):
    """A run in the order of the shards, so that batches of both ways can be compared."""

    def build(objectives=None, **collator):
        run_config["model"]["objectives"] = objectives or {"cosine": 1.0, "mse": 0.5}
        for loader in (run_config["train_loader"], run_config["eval_loader"]):
            loader["dataset"]["shuffle"] = False
            loader["collator"].update(collator)
        return run_config

    return build
