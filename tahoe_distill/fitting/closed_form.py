"""Students that need no training: ridge from log-counts, and the ridge that a student's own statistics start from."""

from typing import Any

import numpy as np
import torch
from scipy import sparse

from tahoe_distill.evaluation.baselines import fit_ridge
from tahoe_distill.fitting.cells import CountedCells
from tahoe_distill.fitting.rows import Rows
from tahoe_distill.models import Tx1Model
from tahoe_distill.models.modeling_tx1 import inference
from tahoe_distill.models.set_encoder_tx1 import SetHead

# Cells that the student's statistics are fitted on; there are far fewer statistics.
STATISTICS_CELLS = 8000
_TOTAL = 1e4


def ridge_vectors(train: CountedCells, vectors: np.ndarray, judged: CountedCells, *, seed: int) -> np.ndarray:
    """What a ridge regression from log-counts gives to cells: the baseline that a student has to beat.

    Args:
        train: Cells to fit on.
        vectors: (n, e) what to give them.
        judged: Cells to predict.
        seed: Of the choice of cells, where there are many.

    Returns:
        (m, e) predicted vectors of ``judged``.
    """
    return np.asarray(fit_ridge(logged(train), vectors, seed).predict(logged(judged)), dtype=np.float32)


def solve_head(student: Tx1Model, rows: Rows, *, seed: int) -> float:
    """Set the linear map of a student's head by ridge regression from its statistics, in place; the rest adds nothing.

    Args:
        student: A student without attention, with its first gene vectors.
        rows: Cells and their vectors.
        seed: Of the choice of cells, where there are many.

    Returns:
        The penalty that generalised cross-validation chose.
    """
    chosen = np.arange(len(rows))
    if len(rows) > STATISTICS_CELLS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(rows), STATISTICS_CELLS, replace=False))
    fitted = fit_ridge(_statistics(student, rows, chosen), rows.vectors[chosen], seed)
    head = _head(student)
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(np.atleast_2d(fitted.coef_)))
        head.linear.bias.copy_(torch.from_numpy(np.atleast_1d(fitted.intercept_)))
        head.out_proj.weight.zero_()
        head.out_proj.bias.zero_()
    return float(fitted.alpha_)


def _head(student: Tx1Model) -> SetHead:
    encoder: Any = student.gene_set_encoder
    return encoder.head


def logged(cells: CountedCells) -> sparse.csr_matrix:
    """(n, tokens) log1p of counts scaled to 10,000 a cell; logarithms as they are."""
    if not cells.are_counts:
        return cells.counts
    totals = np.asarray(cells.counts.sum(axis=1)).ravel()
    scaled = sparse.csr_matrix(sparse.diags(_TOTAL / totals) @ cells.counts)
    scaled.data = np.log1p(scaled.data)
    return scaled


def _statistics(student: Tx1Model, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    """(n, F) the normalised statistics that the head's linear map reads."""
    found: list[torch.Tensor] = []
    hook = _head(student).norm.register_forward_hook(lambda _module, _given, out: found.append(out))
    try:
        with inference(student):
            for numbers in rows.windows(chosen):
                student(**rows.batch(numbers), cell_only=True)
    finally:
        hook.remove()
    return torch.cat(found).float().cpu().numpy()
