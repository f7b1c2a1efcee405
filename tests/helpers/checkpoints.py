"""Checkpoints for the tests, written as Composer writes them."""

import warnings

import torch
from torch.distributed import checkpoint


def write_file(folder, epoch, batch, run_name="r"):
    """A checkpoint in one file."""
    path = folder / f"ep{epoch}-ba{batch}-rank0.pt"
    torch.save({"state": {"run_name": run_name, "model": {"w": torch.arange(1000.0)}}, "rng": []}, path)
    return path


def write_shards(folder, epoch, batch, run_name="r"):
    """A folder of shards."""
    path = folder / f"ep{epoch}-ba{batch}"
    state = {"state": {"run_name": run_name, "model": {"w": torch.arange(1000.0)}}}
    with warnings.catch_warnings():
        # That there is one process only.
        warnings.simplefilter("ignore")
        checkpoint.save(state, storage_writer=checkpoint.FileSystemWriter(path), no_dist=True)
    return path


def cut(path):
    """Break a file off in the middle."""
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size // 2)
