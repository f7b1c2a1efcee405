"""One batch of a teacher's outputs as samples of a cache: columns, encodings, precision."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.cache.record import CacheRecord
from tahoe_distill.data.batch import (
    CACHED,
    EPOCH,
    EXPRESSIONS,
    GENES,
    SAMPLE,
    TEACHER,
    TEACHER_DRUG,
    TEACHER_MASKED,
    TEACHER_POOLED,
    TEACHER_ROWS,
    teacher_view,
)
from tahoe_distill.data.collating.collator import Tx1Collator
from tahoe_distill.data.shards.dataset import CellDataset
from tahoe_distill.objectives import Outputs
from tahoe_distill.objectives.matching import pool_shared


def carried_columns(dataset: CellDataset) -> dict[str, str]:
    """Columns of the source that the cache keeps as they are, with their encodings: all but the cells themselves."""
    shard = dataset.shards[0]
    encodings = dict(zip(shard.column_names, shard.column_encodings, strict=True))
    dropped = {GENES, EXPRESSIONS, SAMPLE, EPOCH, *CACHED}
    return {name: encoding for name, encoding in encodings.items() if name not in dropped and encoding != "pkl"}


def cache_rows(
    batch: Mapping[str, Any], outputs: Outputs, collator: Tx1Collator, *, record: CacheRecord
) -> list[dict[str, Any]]:
    """The samples of a batch: what the teacher saw, and its outputs.

    Args:
        batch: As collated, on the CPU.
        outputs: The teacher's to it, on any device.
        collator: What made the batch.
        record: The cache's.

    Raises:
        ValueError: When the teacher lacks an output that is to be stored, or it does not fit the precision.
    """
    view, lengths = teacher_view(batch), outputs.seen.sum(dim=1).tolist()
    value_type = np.int16 if collator.do_binning and float(collator.pad_value).is_integer() else np.float32
    kept = {GENES: view.gene_ids.numpy().astype(np.int32), EXPRESSIONS: view.target.numpy().astype(value_type)}
    if record.sees_masks:
        kept[TEACHER_MASKED] = view.masked.numpy().astype(np.uint8)
    for field, name in TEACHER_ROWS.items():
        if field in record.stored:
            kept[name] = _stored(getattr(outputs, field), field, record.precision)
    whole = {TEACHER: _stored(outputs.cell, "cell", record.precision)}
    if "pooled" in record.stored:
        whole[TEACHER_POOLED] = _stored(_pooled(outputs), "pooled", record.precision)
    if collator.use_chem_token:
        whole[TEACHER_DRUG] = view.drug_ids.tolist()
    return [
        {
            **{name: array[row, :length] for name, array in kept.items()},
            **{name: values[row] for name, values in whole.items()},
        }
        for row, length in enumerate(lengths)
    ]


@torch.inference_mode()
def _pooled(outputs: Outputs) -> Tensor:
    """(C, L + 1, D): the mean of each of the hidden states over the positions that the teacher sees."""
    return torch.stack([pool_shared(layer.float(), outputs.seen) for layer in outputs.hidden], dim=1)


def _stored(tensor: Tensor | None, field: str, precision: str) -> np.ndarray:
    """(C, …) outputs in the cache's precision."""
    if tensor is None:
        raise ValueError(f"the teacher gives no {field!r}, so it cannot be cached; remove the objective that reads it")
    exact = tensor.float().cpu().numpy()
    # What overflows is reported below.
    with np.errstate(over="ignore"):
        values = exact.astype(precision)
    if not np.isfinite(values).all():
        largest = np.abs(exact).max()
        raise ValueError(
            f"the teacher's {field!r} reaches {largest:.3g}, which {precision} cannot hold; use "
            "--precision float32, or look at the teacher where it is not a number"
        )
    return values


def cache_columns(row: Mapping[str, Any]) -> dict[str, str]:
    """MDS encodings of a sample of our own columns."""
    columns = {}
    for name, value in row.items():
        if not isinstance(value, np.ndarray):
            columns[name] = "int"
        elif name in (TEACHER, TEACHER_POOLED):
            columns[name] = f"ndarray:{value.dtype}:{','.join(map(str, value.shape))}"
        else:
            columns[name] = f"ndarray:{value.dtype}"
    return columns
