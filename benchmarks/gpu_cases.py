"""What `gpu.py` measures with: architectures, batches of cells, the check of each way to attend, and the clock."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.utils import is_flash_attn_2_available

from tahoe_distill.models import Tx1Config, Tx1Model

VOCABULARY = 62_720
# Sizes of the releases and of the student presets; tiny is for the test of this script.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "70m": {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8, "masked_attention": True},
    "1b": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16, "masked_attention": True},
    "3b": {"hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 20, "hidden_act": "gelu"},
    "student tiny": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "projection_dim": 512},
    "student small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "projection_dim": 512},
    "student medium": {"hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8, "gene_rank": 128},
}
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 100}
WAYS = ("sdpa", "flash_attention_2", "flex_attention")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A batch of made-up cells.

    Args:
        inputs: ``gene_ids`` and ``expression_bins`` (C, G), and ``attention_mask`` where there is padding.
        lengths: Tokens of each cell.
    """

    inputs: dict[str, Tensor]
    lengths: list[int]


def build(name: str, device: str, *, dtype: torch.dtype, tiny: bool = False, **changes: Any) -> Tx1Model:
    """A model with random weights, biases and norms too: fresh ones would make it blind to expression."""
    sizes = {"vocab_size": VOCABULARY, **ARCHITECTURES[name], **(TINY if tiny else {}), **changes}
    torch.manual_seed(0)
    with torch.device(device):
        model = Tx1Model(Tx1Config(value_dropout=0.0, **sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.to(dtype)


def draw(model: Tx1Model, cells: int, context: int, *, mixed: bool) -> Cells:
    """Cells as long as the context, or of 5 to 100 % of it."""
    rng = torch.Generator().manual_seed(context + cells)
    shares = torch.rand(cells, generator=rng) * 0.95 + 0.05 if mixed else torch.ones(cells)
    lengths = (shares * context).long().clamp(min=2)
    seen = torch.arange(int(lengths.max())) < lengths[:, None]
    genes = torch.randint(4, model.config.vocab_size, seen.shape, generator=rng)
    bins = torch.randint(1, 51, seen.shape, generator=rng).float()
    genes[:, 0], bins[:, 0] = model.config.cls_token_id, model.config.pad_value
    inputs = {
        "gene_ids": genes.masked_fill(~seen, model.config.pad_token_id).to(model.device),
        "expression_bins": bins.masked_fill(~seen, model.config.pad_value).to(model.device),
    }
    if mixed:
        inputs["attention_mask"] = seen.to(model.device)
    return Cells(inputs=inputs, lengths=lengths.tolist())


def run(model: Tx1Model, cells: Cells, *, packed: bool, **options: Any) -> Any:
    """All outputs of a forward pass that a loss would need, without a look back from the device."""
    known = {"packed": cells.lengths if packed else None, "padded": "attention_mask" in cells.inputs}
    return model(**cells.inputs, **known, **options)


def flops(model: Tx1Model, lengths: list[int]) -> float:
    """Of a forward pass: 2 for each weight and token, and the scores of attention; padding is no work."""
    config = model.config
    weights = sum(p.numel() for name, p in model.named_parameters() if "gene_encoder.embedding" not in name)
    attention = 4 * config.hidden_size * config.num_hidden_layers
    return float(sum(2 * weights * length + attention * length**2 for length in lengths))


def check(device: str, *, tiny: bool) -> Iterator[dict[str, Any]]:
    """Each way to attend, padded and packed, with and without masked genes, against eager attention in float32.

    Yields:
        Way, relative errors of the cell embeddings and of all gradients, and whether they are small enough; or the
        reason why it cannot run.
    """
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    limit = 0.05 if dtype == torch.bfloat16 else 1e-4
    sizes = {"num_hidden_layers": 2, "vocab_size": 1000}
    reference = build("70m", device, dtype=torch.float32, tiny=tiny, **sizes)
    cells = draw(reference, 6, 40 if tiny else 900, mixed=True)
    masked = torch.zeros_like(cells.inputs["gene_ids"], dtype=torch.bool)
    masked[:, 3::7] = True
    masked &= cells.inputs["attention_mask"]
    for rule in (False, True):
        options = {"masked": masked} if rule else {}
        expected = _said(reference, cells, "eager", packed=False, **options)
        for way in WAYS:
            for packed in (False, True):
                row: dict[str, Any] = {"attention": way, "packed": packed, "masked genes": rule}
                try:
                    model = build("70m", device, dtype=dtype, tiny=tiny, **sizes)
                    found = _said(model, cells, way, packed=packed, **options)
                # What is not installed, not made for this machine, or refused: the reason is the row's.
                except (ImportError, KeyError, ValueError, RuntimeError, TypeError) as error:
                    yield {**row, "skipped": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
                    continue
                errors = [_error(a, b) for a, b in zip(found, expected)]
                yield {**row, "cells": errors[0], "gradients": errors[1], "right": max(errors) < limit}


def _said(model: Tx1Model, cells: Cells, way: str, *, packed: bool, **options: Any) -> tuple[Tensor, Tensor]:
    """Cell embeddings, and all gradients of a sum over them as one vector."""
    if way == "flash_attention_2" and not is_flash_attn_2_available():
        raise ImportError("flash-attn is not installed, or there is no GPU for it")
    model.config._attn_implementation = way
    model.zero_grad()
    cell = run(model, cells, packed=packed, **options).pooler_output.float()
    (cell * torch.linspace(-1, 1, cell.shape[1], device=cell.device)).sum().backward()
    gradients = [p.grad.float().flatten() for p in model.parameters() if p.grad is not None]
    return cell.detach(), torch.cat(gradients)


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def seconds(work: Callable[[], Any], device: str, *, times: int) -> float:
    """Median seconds of some calls after one that does not count."""
    found = []
    for _ in range(times + 1):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        found.append(time.perf_counter() - start)
    return statistics.median(found[1:])


def synchronise(device: str) -> None:
    """Wait for a GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def matrix_rate(device: str, *, tiny: bool) -> float:
    """Operations a second of a large product of matrices, bfloat16 on a GPU."""
    size = 256 if tiny else 8192 if device == "cuda" else 1024
    matrix = torch.randn(size, size, device=device, dtype=torch.bfloat16 if device == "cuda" else torch.float32)
    return 2 * size**3 / seconds(lambda: matrix @ matrix, device, times=3 if tiny else 20)


def fitting(attempt: Callable[[int], float], *, most: int) -> tuple[int, float]:
    """The number of cells, a power of two, at which most cells a second are computed before memory is full.

    Args:
        attempt: From cells to seconds.
        most: Cells to try at most.
    """
    best, found = (0, math.inf), 4
    while found <= most:
        try:
            took = attempt(found)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        if took / found < best[1] / max(best[0], 1) or not best[0]:
            best = (found, took)
        found *= 2
    if not best[0]:
        raise torch.OutOfMemoryError("four cells do not fit")
    return best
