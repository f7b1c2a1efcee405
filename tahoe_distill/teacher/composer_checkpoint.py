"""Read the weights of a Composer checkpoint without running any code from it."""

import datetime
import os
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.torch_version import TorchVersion

# Numpy 2 moved its core; files written by either version must open under either.
_CORE = np._core if hasattr(np, "_core") else np.core
_DTYPES = ("bool", "uint8", "uint32", "uint64", "int32", "int64", "float32", "float64")

# What Composer keeps beside its tensors: versions, the clock, the state of numpy's random generator. None runs code.
ALLOWED_GLOBALS = [
    TorchVersion,
    datetime.timedelta,
    np.ndarray,
    np.dtype,
    *(type(np.dtype(name)) for name in _DTYPES),
    _CORE.multiarray._reconstruct,
    (_CORE.multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    (_CORE.multiarray._reconstruct, "numpy._core.multiarray._reconstruct"),
    _CORE.multiarray.scalar,
    (_CORE.multiarray.scalar, "numpy.core.multiarray.scalar"),
    (_CORE.multiarray.scalar, "numpy._core.multiarray.scalar"),
]


def read_composer_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Content of a Composer ``.pt``: plain containers and tensors, mapped from the file.

    Args:
        path: The checkpoint, saved whole (not sharded).

    Returns:
        The checkpoint's dictionary.

    Raises:
        ValueError: When the file needs code to be run, or is no checkpoint.
    """
    if not hasattr(torch.serialization, "get_unsafe_globals_in_checkpoint"):
        raise ValueError(
            f"{path}: reading a Composer checkpoint safely needs torch 2.6; found torch {torch.__version__}"
        )
    try:
        with torch.serialization.safe_globals(ALLOWED_GLOBALS):
            # Mapped, so that the optimizer's share of the file is never read.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_refusal(path)) from error
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: expected a Composer checkpoint, found an unreadable file ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a Composer checkpoint, found a {type(content).__name__}")
    return content


def checkpoint_tensors(content: Mapping[str, Any], path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The model's tensors in a checkpoint's content, copied out of the mapped file.

    Raises:
        ValueError: When there are none, or something else stands among them.
    """
    state = content.get("state")
    model = state.get("model") if isinstance(state, dict) else None
    if not isinstance(model, dict) or not model:
        raise ValueError(
            f"{path}: found no weights under state, model; expected a Composer checkpoint saved whole. "
            "Save it without sharding, or pass a release folder"
        )
    strangers = [name for name, value in model.items() if not isinstance(value, Tensor)]
    if strangers:
        raise ValueError(f"{path}: expected tensors under state, model; {strangers[0]!r} is none")
    return {name: tensor.clone() for name, tensor in model.items()}


def _refusal(path: str | os.PathLike[str]) -> str:
    # Reads the file's instructions and runs none; what torch would refuse on its own is not listed twice.
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (RuntimeError, pickle.UnpicklingError):
        found = []
    allowed = {
        name[1] if isinstance(name, tuple) else f"{name.__module__}.{name.__qualname__}" for name in ALLOWED_GLOBALS
    }
    names = sorted(set(found) - allowed)
    return (
        f"{path}: refused, because opening it would run code it names ({', '.join(names) or 'no name could be read'}); "
        "expected a checkpoint of tensors and plain values. Convert it to safetensors where it was made"
    )
