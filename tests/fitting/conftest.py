"""Cells enough for a fit, a teacher for them, and settings that take a second."""

import anndata
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from tahoe_distill import load_teacher
from tahoe_distill.cells import open_cells
from tahoe_distill.fitting.cells import count_cells
from tahoe_distill.fitting.labelled import FitSettings

QUICK = FitSettings(views=2, steps=4, batch_size=16, device="cpu")
STUDENT = {"preset": "static-tiny", "hidden_size": 8, "intermediate_size": 16}


@pytest.fixture(scope="session")
def fit_cells(small_vocab):
    """AnnData of 140 made-up cells of three kinds over the small vocabulary, kinds in ``obsm["X_kind"]``."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 140)
    rates = rng.gamma(0.5, 4, (3, 40))
    counts = rng.poisson(rates[kinds]) + (rng.random((140, 40)) < 0.1)
    adata = anndata.AnnData(csr_matrix(counts.astype(np.float32)))
    adata.var_names = [token for token in small_vocab.tokens if token.startswith("ENSG")]
    adata.obsm["X_kind"] = np.eye(3)[kinds] @ rng.normal(size=(3, 6)) + 0.1 * rng.normal(size=(140, 6))
    return adata


@pytest.fixture(scope="session")
def teacher(small_teacher):
    return load_teacher(small_teacher)


@pytest.fixture(scope="session")
def counted(fit_cells, teacher):
    with open_cells(fit_cells) as cells:
        return count_cells(cells, teacher.processor.vocab)
