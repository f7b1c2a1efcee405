"""Where and in which precision to compute."""

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(device="auto"):
    """A ``torch.device``; ``"auto"`` takes a GPU where there is one.

    Raises:
        ValueError: When the device is unknown or not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is unknown; expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {str(device)!r} was asked for, but PyTorch sees no GPU here; use auto or cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {str(device)!r} was asked for, but there are {torch.cuda.device_count()} GPUs here")
    return device


def choose_dtype(dtype, device):
    """A ``torch.dtype``; ``"auto"`` is bfloat16 on GPUs that have it and float32 elsewhere.

    Raises:
        ValueError: When the precision is unknown, or half precision is asked for on a CPU.
    """
    if isinstance(dtype, torch.dtype):
        dtype = str(dtype).removeprefix("torch.")
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is unknown; expected auto, {', '.join(DTYPES)}")
    if device.type == "cpu" and dtype != "float32":
        raise ValueError(f"dtype {dtype} is many times slower than float32 on a CPU; use float32 or auto there")
    return DTYPES[dtype]
