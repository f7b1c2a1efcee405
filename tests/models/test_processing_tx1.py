"""From cells to inputs: vocabulary, binning, choice of genes, padding, matching, saving."""

import json

import numpy as np
import pytest
import torch

from tahoe_distill import GeneVocab, Tx1Processor
from tahoe_distill.models import bin_expression
from tahoe_distill.models.processing_tx1 import choose_genes


@pytest.fixture
def processor(vocab):
    return Tx1Processor(vocab, max_length=8)


def torch_bins(values, num_bins=51, right=False):
    """Binning as DESIGN.md states it, by torch's own functions."""
    values = torch.as_tensor(values, dtype=torch.float32)
    edges = torch.quantile(values, torch.linspace(0, 1, num_bins - 1))
    return (torch.bucketize(values, edges, right=right) + (0 if right else 1)).float().numpy()


@pytest.mark.parametrize("right", [False, True])
def test_binning(right):
    rng = np.random.default_rng(0)
    for cell in ([5.0], [2, 2, 2], [1, 1, 9], rng.geometric(0.3, 777), rng.lognormal(size=2000)):
        np.testing.assert_array_equal(bin_expression(cell, right=right), torch_bins(cell, right=right))


def test_binning_depends_on_ranks_alone():
    counts = np.random.default_rng(0).geometric(0.1, 300).astype(np.float32)
    np.testing.assert_array_equal(bin_expression(counts), bin_expression(np.log1p(counts / counts.sum() * 1e4)))


def test_binning_leaves_its_input_alone_and_takes_an_empty_cell():
    counts = np.array([3.0, 1.0, 2.0], dtype=np.float32)
    bin_expression(counts)
    assert counts.tolist() == [3, 1, 2]
    assert bin_expression([]).shape == (0,)
    assert bin_expression([0.0, 0.0]).tolist() == [1, 1]


def test_encode(processor):
    tokens, values = processor.encode(np.array([9, 5, 7, 6]), np.array([4, 0, 1, 1]))
    assert tokens.tolist() == [1, 9, 7, 6] and tokens.dtype == np.int64
    np.testing.assert_array_equal(values, np.concatenate([[-2], torch_bins([4, 1, 1])]))


def test_encode_an_empty_cell(processor):
    tokens, values = processor.encode(np.array([5, 6]), np.array([0, 0]))
    assert tokens.tolist() == [1] and values.tolist() == [-2]


def test_encode_cuts_to_the_context_after_binning(processor):
    genes, counts = np.arange(4, 24), np.arange(1, 21)
    tokens, values = processor.encode(genes, counts)
    assert len(tokens) == 8 and tokens[0] == 1
    np.testing.assert_array_equal(values[1:], bin_expression(counts)[tokens[1:] - 4])
    order = np.random.default_rng(0).permutation(20)
    again, _ = processor.encode(genes[order], counts[order])
    assert set(again) == set(tokens)


@pytest.mark.parametrize(("bad", "shown"), [(-1.0, "-1.0"), (float("nan"), "nan"), (float("inf"), "inf")])
def test_encode_refuses_what_are_no_counts(processor, bad, shown):
    with pytest.raises(ValueError, match=f"zero or more, found {shown}"):
        processor.encode(np.array([4, 5]), np.array([1.0, bad]))


def test_encode_refuses_other_lengths(processor):
    with pytest.raises(ValueError, match="one count for each gene, found 2 genes and 3 counts"):
        processor.encode(np.array([4, 5]), np.array([1.0, 2.0, 3.0]))


def test_choose_genes_is_a_matter_of_the_set():
    rng = np.random.default_rng(0)
    tokens = rng.permutation(np.arange(3, 5000))
    chosen = set(tokens[choose_genes(tokens, 1000)])
    shuffled = rng.permutation(tokens)
    assert len(chosen) == 1000 and set(shuffled[choose_genes(shuffled, 1000)]) == chosen
    assert chosen != set(tokens[1:][choose_genes(tokens[1:], 1000)])
    assert abs(np.mean(list(chosen)) - tokens.mean()) < 150
    assert choose_genes(tokens, 9999).tolist() == list(range(len(tokens)))
    assert choose_genes(tokens, 0).size == 0


def test_pad(processor):
    batch = processor.pad([processor.encode([4, 5], [1.0, 2.0]), processor.encode([6], [3.0])])
    assert batch["gene_ids"].tolist() == [[1, 4, 5], [1, 6, 0]]
    assert batch["expression_bins"][1].tolist() == [-2, 1, -2]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert "drug_ids" not in batch


def test_drug_token(vocab):
    processor = Tx1Processor(vocab, max_length=8, use_chem_token=True)
    tokens, values = processor.encode([4, 5], [1.0, 2.0])
    assert tokens.tolist() == [1, 3, 4, 5] and values[:2].tolist() == [-2, -2]
    assert processor.pad([(tokens, values)])["drug_ids"].tolist() == [0]
    assert processor.pad([(tokens, values)], drug_ids=[3])["drug_ids"].tolist() == [3]
    assert len(processor.encode(np.arange(4, 30), np.ones(26))[0]) == 8


def test_drug_token_must_be_in_the_vocabulary():
    with pytest.raises(ValueError, match="no <drug> token"):
        Tx1Processor(GeneVocab({"<pad>": 0, "<cls>": 1}), use_chem_token=True)


def test_gene_names(vocab):
    names = ["ENSG00000000003", "ENSG00000000004.12", "TP53", "ODD", "<cls>", "nothing", 7]
    assert vocab.gene_tokens(names).tolist() == [7, 8, 11, -1, -1, -1, -1]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({"<pad>": 0, "a": 1}, "lacks <cls>"),
        ({"<pad>": 0, "<cls>": 0}, "one number to several"),
    ],
)
def test_bad_vocabularies(tokens, message):
    with pytest.raises(ValueError, match=message):
        GeneVocab(tokens)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[1]", "expected a JSON object, found a list"),
        ('{"<pad>": "0"}', "found '0' for '<pad>'"),
        ('{"<pad>": -1}', "found -1"),
    ],
)
def test_bad_vocabulary_files(tmp_path, text, message):
    path = tmp_path / "vocab.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        GeneVocab.from_file(path)


@pytest.fixture
def adata():
    anndata = pytest.importorskip("anndata")
    counts = np.array([[1, 0, 3, 2], [0, 0, 0, 5]], dtype=np.float32)
    found = anndata.AnnData(counts)
    found.var_names = ["ENSG00000000001", "other", "ENSG00000000003.4", "ENSG00000000002"]
    found.obs["drug"] = ["a", "unknown"]
    return found


def test_batch_from_anndata(processor, adata):
    batch = processor(adata)
    assert batch["gene_ids"].tolist() == [[1, 5, 7, 6], [1, 6, 0, 0]]
    adata.X = __import__("scipy.sparse").sparse.csr_matrix(adata.X)
    sparse = processor(adata)
    assert all(torch.equal(sparse[name], batch[name]) for name in batch)


def test_drugs_from_anndata(vocab, adata):
    processor = Tx1Processor(vocab, use_chem_token=True, drug_to_id={"<pad>": 0, "a": 2})
    assert processor(adata, drug_key="drug")["drug_ids"].tolist() == [2, 0]


def test_unknown_drugs_are_told_and_count_as_none(vocab, adata, caplog):
    processor = Tx1Processor(vocab, use_chem_token=True, drug_to_id={"<pad>": 3, "a": 2})
    assert processor(adata, drug_key="drug")["drug_ids"].tolist() == [2, 3]
    assert processor(adata)["drug_ids"].tolist() == [3, 3] and caplog.text.count("count as no drug: unknown") == 1
    with pytest.raises(ValueError, match="drug_key 'drug' was given, but this model has no drug token"):
        Tx1Processor(vocab)(adata, drug_key="drug")


def test_raw_has_genes_of_its_own(processor, adata):
    expected = processor(adata)
    adata.raw = adata
    found = processor(adata[:, :1], layer="raw")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_columns_of_one_gene_are_summed(processor, adata):
    tokens = np.array([5, 5, 6, -1])
    (first, values), (second, _) = processor.encode_rows(adata.X, tokens)
    assert first.tolist() == [1, 5, 6] and second.tolist() == [1]
    np.testing.assert_array_equal(values[1:], bin_expression([1, 3]))


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize(
    "options", [{}, {"right_binning": True}, {"do_binning": False, "log_transform": True}, {"do_binning": False}]
)
def test_rows_at_once_are_rows_one_by_one(vocab, options, repeated):
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(0)
    counts = (rng.geometric(0.2, (40, 26)) * (rng.random((40, 26)) < rng.random((40, 1)))).astype(np.float32)
    counts[3] = 0
    tokens = rng.permutation(26) + 4
    tokens[[1, 9]] = -1
    if repeated:
        tokens[5] = tokens[7]
    processor = Tx1Processor(vocab, max_length=15, **options)
    for matrix in (counts, sparse.csr_matrix(counts), sparse.csc_matrix(counts)):
        for row, (found_tokens, found_values) in zip(counts, processor.encode_rows(matrix, tokens)):
            sums = np.bincount(tokens[tokens >= 0], weights=row[tokens >= 0], minlength=30)
            # In the order of the columns, which is what a log-normalised sum is taken over.
            order = np.flatnonzero(sums) if repeated else tokens[tokens >= 0]
            expected_tokens, expected_values = processor.encode(order, sums[order])
            assert dict(zip(found_tokens, found_values)) == dict(zip(expected_tokens, expected_values))
            assert len(set(found_tokens)) == len(found_tokens) and found_tokens[0] == 1


def test_rows_refuse_what_are_no_counts(processor):
    with pytest.raises(ValueError, match="found -2.0 in row 1"):
        processor.encode_rows(np.array([[1, 2], [3, -2]]), np.array([4, 5]))


def test_match_finds_the_column(processor, adata):
    adata.var["gene_ids"] = adata.var_names
    adata.var_names = ["w", "x", "y", "z"]
    assert processor.match(adata).tolist() == [5, -1, 7, 6]
    assert processor.match(adata, gene_key="gene_ids").tolist() == [5, -1, 7, 6]
    with pytest.raises(ValueError, match="no column 'nope'; found gene_ids"):
        processor.match(adata, gene_key="nope")
    del adata.var["gene_ids"]
    with pytest.raises(ValueError, match="none of the 4 genes is in the vocabulary .*start with w, x, y"):
        processor.match(adata)
    adata.var["gene_symbols"] = ["TP53", "hg38_TP53", "tp53", "ODD"]
    assert processor.match(adata).tolist() == [11, 11, -1, -1]


def test_spellings_of_gene_names(vocab):
    vocab.symbols.update({"C1orf9": "ENSG00000000005", "AbC": "ENSG00000000001", "ABc": "ENSG00000000002"})
    names = [
        " TP53 ",
        "GRCh38_TP53",
        "GRCh38______ENSG00000000003.2",
        "ensg00000000003",
        "C1ORF9",
        "c1orf9",
        "ABC",
        "Tp53",
    ]
    numbers, by_symbol = vocab.find_genes(names)
    assert numbers.tolist() == [11, 11, 7, 7, 9, -1, -1, -1]
    assert by_symbol.tolist() == [True, True, False, False, True, False, False, False]


def test_the_column_that_tells_best(vocab):
    pandas = pytest.importorskip("pandas")
    ids = [f"ENSG{number:011d}" for number in (3, 4, 7)]
    var = pandas.DataFrame({"symbol": ["TP53"] * 3, "gene_ids": ids}, index=["a", "b", "TP53"])
    column, numbers, by_symbol = vocab.match(var)
    assert column == "gene_ids" and numbers.tolist() == [7, 8, 11] and not by_symbol.any()
    # Two ids outweigh three symbols, one id does not.
    assert vocab.match(var.assign(gene_ids=["x", *ids[1:]]))[0] == "gene_ids"
    assert vocab.match(var.assign(gene_ids=["x", "y", ids[2]]))[0] == "symbol"


def test_save_and_load(vocab, tmp_path):
    options = {"num_bins": 21, "right_binning": True, "max_length": 9, "use_chem_token": True, "drug_to_id": {"a": 1}}
    processor = Tx1Processor(vocab, **options)
    processor.save_pretrained(tmp_path)
    loaded = Tx1Processor.from_pretrained(tmp_path)
    assert loaded.vocab.tokens == vocab.tokens and loaded.vocab.symbols == vocab.symbols
    assert {name: getattr(loaded, name) for name in options} == options
    settings = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert settings["auto_map"] == {"AutoProcessor": "processing_tx1.Tx1Processor"}
