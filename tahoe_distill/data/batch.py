"""The names of a sample's columns and of a batch's tensors, and what teacher and student see of a batch."""

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.models import Tx1Config

# Columns of a sample, as shards store them.
GENES = "genes"
EXPRESSIONS = "expressions"
ID = "id"
TEACHER = "teacher_embedding"
# Columns of a teacher cache beside the above; rows are as long as the teacher's row of genes.
TEACHER_ROWS = {"expression": "teacher_expression", "mvc": "teacher_mvc"}
TEACHER_POOLED = "teacher_pooled"
TEACHER_MASKED = "teacher_masked"
TEACHER_DRUG = "teacher_drug"
CACHED = (TEACHER, *TEACHER_ROWS.values(), TEACHER_POOLED, TEACHER_MASKED, TEACHER_DRUG)
# Not stored: the dataset adds them to every sample, for reproducible randomness.
SAMPLE = "_sample"
EPOCH = "_epoch"
RESERVED = (GENES, EXPRESSIONS, ID, *CACHED, SAMPLE, EPOCH)

# Tensors of a batch, one row a cell; what a teacher cache stores keeps its column's name. Upstream's names.
GENE_IDS = "gene"
SHOWN = "expr"
TARGET = "expr_target"
MASKED = "gen_mask"
DRUG_IDS = "drug_ids"
# Lists with an entry a cell, which stay on the host: tokens of each cell, and, where batches are to be computed without
# padding, True for each.
LENGTHS = "lengths"
PACKED = "packed"
# Before the first four where the student sees other genes than its teacher, and where each of its genes then lies.
STUDENT = "student_"
STUDENT_INDEX = f"{STUDENT}index"

_DRUG_SETTINGS = "use_chem_token: true, keep_first_n_tokens: 2 and drug_to_id_path"


@dataclass(frozen=True, kw_only=True)
class CellView:
    """What one model sees of a batch of C cells.

    Args:
        gene_ids: (C, G) int64 tokens.
        target: (C, G) float32 expression of whole cells.
        shown: (C, G) float32, the same with the mask's value at masked genes.
        masked: (C, G) True at masked genes.
        drug_ids: (C,) int32, ``None`` where cells have no drug token.
        index: (C, G) int64, where each position lies in the teacher's row; ``None`` where it is that row.
        lengths: Tokens of each cell, known without a look at the tensors; ``None`` where they are not.
        packed: Whether the cells are to be computed without padding.
    """

    gene_ids: Tensor
    target: Tensor
    shown: Tensor
    masked: Tensor
    drug_ids: Tensor | None = None
    index: Tensor | None = None
    lengths: Sequence[int] | None = None
    packed: bool = False


def teacher_view(batch: Mapping[str, Any]) -> CellView:
    """What the teacher sees of a batch of the ``tahoe_mds`` loader."""
    return _view(batch, "")


def student_view(batch: Mapping[str, Any], *, drug_token: bool) -> CellView:
    """What the student sees of a batch of the ``tahoe_mds`` loader.

    Args:
        batch: The batch; ``<drug>`` stands at position 1 where it has ``drug_ids``.
        drug_token: Whether the student has a drug token; without one its view lacks that of the batch.
    """
    view = _view(batch, STUDENT if f"{STUDENT}{GENE_IDS}" in batch else "")
    return view if drug_token or view.drug_ids is None else _without_drug(view)


def _view(batch: Mapping[str, Any], prefix: str) -> CellView:
    return CellView(
        gene_ids=batch[f"{prefix}{GENE_IDS}"],
        target=batch[f"{prefix}{TARGET}"],
        shown=batch[f"{prefix}{SHOWN}"],
        masked=batch[f"{prefix}{MASKED}"],
        drug_ids=batch.get(DRUG_IDS),
        index=batch.get(STUDENT_INDEX) if prefix else None,
        lengths=batch.get(f"{prefix}{LENGTHS}"),
        packed=PACKED in batch,
    )


def _without_drug(view: CellView) -> CellView:
    index = view.index
    if index is None:
        index = torch.arange(view.gene_ids.shape[1], device=view.gene_ids.device).expand_as(view.gene_ids)
    return CellView(
        gene_ids=_without_second(view.gene_ids),
        target=_without_second(view.target),
        shown=_without_second(view.shown),
        masked=_without_second(view.masked),
        index=_without_second(index),
        lengths=None if view.lengths is None else [length - 1 for length in view.lengths],
        packed=view.packed,
    )


def _without_second(x: Tensor) -> Tensor:
    return torch.cat([x[:, :1], x[:, 2:]], dim=1)


def column(samples: Sequence[Mapping[str, Any]], key: str) -> Tensor | list:
    """A column of the samples as one tensor, or as a list where it holds text.

    Raises:
        ValueError: When a sample lacks it.
    """
    missing = [sample for sample in samples if key not in sample]
    if missing:
        raise ValueError(
            f"collator: reserve_keys names {key!r}, which the shards do not have; found {', '.join(missing[0])}"
        )
    values = [sample[key] for sample in samples]
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    if isinstance(values[0], np.ndarray):
        return torch.from_numpy(np.stack(values))
    return torch.tensor(values) if isinstance(values[0], (bool, int, float, np.number)) else values


def count_cells(batch: Mapping[str, Sized]) -> int:
    """Cells of a batch, which resumption counts; every entry must agree.

    Raises:
        ValueError: When an entry has another length.
    """
    cells = len(batch[GENE_IDS])
    odd = {name: len(value) for name, value in batch.items() if len(value) != cells}
    if odd:
        raise ValueError(f"a batch of {cells} cells has entries of other lengths: {odd}; each entry needs one per cell")
    return cells


def check_drugs(has_drugs: bool, student: Tx1Config, teacher: Tx1Config | None) -> None:
    """Refuse batches with a drug token that the teacher does not know, and those without where a model needs it.

    Args:
        has_drugs: Whether the batches have ``drug_ids``.
        student: The student's configuration.
        teacher: The teacher's, ``None`` where there is none or it is not known.

    Raises:
        ValueError: With the way out.
    """
    if has_drugs:
        if teacher is not None and teacher.num_drugs is None:
            raise ValueError(
                "the batch has a drug token, which the teacher would read as a gene: load a teacher that has one with "
                "model.teacher.use_chem: true, or set use_chem_token: false in the loaders' collator"
            )
        return
    readers = [name for name, config in (("student", student), ("teacher", teacher)) if config and config.num_drugs]
    if readers:
        raise ValueError(
            f"the {' and the '.join(readers)} read a drug token, and the batch has no drug_ids: give the loaders' "
            f"collator {_DRUG_SETTINGS}"
        )
