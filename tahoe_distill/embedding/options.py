"""How to embed: the options that every door (function, file, command) shares, checked once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tahoe_distill.embedding import BACKENDS
from tahoe_distill.models.modeling_tx1 import CPU_WINDOW, GPU_WINDOW

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Options:
    """Checked settings of one embedding run.

    Args:
        batch_size: Cells of a batch at most, or ``"auto"`` for a budget of tokens.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.
        devices: Several of them, one process each: a list, a comma-separated string, or a number of GPUs (of CPU
            processes where there is no GPU). Overrides ``device``.
        dtype: ``"auto"`` (bfloat16 on GPUs, float32 on CPUs), ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        backend: ``torch``, ``compile`` (``torch.compile``), ``int8`` (dynamic quantisation, CPU), ``onnx`` or
            ``onnx-int8`` (ONNX Runtime, CPU).
        normalize: Divide each cell embedding by its length.
        dim: Coordinates of a cell embedding, the first ones, taken before it is normalised; ``None`` for all.
        genes: Also average the embedding of each gene over the cells that express it.
        attentions: Also keep the attention that a cell's pooled position pays to each gene: a block number (negative
            from the last), several of them, or ``"all"``; averaged over those blocks and all heads.
        window: Cells that are sorted by length and committed together; ``None`` for 1,024 on CPUs, 4,096 on GPUs.
        workers: Processes that tokenise; 0 for a thread beside the model, enough for most CPU runs.
        fixed_shapes: Compute in batches whose shape follows from the length of each cell alone, so that a cell's vector
            has the same bits in whatever company; overrides ``batch_size``.

    Raises:
        ValueError: When a value is out of its range or two of them exclude each other.
    """

    batch_size: int | str = "auto"
    device: str | torch.device = "auto"
    devices: str | int | Sequence[str | torch.device] | None = None
    dtype: str | torch.dtype = "auto"
    backend: str = "torch"
    normalize: bool = True
    dim: int | None = None
    genes: bool = False
    attentions: int | str | Sequence[int] | None = None
    window: int | None = None
    workers: int = 0
    fixed_shapes: bool = False

    def __post_init__(self):
        _check_batch_size(self.batch_size)
        if self.backend not in BACKENDS:
            raise ValueError(f"backend {self.backend!r} is unknown; expected one of {', '.join(BACKENDS)}")
        if self.backend != "torch" and (self.genes or self.attentions is not None):
            raise ValueError(
                f"backend {self.backend!r} gives cell embeddings alone; use 'torch' for genes or attentions"
            )
        if self.window is not None and self.window < 1:
            raise ValueError(f"window must be a positive number of cells, found {self.window}")
        if self.fixed_shapes and self.backend not in ("torch", "onnx"):
            raise ValueError(
                f"backend {self.backend!r} computes a cell by its company, so its bits cannot be kept for others; use "
                "'torch' or 'onnx'"
            )
        if self.fixed_shapes and (self.genes or self.attentions is not None):
            raise ValueError("batches of fixed shape give cell embeddings alone; leave out genes and attentions")
        if self.workers < 0:
            raise ValueError(f"workers must be 0 or more, found {self.workers}")
        for device in self.places():
            choose_dtype(self.dtype, device)
            if device.type != "cpu" and self.backend not in ("torch", "compile"):
                raise ValueError(
                    f"backend {self.backend!r} runs on CPUs, but the device is {device}; pass device='cpu'"
                )

    def places(self) -> list[torch.device]:
        """The devices to run on, one a process."""
        if self.devices is None:
            return [choose_device(self.device)]
        names: Sequence[str | torch.device]
        if isinstance(self.devices, int) or str(self.devices).isdigit():
            count, kind = int(str(self.devices)), choose_device("auto").type
            names = [f"cuda:{index}" for index in range(count)] if kind == "cuda" else ["cpu"] * count
        else:
            names = self.devices.split(",") if isinstance(self.devices, str) else self.devices
        if not names:
            raise ValueError(f"devices must name at least one device, found {self.devices!r}")
        return [choose_device(name.strip() if isinstance(name, str) else name) for name in names]

    def windows(self, count: int) -> list[tuple[int, int]]:
        """Bounds ``(start, stop)`` of the windows of ``count`` cells; the same on every run with these options."""
        size = self.window or (GPU_WINDOW if self.places()[0].type == "cuda" else CPU_WINDOW)
        return [(start, min(start + size, count)) for start in range(0, count, size)]

    def blocks(self, count: int) -> list[int]:
        """Numbers of the blocks whose attention is wanted, out of ``count``; empty for none."""
        if self.attentions is None:
            return []
        if isinstance(self.attentions, str):
            if self.attentions != "all":
                raise ValueError(f"attentions must be a block number, several, or 'all'; found {self.attentions!r}")
            return list(range(count))
        wanted = [self.attentions] if isinstance(self.attentions, int) else list(self.attentions)
        wrong = [number for number in wanted if not -count <= number < count]
        if wrong or not wanted:
            raise ValueError(
                f"attentions must lie in {-count} … {count - 1} for {count} blocks; found {wrong or wanted}"
            )
        return sorted({number % count for number in wanted})


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """A device; ``"auto"`` takes a GPU where there is one.

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


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """A precision; ``"auto"`` is bfloat16 on GPUs that have it and float32 elsewhere.

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


def _check_batch_size(batch_size):
    whole = isinstance(batch_size, (int, np.integer)) and not isinstance(batch_size, bool)
    if batch_size != "auto" and not (whole and batch_size > 0):
        raise ValueError(f"batch_size must be 'auto' or a positive number of cells, found {batch_size!r}")
