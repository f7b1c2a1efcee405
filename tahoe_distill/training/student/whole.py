"""The whole student out of a run whose weights may be sharded over processes, and the mean of several exports of it."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from composer.core import State
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.optim.swa_utils import AveragedModel

from tahoe_distill.models import Tx1Model
from tahoe_distill.training.model import TahoeDistillModel


def unwrapped(state: State) -> TahoeDistillModel:
    """The run's model, without DDP around it."""
    model: Any = state.model.module if state.is_model_ddp else state.model
    return model


def gather_weights(model: TahoeDistillModel) -> Mapping[str, Tensor]:
    """All weights of the student on the CPU of the first process; every process must call this."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: Any = get_model_state_dict(model.student, options=options)
    return weights


def build_whole(model: TahoeDistillModel, weights: Mapping[str, Tensor], dtype: torch.dtype) -> Tx1Model:
    """A student of its own with these weights, in eval mode.

    Args:
        model: The run's model, for the student's configuration.
        weights: What :func:`gather_weights` gave to the first process.
        dtype: Of its weights.
    """
    config = type(model.student.config).from_dict(model.student.config.to_dict())
    with torch.device("meta"):
        student = Tx1Model(config)
    student.load_state_dict(weights, assign=True, strict=True)
    return student.to(dtype).eval()


def average_exports(folders: Sequence[str | os.PathLike[str]], dtype: torch.dtype) -> Tx1Model:
    """A student whose weights are the mean of those of several exports of one run, in eval mode.

    Args:
        folders: The exports, one at least.
        dtype: Of its weights; the mean is taken in float32.
    """
    first, *others = (Tx1Model.from_pretrained(folder, torch_dtype=torch.float32) for folder in folders)
    mean = AveragedModel(first)
    for student in (first, *others):
        mean.update_parameters(student)
    averaged: Any = mean.module
    return averaged.to(dtype).eval()
