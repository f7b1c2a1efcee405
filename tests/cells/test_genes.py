"""Matching genes: ids, versions, columns, symbols, spellings, duplicates, other species, and the report."""

import logging

import anndata
import numpy as np
import pandas as pd
import pytest

from tahoe_distill.cells import match_genes, open_cells
from tahoe_distill.cells.genes import own_symbols
from tahoe_distill.models import GeneVocab, Tx1Processor

# Checked by hand against the annotation.
REAL = {
    "TP53": "ENSG00000141510",
    "MALAT1": "ENSG00000251562",
    "CD3E": "ENSG00000198851",
    "C1orf159": "ENSG00000131591",
    "H2AZ1": "ENSG00000164032",
}


@pytest.fixture
def vocab():
    return GeneVocab({"<pad>": 0, "<cls>": 1, **{gene: number + 2 for number, gene in enumerate(REAL.values())}})


def match(vocab, index=None, **options):
    var = options.pop("var", None)
    var = pd.DataFrame(index=index) if var is None else var
    with open_cells(anndata.AnnData(np.zeros((1, len(var)), dtype=np.float32), var=var)) as cells:
        return match_genes(cells, vocab, **options)


def test_ids_in_the_index_with_versions(vocab):
    found = match(vocab, [f"{REAL['MALAT1']}.7", "ENSG99999999999", REAL["TP53"]])
    assert found.tokens.tolist() == [3, -1, 2] and found.column is None and found.by_symbol == 0
    assert found.unmatched == ["ENSG99999999999"] and found.report()["column"] == "index"


@pytest.mark.parametrize("column", ["gene_ids", "gene_id", "ensembl_id", "feature_id"])
def test_ids_in_the_usual_columns_win_over_symbols(vocab, column):
    found = match(vocab, var=pd.DataFrame({column: list(REAL.values())}, index=list(REAL)))
    assert found.column == column and found.count == 5 and found.by_symbol == 0


def test_a_few_ids_do_not_win_over_many_symbols(vocab):
    var = pd.DataFrame({"gene_ids": [REAL["TP53"], "x", "y", "z", "w"]}, index=list(REAL))
    assert match(vocab, var=var).column is None and match(vocab, var=var, gene_key="gene_ids").count == 1


@pytest.mark.parametrize("column", [None, "gene_name", "gene_symbols", "symbol", "feature_name"])
def test_symbols_alone(vocab, column):
    var = pd.DataFrame(index=list(REAL)) if column is None else pd.DataFrame({column: list(REAL)}, index=list("abcde"))
    found = match(vocab, var=var)
    assert found.tokens.tolist() == [2, 3, 4, 5, 6] and found.column == column and found.by_symbol == 5
    assert "5 of 5 genes are in the vocabulary (100.0 %)" in str(found) and "5 of them by symbol" in str(found)


def test_previous_symbols_and_spellings(vocab):
    names = ["H2AFZ", " TP53", "GRCh38_CD3E", "GRCh38______ENSG00000251562.2", "C1ORF159", "ensg00000141510"]
    assert match(vocab, names).tokens.tolist() == [6, 2, 4, 3, 5, 2]


def test_small_letters_are_not_forgiven_since_they_are_other_species(vocab):
    assert match(vocab, ["malat1", "Malat1", "Cd3e", "tp53"]).count == 0


def test_the_users_table_overrides_the_models_and_that_the_shipped(vocab):
    own = GeneVocab(vocab.tokens, {"TP53": REAL["CD3E"], "MINE": REAL["MALAT1"]})
    assert match(own, ["TP53", "MINE", "H2AZ1"]).tokens.tolist() == [4, 3, 6]
    table = {"TP53": REAL["H2AZ1"], "H2AZ1": "ENSG00000999999"}
    assert match(own, ["TP53", "MINE", "H2AZ1"], symbols=table).tokens.tolist() == [6, 3, -1]


def test_a_vocabulary_of_symbols(vocab):
    nano = GeneVocab({"<pad>": 0, "<cls>": 1, "TP53": 2, "CD3E": 3, "C1orf159": 4})
    var = pd.DataFrame({"gene_name": list(REAL)}, index=list(REAL.values()))
    found = match(nano, var=var)
    assert found.tokens.tolist() == [2, -1, 3, 4, -1] and found.column == "gene_name" and found.by_symbol == 0
    assert match(nano, ["C1ORF159", "GRCh38_TP53"]).tokens.tolist() == [4, 2]


def test_duplicates_are_summed_with_a_warning(vocab, caplog):
    with caplog.at_level(logging.INFO):
        found = match(vocab, [REAL["TP53"], "TP53", REAL["CD3E"]]).require()
    assert found.report()["duplicates_summed"] == 1 and found.report()["by_symbol"] == 1
    assert "1 genes repeat an earlier one" in caplog.text and "3 of 3 genes are in the vocabulary" in caplog.text


def test_few_known_genes_are_told(vocab, caplog):
    match(vocab, [REAL["TP53"], *(f"ENSG9999999999{n}" for n in range(4))]).require()
    assert "only 1 of 5 genes are in the vocabulary (20.0 %), read from the index" in caplog.text


def test_no_match_says_where_it_looked(vocab):
    var = pd.DataFrame({"feature_id": ["x1", "x2"]}, index=["A_", "B_"])
    with pytest.raises(ValueError, match=r"none of the 2 genes .* the index \(A_, B_\), feature_id \(x1, x2\)"):
        match(vocab, var=var).require()


def test_cells_of_another_species_are_refused_though_a_name_matches(vocab):
    mouse = ["Trp53", "Malat1", "Cd3e", "Cd4", "Cd8a", "Gapdh", "Actb", "Ptprc", "Lyz2", "Nkg7", "Cst3", "TP53"]
    with pytest.raises(ValueError, match="1 of 12 genes .*The names look like mouse gene symbols"):
        match(vocab, mouse).require()


def test_gene_key_must_exist(vocab):
    with pytest.raises(ValueError, match="no column 'ids'; found gene_name"):
        match(vocab, var=pd.DataFrame({"gene_name": ["A"]}), gene_key="ids")


def test_the_processor_alone_finds_the_same(vocab):
    adata = anndata.AnnData(np.ones((1, 3), dtype=np.float32), var=pd.DataFrame(index=["MINE", "C1ORF159", "x"]))
    processor = Tx1Processor(GeneVocab(vocab.tokens, {"MINE": REAL["TP53"], "C1orf159": REAL["C1orf159"]}))
    assert processor.match(adata).tolist() == [2, 5, -1]
    adata.var["gene_ids"] = list(REAL.values())[:3]
    assert processor.match(adata).tolist() == [2, 3, 4]


def test_own_symbols_of_a_table(vocab):
    ids = list(REAL.values())
    var = pd.DataFrame({"gene_name": ["A", "A", "nan", ids[3], "E"]}, index=[*ids[:4], "ENSG9"])
    assert own_symbols(var, vocab, None) == {"A": ids[0]}
    assert own_symbols(var.set_index("gene_name").assign(gene_ids=ids), vocab, "gene_ids")["E"] == ids[4]
    assert own_symbols(pd.DataFrame(index=list(REAL)), vocab, None) == {}
    assert own_symbols(var, vocab, "gene_name") == {}
