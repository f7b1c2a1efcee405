"""Matching genes: ids, versions, columns, symbols, duplicates, and the report."""

import logging

import pandas as pd
import pytest

from tahoe_distill.data.genes import match_genes, read_symbols
from tahoe_distill.models.processing_tx1 import GeneVocab

IDS = [f"ENSG{number:011d}" for number in range(4)]


@pytest.fixture
def small():
    return GeneVocab({"<pad>": 0, "<cls>": 1, **{name: number + 2 for number, name in enumerate(IDS)}})


def test_ids_in_the_index_with_versions(small):
    match, symbols = match_genes(pd.DataFrame(index=[f"{IDS[1]}.7", "ENSG99999999999", IDS[0]]), small, "f")
    assert match.tokens.tolist() == [3, -1, 2] and match.column is None and symbols == {}
    assert match.unmatched == ["ENSG99999999999"]


@pytest.mark.parametrize("column", ["gene_ids", "gene_id", "ensembl_id", "feature_id"])
def test_ids_in_the_usual_columns(small, column):
    var = pd.DataFrame({column: IDS}, index=["A", "B", "C", "D"])
    match, symbols = match_genes(var, small, "f")
    assert match.column == column and match.count == 4
    assert symbols == dict(zip("ABCD", IDS))


def test_symbols_beside_ids_in_the_index(small):
    var = pd.DataFrame({"gene_name": ["A", "A", "nan", IDS[3]]}, index=IDS)
    _, symbols = match_genes(var, small, "f")
    assert symbols == {"A": IDS[0]}


def test_symbols_alone_through_the_vocabulary(small):
    vocab = GeneVocab(small.tokens, {"B": IDS[1]})
    match, _ = match_genes(pd.DataFrame(index=["A", "B"]), vocab, "f")
    assert match.tokens.tolist() == [-1, 3]


def test_duplicates_are_counted_with_a_warning(small, caplog):
    match, _ = match_genes(pd.DataFrame(index=[f"{IDS[0]}.1", f"{IDS[0]}.2", IDS[1]]), small, "f.h5ad")
    with caplog.at_level(logging.WARNING):
        match.require()
    assert match.report()["duplicates_summed"] == 1 and "f.h5ad: 1 genes repeat" in caplog.text


def test_no_match_says_where_it_looked(small):
    var = pd.DataFrame({"feature_id": ["x1", "x2"]}, index=["A", "B"])
    with pytest.raises(ValueError, match=r"f: none of its 2 genes .* the index \(A, B\), feature_id \(x1, x2\)"):
        match_genes(var, small, "f")[0].require()


def test_gene_key_must_exist(small):
    with pytest.raises(ValueError, match="no column 'ids'; found gene_name"):
        match_genes(pd.DataFrame({"gene_name": ["A"]}), small, "f", gene_key="ids")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "gene_id\tsymbol\nENSG00000000000.3\tA\nENSG00000000001\tB\n"),
        ("t.csv", "symbol,gene\nA,ENSG00000000000\nB,ENSG00000000001\n"),
        ("t.json", '{"A": "ENSG00000000000", "B": "ENSG00000000001"}'),
    ],
)
def test_symbol_tables(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert read_symbols(tmp_path / name) == {"A": IDS[0], "B": IDS[1]}


def test_symbol_table_without_pairs(tmp_path):
    (tmp_path / "t.tsv").write_text("A\tB\n")
    with pytest.raises(ValueError, match="no row of a symbol and an Ensembl id"):
        read_symbols(tmp_path / "t.tsv")
