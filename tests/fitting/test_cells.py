"""The cells of a fit: counted by token, refused where they are too few, split in two."""

import anndata
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from tahoe_distill.cells import open_cells
from tahoe_distill.fitting.cells import count_cells, split, vocabulary_of


def read(adata, vocab=None, **options):
    with open_cells(adata) as cells:
        return count_cells(cells, vocab, **options)


def test_counts_stand_at_their_tokens(fit_cells, small_vocab):
    found = read(fit_cells, small_vocab)
    tokens = [small_vocab[gene] for gene in fit_cells.var_names]
    np.testing.assert_array_equal(found.counts[:, tokens].toarray(), fit_cells.X.toarray())
    assert found.are_counts and found.counts.sum() == fit_cells.X.sum()
    genes, values = found.take(np.array([3])).cell(0)
    np.testing.assert_array_equal(found.counts[3].toarray()[0, genes], values)


def test_columns_of_one_gene_are_summed(fit_cells, small_vocab):
    doubled = anndata.concat([fit_cells, fit_cells], axis=1)
    doubled.var_names = [*fit_cells.var_names, *(f"{name}.2" for name in fit_cells.var_names)]
    np.testing.assert_array_equal(
        read(doubled, small_vocab).counts.toarray(), 2 * read(fit_cells, small_vocab).counts.toarray()
    )


def test_cells_without_a_known_gene_are_left_out_with_their_rows(fit_cells, small_vocab, caplog):
    emptied = fit_cells.copy()
    emptied.X = csr_matrix(emptied.X.toarray() * (np.arange(140) != 5)[:, None])
    found = read(emptied, small_vocab)
    assert len(found) == 139 and 5 not in found.rows
    assert "1 cells without a known gene" in caplog.text


def test_too_few_cells_are_refused_with_what_a_fit_needs(fit_cells, small_vocab):
    with pytest.raises(ValueError, match="found 99 cells with a known gene; a fit needs 100 at least"):
        read(fit_cells[:99].copy(), small_vocab)


def test_a_draw_is_of_the_number_asked_for(fit_cells, small_vocab):
    found = read(fit_cells, small_vocab, most=110, seed=3)
    assert len(found) == 110 and (np.diff(found.rows) > 0).all()
    np.testing.assert_array_equal(found.counts.toarray(), read(fit_cells, small_vocab).counts[found.rows].toarray())


def test_the_vocabulary_of_the_cells_prefers_ids(fit_cells):
    named = fit_cells.copy()
    named.var["gene_id"] = [f"{name}.7" for name in named.var_names]
    named.var_names = [f"SYM{number}" for number in range(40)]
    with open_cells(named) as cells:
        vocab = vocabulary_of(cells)
    assert list(vocab.tokens) == ["<pad>", "<cls>", *fit_cells.var_names]
    assert read(named).symbols["SYM3"] == fit_cells.var_names[3]
    del named.var["gene_id"]
    with open_cells(named) as cells:
        assert list(vocabulary_of(cells).tokens)[2:5] == ["SYM0", "SYM1", "SYM2"]


def test_a_split_has_every_cell_once():
    learn, judge = split(140, 0.1, 0)
    assert len(judge) == 20 and sorted([*learn, *judge]) == list(range(140))
    assert len(split(1000, 0.25, 0)[1]) == 250 and len(split(10**5, 0.5, 0)[1]) == 2000
    for count, share in ((140, 0.9), (140, 0.0), (90, 0.1)):
        with pytest.raises(ValueError, match=f"leaves 80 of {count} to learn from"):
            split(count, share, 0)
