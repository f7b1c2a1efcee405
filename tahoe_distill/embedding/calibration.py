"""Held-out cells with genes hidden, from which an export learns how far its vectors are to be trusted."""

import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tahoe_distill.embedding.confidence import MIN_CELLS, Confidence, fit_confidence

log = logging.getLogger(__name__)

# Cells kept at most, and shares of their genes that are hidden from the student.
CELLS = 512
HIDDEN = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)


def calibrate(embed: Callable[[float], tuple[np.ndarray, np.ndarray]], teacher: np.ndarray) -> Confidence | None:
    """The confidence of a student on held-out cells; ``None``, and the reason logged, where there are too few.

    Args:
        embed: From a share of genes to hide to (n, e) vectors of the student and (n,) how many genes they were made of.
        teacher: (n, e) vectors of the teacher for the whole cells.
    """
    if len(teacher) < MIN_CELLS:
        log.info("no confidence is exported: %d held-out cells, %d are needed", len(teacher), MIN_CELLS)
        return None
    vectors, genes = zip(*(embed(share) for share in HIDDEN), strict=True)
    return fit_confidence(vectors, genes, teacher, hidden=HIDDEN)


def hide_genes(gene_ids: Tensor, share: float, *, special: int, pad: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Cells with a share of their genes hidden; what is hidden at a tenth is hidden at a half too.

    Args:
        gene_ids: (C, G) int64 tokens.
        share: How much to hide.
        special: Positions at the front that are no genes, and stay.
        pad: Token of padding, which the hidden genes get.
        seed: Decides which.

    Returns:
        (C, G) tokens, and (C,) how many genes are left.
    """
    gone = torch.rand(gene_ids.shape, generator=torch.Generator().manual_seed(seed)) < share
    gone[:, :special] = False
    shown = gene_ids.masked_fill(gone, pad)
    return shown, (shown.ne(pad).sum(dim=1) - special).numpy()
