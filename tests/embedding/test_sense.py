"""Cells whose vectors would mean nothing are refused by the doctor's own thresholds, unless forced."""

import anndata
import numpy as np
import pytest
from scipy import sparse

from tahoe_distill.embedding import decode, embed, embed_file, examine
from tests.helpers.tiny_student import tiny_cells, tiny_pair


def meaningless(case):
    """Cells that doctor has an error for."""
    adata = tiny_cells()
    if case == "zeros":
        adata.X = sparse.csr_matrix(adata.shape, dtype=np.float32)
    elif case == "next to no counts known":
        adata.X.data[adata.X.indices >= 60] *= 1e4
    elif case == "foreign":
        adata.var_names = [*adata.var_names[:5], *(f"ENSMUSG{number:011d}" for number in range(65))]
    return adata


CASES = {
    "zeros": "no cell expresses a gene of the vocabulary",
    "next to no counts known": "too little to say anything about a cell",
    "foreign": "mouse Ensembl ids",
}


@pytest.mark.parametrize("case", CASES)
def test_what_doctor_calls_meaningless_is_refused_unless_forced(case, pair, tmp_path):
    adata = meaningless(case)
    path, out = tmp_path / "cells.h5ad", tmp_path / "out.h5ad"
    adata.write_h5ad(path)
    assert any(finding.level == "error" for finding in examine(path, pair, estimate=False))
    for refuse in (lambda: embed(adata, pair), lambda: embed_file(path, pair, out), lambda: decode(adata, pair)):
        with pytest.raises(ValueError, match=CASES[case]):
            refuse()
    assert not adata.obsm and not adata.uns and [path.name for path in tmp_path.iterdir()] == ["cells.h5ad"]
    embed_file(path, pair, out, force=True)
    embed(adata, pair, force=True)
    assert np.allclose(anndata.read_h5ad(out).obsm["X_tx1"], adata.obsm["X_tx1"], atol=1e-6)


def test_the_thresholds_are_the_same_on_both_sides(pair):
    """At 9 % of the counts known doctor has an error, at 11 % a warning; embed follows."""
    for share, refused in ((0.09, True), (0.11, False)):
        adata = tiny_cells()
        known = np.asarray(adata.X[:, :60].sum())
        adata.X = sparse.hstack([adata.X[:, :60], np.full((40, 10), known * (1 / share - 1) / 400)], format="csr")
        levels = {finding.topic: finding.level for finding in examine(adata, pair, estimate=False)}
        assert levels["coverage"] == ("error" if refused else "warning")
        if refused:
            with pytest.raises(ValueError, match=r"9.0 % of the counts.*pass --force"):
                embed(adata, pair)
        else:
            embed(adata, pair)


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf, 1e300])
def test_values_that_no_cell_can_have_are_refused_even_when_forced(value, tmp_path):
    adata = tiny_cells()
    adata.X = adata.X.astype(np.float64)
    adata.X.data[7] = value
    adata.write_h5ad(tmp_path / "cells.h5ad")
    with pytest.raises(ValueError, match="expected raw counts or log1p of them"):
        embed_file(tmp_path / "cells.h5ad", tiny_pair(), tmp_path / "out.h5ad", force=True)
    assert [path.name for path in tmp_path.iterdir()] == ["cells.h5ad"]
