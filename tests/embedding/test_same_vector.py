"""Same cell, same vector: over batch size, order, chunking, workers, processes and the way of computing."""

import anndata
import numpy as np
import pytest

from tahoe_distill.embedding import check_determinism, embed
from tahoe_distill.embedding.pipeline import pack, unpack
from tahoe_distill.models import GeneVocab, Tx1Model, Tx1Processor
from tests.helpers.tiny_student import tiny_cells, tiny_pair


@pytest.mark.parametrize(
    "options", [{"batch_size": 1}, {"batch_size": 7}, {"batch_size": 1000}, {"window": 1}, {"window": 13}]
)
def test_batch_size_and_chunking(options, adata, pair, reference):
    found = embed(adata, pair, copy=True, **options).obsm["X_tx1"]
    np.testing.assert_allclose(found, reference, atol=1e-6)


def test_company_without_attention(adata):
    pair = tiny_pair(encoder="set", set_pools=["mean", "attention", "top"], set_pair_rank=4)
    alone = embed(adata, pair, copy=True, batch_size=1).obsm["X_tx1"]
    for options in ({}, {"batch_size": 7}, {"window": 13}):
        np.testing.assert_allclose(embed(adata, pair, copy=True, **options).obsm["X_tx1"], alone, atol=1e-6)


def test_order_and_company(adata, pair, reference):
    order = np.random.default_rng(1).permutation(adata.n_obs)
    np.testing.assert_allclose(embed(adata[order], pair, copy=True).obsm["X_tx1"], reference[order], atol=1e-6)
    np.testing.assert_allclose(embed(adata[[3]], pair, copy=True).obsm["X_tx1"], reference[[3]], atol=1e-6)


def test_order_of_genes_does_not_choose_other_genes(adata, pair, reference):
    genes = np.random.default_rng(1).permutation(adata.n_vars)
    np.testing.assert_allclose(embed(adata[:, genes], pair, copy=True).obsm["X_tx1"], reference, atol=1e-5)


def test_same_batch_same_bits(adata, pair):
    first, second = (embed(adata, pair, copy=True).obsm["X_tx1"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_workers_and_processes(adata, student_dir, tmp_path):
    adata.write_h5ad(tmp_path / "cells.h5ad")
    compared = check_determinism(tmp_path / "cells.h5ad", student_dir, cells=30)
    assert [way.name for way in compared][-2:] == ["2 tokenising processes", "2 other processes"]
    assert max(way.difference for way in compared) <= 1e-6
    assert compared[0].sha256 == compared[1].sha256


def test_packing_keeps_cells(adata, pair):
    _, processor = pair
    cells = processor.encode_rows(adata.X, processor.match(adata))
    for (tokens, values), (tokens_back, values_back) in zip(cells, unpack(pack(cells))):
        np.testing.assert_array_equal(tokens, tokens_back)
        np.testing.assert_array_equal(values, values_back)
        assert tokens.dtype == tokens_back.dtype


def _cell_by_cell(processor, matrix, tokens):
    """The plain way: each row by itself, columns of one token added up."""
    cells = []
    for row in matrix.toarray():
        genes = sorted(set(tokens[tokens >= 0].tolist()), key=tokens.tolist().index)
        if len(genes) != (tokens >= 0).sum():
            genes = sorted(genes)
        cells.append(processor.encode(np.array(genes), np.array([row[tokens == gene].sum() for gene in genes])))
    return cells


@pytest.mark.parametrize("settings", [{}, {"right_binning": True}, {"do_binning": False}, {"max_length": 500}])
@pytest.mark.parametrize("case", ["plain", "log1p", "shared genes", "empty cells", "dense"])
def test_rows_are_encoded_as_cells_one_by_one(settings, case, pair):
    adata = tiny_cells(20)
    processor = Tx1Processor(pair[1].vocab, **{"max_length": 32, **settings})
    tokens, matrix = processor.match(adata), adata.X.copy()
    if case == "shared genes":
        tokens[10:20] = tokens[30:40]
    elif case == "empty cells":
        matrix.data[matrix.indptr[3] : matrix.indptr[4]] = 0
        matrix.data[matrix.indptr[19] :] = 0
    elif case == "log1p":
        matrix = matrix.multiply(1e4 / matrix.sum(1)).tocsr().log1p()
    expected = _cell_by_cell(processor, matrix, tokens)
    found = processor.encode_rows(matrix.toarray() if case == "dense" else matrix, tokens)
    assert len(found) == len(expected) == 20
    for (tokens_a, values_a), (tokens_b, values_b) in zip(found, expected):
        np.testing.assert_array_equal(tokens_a, tokens_b)
        np.testing.assert_array_equal(values_a, values_b)


@pytest.mark.shared_data
def test_real_cells_are_encoded_as_cells_one_by_one(real_data):
    adata = anndata.read_h5ad(real_data / "pbmc1k.h5ad")[::50]
    processor = Tx1Processor(GeneVocab.from_file(str(real_data / "tahoe_x1_vocab.json")))
    tokens = processor.match(adata)
    rows = adata.X.toarray()
    for number, (genes, values) in enumerate(processor.encode_rows(adata.X, tokens)):
        expected = processor.encode(tokens, rows[number])
        np.testing.assert_array_equal(genes, expected[0])
        np.testing.assert_array_equal(values, expected[1])


def test_the_models_of_the_tests_see_more_than_which_genes_are_there(pair, adata):
    """A fresh model does not; every comparison of values needs one that does."""
    there = adata.copy()
    there.X.data[:] = 1
    fresh = Tx1Model(pair[0].config).eval(), pair[1]
    counts, ones = (embed(cells, fresh, copy=True).obsm["X_tx1"] for cells in (adata, there))
    assert np.abs(counts - ones).max() < 1e-6
    counts, ones = (embed(cells, pair, copy=True).obsm["X_tx1"] for cells in (adata, there))
    assert np.abs(counts - ones).max(axis=1).mean() > 0.01
