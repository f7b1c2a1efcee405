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
from tahoe_distill.objectives import EmbeddingObjective, ObjectiveSet

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

    A head that is narrower than the vectors gives their principal components.

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
    head = _head(student)
    wanted = _narrowed(rows.vectors[chosen], head.linear.out_features)
    fitted = fit_ridge(_statistics(student, rows, chosen), wanted, seed)
    with torch.no_grad():
        head.linear.weight.copy_(torch.from_numpy(np.atleast_2d(fitted.coef_)))
        head.linear.bias.copy_(torch.from_numpy(np.atleast_1d(fitted.intercept_)))
        head.out_proj.weight.zero_()
        head.out_proj.bias.zero_()
    return float(fitted.alpha_)


def solve_maps(objectives: ObjectiveSet, student: Tx1Model, rows: Rows) -> None:
    """Set the learned maps of objectives on cell embeddings to the least squares of the vectors from the student's own.

    Args:
        objectives: Those of the fit; where none has a map, nothing is done.
        student: The student, in its closed form.
        rows: Cells and their vectors, the first of which are taken where there are many.
    """
    found = [o.map for o in objectives.objectives.values() if isinstance(o, EmbeddingObjective) and o.map is not None]
    if not found:
        return
    some = rows.first(STATISTICS_CELLS)
    own = some.embed(student).astype(np.float64)
    known = np.concatenate([own, np.ones((len(own), 1))], axis=1)
    solution = torch.from_numpy(np.linalg.lstsq(known, some.vectors.astype(np.float64), rcond=None)[0]).float()
    with torch.no_grad():
        for learned_map in found:
            learned_map.weight.copy_(solution[:-1].T)
            learned_map.bias.copy_(solution[-1])


def _narrowed(vectors: np.ndarray, width: int) -> np.ndarray:
    """(n, e) vectors, or (n, width) their first principal components where that is less."""
    if vectors.shape[1] <= width:
        return vectors
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :width]
    return centred @ axes


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
