"""Small cells over a small vocabulary of real genes, so that their symbols are known."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from tahoe_distill.cells import human_symbols
from tahoe_distill.models import GeneVocab

CELLS = 96


@pytest.fixture(scope="session")
def genes():
    """Id to symbol of 60 genes: the first of the table that ships."""
    found = {}
    for symbol, gene in human_symbols().items():
        if symbol.isalpha():
            found[gene] = symbol
    return dict(sorted(found.items())[:60])


@pytest.fixture(scope="session")
def vocab(genes):
    """A vocabulary that knows all but the last ten genes."""
    names = ["<pad>", "<cls>", "<eoc>", *list(genes)[:50]]
    return GeneVocab({name: number for number, name in enumerate(names)})


@pytest.fixture
def adata(genes):
    """96 cells, none of them empty, of three kinds."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, CELLS)
    rates = rng.gamma(0.4, 2.0, (3, len(genes)))
    counts = rng.poisson(rates[kinds]).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame({"kind": kinds.astype(str)}, index=[f"cell{number}" for number in range(CELLS)])
    var = pd.DataFrame({"gene_name": list(genes.values())}, index=list(genes))
    found = anndata.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)
    found.obsm["teacher"] = rng.random((CELLS, 4)).astype(np.float32)
    return found
