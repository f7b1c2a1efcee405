"""Loaders, models and losses of a run as its configuration has them, with and without a teacher cache."""

import torch

from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader
from tahoe_distill.training.model import TahoeDistillModel

# Objectives that read each of the outputs which a cache can keep.
EVERYTHING = {
    "cosine": 1.0,
    "mse": 0.5,
    "hidden": {"layer_map": [[0, 0], [1, 2]], "grain": "coarse"},
    "expression": {"alpha": 0.5},
}


def loader(config, folder=None, split="train"):
    """The loader of a split: of the run's shards, or of the cache in ``folder``."""
    section = {key: value for key, value in config[f"{split}_loader"].items() if key != "name"}
    cache = None if folder is None else str(folder / split)
    return build_tahoe_mds_dataloader(**section, device_batch_size=8, cache=cache).dataloader


def batches(config, folder=None, split="train", epochs=1):
    """All batches of that loader."""
    cells = loader(config, folder, split)
    return [batch for _ in range(epochs) for batch in cells]


def model(config, folder=None):
    """The run's model in eval mode: with its teacher, or with the cache in ``folder``."""
    section = {key: value for key, value in config["model"].items() if key != "name"}
    if folder is not None:
        section["teacher"] = {"cache": str(folder)}
    torch.manual_seed(0)
    return TahoeDistillModel(**section).eval()


def losses(config, folder=None, split="train"):
    """The losses of each batch, with the teacher or from the cache."""
    student = model(config, folder)
    return [student.loss(student(batch), batch) for batch in batches(config, folder, split)]
