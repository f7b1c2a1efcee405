"""Held-out cells of an evaluation, kept to tell at export how far the student's vectors are to be trusted."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.data.batch import CellView
from tahoe_distill.embedding.calibration import CELLS, calibrate, hide_genes
from tahoe_distill.embedding.confidence import Confidence
from tahoe_distill.models import Tx1Model
from tahoe_distill.models.modeling_tx1 import inference
from tahoe_distill.training.forward import forward_model
from tahoe_distill.training.model import TahoeDistillModel

_STEP = 64


class Calibration:
    """Cells of the last evaluation, as the student saw them, and the teacher's vectors of them; on the CPU.

    Args:
        model: The run's model.
    """

    def __init__(self, model: TahoeDistillModel):
        self._model = model
        self.clear()

    def clear(self) -> None:
        """Forget the cells of an earlier evaluation."""
        self._views: list[CellView] = []
        self._teacher: list[Tensor] = []

    @property
    def cells(self) -> int:
        """How many cells are kept."""
        return sum(map(len, self._teacher))

    def add(self, batch: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Keep the cells of an evaluation's batch while there is room.

        Args:
            batch: The batch.
            outputs: What ``eval_forward`` returned for it.
        """
        teacher = outputs.get("teacher")
        if teacher is None or self.cells >= CELLS or teacher.cell.shape != outputs["student"].cell.shape:
            return
        view = self._model.student_view(batch)
        parts: dict[str, Any] = {name: x.detach().cpu() for name, x in vars(view).items() if isinstance(x, Tensor)}
        self._views.append(CellView(**parts))
        self._teacher.append(teacher.cell.detach().float().cpu())

    def fit(self, student: Tx1Model) -> Confidence | None:
        """The confidence of a student on these cells; ``None``, and the reason logged, where there are too few.

        Args:
            student: The student as it will be exported, on the CPU.
        """
        if not self._teacher:
            return None
        tokens = self._model.student_tokens
        tokens = None if tokens is None else tokens.cpu()

        def embed(share: float) -> tuple[np.ndarray, np.ndarray]:
            found = [_embed(student, view, tokens, share, number) for number, view in enumerate(self._views)]
            return np.concatenate([rows for rows, _ in found]), np.concatenate([counts for _, counts in found])

        with inference(student):
            return calibrate(embed, torch.cat(self._teacher).numpy())


def _embed(
    student: Tx1Model, view: CellView, tokens: Tensor | None, share: float, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors (C, e) of a batch with a share of its genes hidden, and (C,) how many were left."""
    pad, special = student.config.pad_token_id, 1 if view.drug_ids is None else 2
    own = view.gene_ids if tokens is None else tokens[view.gene_ids]
    own, genes = hide_genes(own, share, special=special, pad=pad, seed=number)
    rows = []
    for start in range(0, len(own), _STEP):
        # Lengths are left out: genes are hidden anywhere in a row.
        tensors = {name: x for name, x in vars(view).items() if isinstance(x, Tensor)}
        part: dict[str, Any] = {name: x[start : start + _STEP] for name, x in tensors.items()}
        cells = CellView(**{**part, "gene_ids": own[start : start + _STEP]})
        found: Any = forward_model(student, cells, needs=frozenset(), sees_masks=False).cell
        rows.append(found.float().numpy())
    return np.concatenate(rows), genes
