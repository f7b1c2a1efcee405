"""The whole student out of a run whose weights may be sharded over processes."""

from collections.abc import Mapping
from typing import Any

import torch
from composer.core import State
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

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
