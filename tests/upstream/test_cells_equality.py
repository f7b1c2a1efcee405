"""Binning and batching give upstream's numbers bit for bit."""

import numpy as np
import pytest
import torch

from tahoe_distill import GeneVocab, Tx1Processor
from tahoe_distill.models import bin_expression
from tahoe_distill.models.processing_tx1 import bin_cells, log_normalize
from tests.helpers.oracle import TOKENS


@pytest.fixture
def collator(upstream):
    from tahoe_x1.data import collator

    return collator


def assert_same_bins(collator, values, num_bins, right):
    values = np.asarray(values, dtype=np.float32)
    expected = collator.binning(torch.from_numpy(values.copy()), num_bins, right).float().numpy()
    np.testing.assert_array_equal(bin_expression(values, num_bins, right), expected)
    many = bin_cells([values, np.zeros(0, np.float32), values[::-1], values], num_bins, right)
    assert [len(bins) for bins in many] == [len(values), 0, len(values), len(values)]
    for bins in (many[0], many[2][::-1], many[3]):
        np.testing.assert_array_equal(bins, expected)


@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("num_bins", [3, 11, 51])
def test_synthetic_cells(collator, right, num_bins):
    rng = np.random.default_rng(0)
    cells = [
        [1.0],
        [3.0, 3.0, 3.0],
        [1, 1, 1, 1, 2],
        [0, 0, 5, 1, 0, 1],
        [1e-30, 1.0, 1e30],
        rng.lognormal(size=997),
        rng.geometric(0.4, 3000),
        rng.poisson(0.3, 500),
        np.arange(1, 51),
        np.arange(1, 101) / 7,
    ]
    for cell in cells:
        assert_same_bins(collator, cell, num_bins, right)


@pytest.mark.shared_data
def test_real_cells(collator, real_data):
    anndata = pytest.importorskip("anndata")
    counts = anndata.read_h5ad(real_data / "pbmc1k.h5ad").X.tocsr()
    for row in range(0, 1000, 4):
        values = counts.data[counts.indptr[row] : counts.indptr[row + 1]].astype(np.float32)
        for right in (False, True):
            assert_same_bins(collator, values, 51, right)
            assert_same_bins(collator, np.log1p(values / values.sum() * 1e4), 51, right)


@pytest.mark.shared_data
@pytest.mark.parametrize("right", [False, True])
def test_real_rows_at_once(collator, real_data, right):
    """A whole file's way of binning gives the same bins as upstream's, cell by cell."""
    anndata = pytest.importorskip("anndata")
    adata = anndata.read_h5ad(real_data / "pbmc1k.h5ad")[::10]
    processor = Tx1Processor(GeneVocab.from_file(real_data / "tahoe_x1_vocab.json"), 10_000, right_binning=right)
    counts = adata.X.tocsr()
    for row, (tokens, values) in enumerate(processor.encode_rows(adata.X, processor.match(adata))):
        expressed = torch.from_numpy(counts.data[counts.indptr[row] : counts.indptr[row + 1]].astype(np.float32))
        assert len(tokens) == len(expressed) + 1
        np.testing.assert_array_equal(values[1:], collator.binning(expressed, 51, right).float().numpy())


@pytest.mark.parametrize("options", [{}, {"right_binning": True}, {"do_binning": False, "log_transform": True}])
def test_batches(collator, options):
    from tahoe_x1.tokenizer import GeneVocab as UpstreamVocab

    rng = np.random.default_rng(3)
    cells = [(rng.permutation(np.arange(4, 40))[:n], rng.geometric(0.2, n).astype(np.float32)) for n in (3, 20, 11)]
    theirs = collator.DataCollator(
        vocab=UpstreamVocab.from_dict(TOKENS), pad_token_id=0, pad_value=-2, do_mlm=False, max_length=32, **options
    )
    examples = [
        {"genes": torch.tensor([1, *tokens]), "expressions": torch.tensor([-2.0, *counts])} for tokens, counts in cells
    ]
    expected = theirs(examples)
    processor = Tx1Processor(GeneVocab(TOKENS), max_length=32, **options)
    batch = processor.pad([processor.encode(*cell) for cell in cells])
    assert torch.equal(batch["gene_ids"], expected["gene"])
    assert torch.equal(batch["expression_bins"], expected["expr"].float())


def test_log_normalisation(collator):
    values = np.random.default_rng(0).geometric(0.2, 300).astype(np.float32)
    expected = collator.log_transform(torch.from_numpy(values), 10000)
    np.testing.assert_array_equal(log_normalize(values), expected.numpy())


def test_the_oracle_leaves_streaming_as_it_was(upstream):
    from streaming.base.storage.download import S3Downloader

    functions = [value for value in vars(S3Downloader).values() if callable(value) and hasattr(value, "__module__")]
    foreign = {f.__qualname__: f.__module__ for f in functions if not f.__module__.startswith("streaming.")}
    assert functions and foreign == {}
