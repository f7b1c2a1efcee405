"""A whole run in this process: the entry point's defaults, then llm-foundry, as `scripts/distill.py` does it."""

import contextlib
import os
from unittest import mock

import yaml
from llmfoundry.command_utils.train import train_from_yaml
from torch import distributed

from tahoe_distill.cli.defaults import with_defaults

_groups = []


def train(config, path, *overrides):
    """Run a config, given as a dict and written to ``path``, to its end; return the closed trainer."""
    path.write_text(yaml.safe_dump(config))
    return train_yaml(path, *overrides)


def train_yaml(path, *overrides):
    """Run a YAML to its end; return the closed trainer."""
    # llm-foundry sets logging up anew unless it is told nothing about it, and pytest's capture would be lost.
    overrides = [*overrides, "python_log_level=null"]
    with distributed_ends():
        trainer = train_from_yaml(path, with_defaults(yaml.safe_load(path.read_text()), overrides))
        trainer.close()
    return trainer


@contextlib.contextmanager
def distributed_ends():
    """Leave no process group of one and no RANK in the environment behind for the tests that come after."""
    with mock.patch.dict(os.environ):
        try:
            yield
        finally:
            if distributed.is_initialized():
                # Freeing a group at once can wait for its thread while that waits for Python's lock.
                _groups.append(distributed.group.WORLD)
                distributed.destroy_process_group()
