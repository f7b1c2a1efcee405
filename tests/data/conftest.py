"""Small synthetic cells, and their shards."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from tahoe_distill.data.preparing.prepare import prepare_shards
from tahoe_distill.models.processing_tx1 import GeneVocab

CELLS, GENES = 96, 60


def make_vocab(genes=GENES - 10):
    """A vocabulary that knows all but the last ten genes of :func:`make_cells`."""
    names = ["<pad>", "<cls>", "<eoc>", "<drug>", *(f"ENSG{number:011d}" for number in range(genes))]
    return GeneVocab({name: number for number, name in enumerate(names)})


def make_cells(cells=CELLS, genes=GENES, seed=0):
    """Counts with about 20 expressed genes a cell, none of them empty."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(0.6, (cells, genes)).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(rng.choice(["B", "T", "NK"], cells)),
            "donor": [f"d{number % 6}" for number in range(cells)],
            "age": rng.integers(20, 80, cells),
            "score": rng.random(cells),
        },
        index=[f"cell{number}" for number in range(cells)],
    )
    var = pd.DataFrame(
        {"gene_name": [f"SYM{number}" for number in range(genes)]},
        index=[f"ENSG{number:011d}" for number in range(genes)],
    )
    adata = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)
    adata.obsm["teacher"] = rng.random((cells, 4)).astype(np.float32)
    return adata


@pytest.fixture(scope="session")
def make():
    """``make(cells, genes, seed)`` for other cells."""
    return make_cells


@pytest.fixture(scope="session")
def vocab():
    return make_vocab()


@pytest.fixture(scope="session")
def adata():
    """Copy before altering."""
    return make_cells()


@pytest.fixture(scope="session")
def h5ad(adata, tmp_path_factory):
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    adata.write_h5ad(path)
    return path


@pytest.fixture(scope="session")
def shards(h5ad, vocab, tmp_path_factory):
    """Typed shards of all cells, several of them, in order. Copy before altering."""
    out = tmp_path_factory.mktemp("shards") / "set"
    prepare_shards(h5ad, out, vocab, val_fraction=0.25, keep=["cell_type", "age"], chunk_cells=24)
    return out
