"""Running a model over many cells: batches by length, `embed`, sums over genes, rows of attention, decoding."""

import numpy as np
import pytest
import torch

from tahoe_distill.embedding import embed
from tahoe_distill.models import CellEncoder, GeneSums
from tahoe_distill.models.processing_tx1 import plan_batches
from tests.helpers.tiny_student import tiny_cells, tiny_pair


@pytest.fixture
def cells():
    """Forty cells, some of them above the context."""
    return tiny_cells()


@pytest.mark.parametrize("batch_size", ["auto", 1, 3, 100])
def test_plan_covers_each_cell_once_with_little_padding(batch_size):
    lengths = np.random.default_rng(0).integers(1, 1000, 500)
    batches = plan_batches(lengths, batch_size, tokens=4096)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    assert padded < 1.1 * lengths.sum() or batch_size == 100
    if batch_size == "auto":
        assert max(lengths[batch].max() * len(batch) for batch in batches) <= 4096
    for batch in plan_batches(lengths, batch_size, 4096, same_length=True):
        assert len(set(lengths[batch])) == 1


def test_plan_of_no_cells_and_of_cells_beyond_the_budget():
    assert plan_batches([], 3, 4096) == []
    assert [batch.tolist() for batch in plan_batches([10, 30, 20], "auto", 5)] == [[1], [2], [0]]


def test_batches_hold_each_cell_and_no_mask_without_padding(cells):
    _, processor = tiny_pair(drug=True)
    encoded = processor.encode_rows(cells.X, processor.match(cells))
    drugs = np.arange(40)
    seen = []
    for numbers, batch in processor.batches(encoded, drugs, tokens=100):
        lengths = [len(encoded[number][0]) for number in numbers]
        assert ("attention_mask" in batch) == (len(set(lengths)) > 1)
        assert batch["drug_ids"].tolist() == numbers.tolist()
        for number, length, row in zip(numbers, lengths, batch["gene_ids"].numpy()):
            assert row[:length].tolist() == encoded[number][0].tolist() and not row[length:].any()
        seen += numbers.tolist()
    assert sorted(seen) == list(range(40))


@pytest.mark.parametrize(
    "settings", [{}, {"pooling": "mean"}, {"use_glu": True}, {"projection_dim": 5}, {"num_hidden_layers": 1}]
)
@pytest.mark.parametrize("binned", [True, False])
def test_encoder_equals_model(settings, binned, cells):
    model, processor = tiny_pair(**settings)
    batch = dict(processor(cells))
    encoder = CellEncoder(model, normalize=False, binned=binned)
    with torch.no_grad():
        torch.testing.assert_close(encoder(**batch), model(**batch).pooler_output, atol=2e-6, rtol=1e-5)
        encoder.normalize = True
        torch.testing.assert_close(encoder(**batch).norm(dim=1), torch.ones(40))


@pytest.mark.parametrize(
    "settings", [{}, {"pooling": "avg-pool"}, {"pooling": "mean", "projection_dim": 7}, {"drug": True}]
)
def test_embed_gives_the_vectors_of_the_package(settings, cells):
    """Bit for bit: an exported folder has all that it takes."""
    model, processor = tiny_pair(**settings)
    options = {"drug_key": "drug"} if "drug" in settings else {}
    found = model.embed(processor, cells, **options)
    assert found.dtype == np.float32 and found.shape == (40, model.config.embedding_size)
    expected = embed(cells, (model, processor), copy=True, **options).obsm["X_tx1"]
    np.testing.assert_array_equal(found, expected)


def test_embed_reads_what_it_is_told(cells, tmp_path):
    model, processor = tiny_pair()
    expected = model.embed(processor, cells)
    other = cells.copy()
    other.layers["counts"], other.X = other.X, None
    other.var["ids"], other.var_names = other.var_names, [f"g{number}" for number in range(70)]
    np.testing.assert_array_equal(model.embed(processor, other, layer="counts", gene_key="ids"), expected)
    np.testing.assert_allclose(model.embed(processor, cells, batch_tokens=1), expected, atol=1e-6)
    raw = model.embed(processor, cells, normalize=False)
    with torch.no_grad():
        np.testing.assert_allclose(raw, model(**processor(cells)).pooler_output.numpy(), atol=1e-5)
    np.testing.assert_allclose(raw / np.linalg.norm(raw, axis=1, keepdims=True), expected, atol=1e-6)
    assert model.embed(processor, cells[:0]).shape == (0, 32)


def test_embed_of_more_cells_than_a_window(cells, monkeypatch):
    model, processor = tiny_pair()
    expected = model.embed(processor, cells)
    monkeypatch.setattr("tahoe_distill.models.modeling_tx1.CPU_WINDOW", 7)
    np.testing.assert_allclose(model.embed(processor, cells), expected, atol=1e-6)


def test_embed_leaves_each_module_in_its_mode(cells):
    model, processor = tiny_pair(value_dropout=0.5, hidden_dropout=0.5)
    expected = model.embed(processor, cells)
    model.train()
    model.transformer_encoder.layers[0].eval()
    before = {name: module.training for name, module in model.named_modules()}
    np.testing.assert_array_equal(model.embed(processor, cells), expected)
    assert {name: module.training for name, module in model.named_modules()} == before
    assert len(set(before.values())) == 2


def test_gene_sums(cells):
    model, processor = tiny_pair()
    batch = processor(cells)
    embeddings = torch.randn(*batch["gene_ids"].shape, 32)
    sums = GeneSums(model)
    for half in (slice(0, 15), slice(15, 40)):
        sums.add(batch["gene_ids"][half], embeddings[half])
    tokens, found, counts = sums.get()
    assert set(tokens) == set(batch["gene_ids"].unique().tolist())
    for token, total, count in zip(tokens, found, counts):
        at = batch["gene_ids"] == token
        assert count == at.sum()
        np.testing.assert_allclose(total, embeddings[at].sum(dim=0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("blocks", [[0], [-1], [0, 1]])
def test_cls_attention_is_row_0_of_the_weights(blocks, make_model, batch):
    model = make_model()
    with torch.no_grad():
        output = model(**batch, output_attentions=True, output_hidden_states=True)
        found = model.cls_attention(output.hidden_states, batch["attention_mask"], blocks)
    expected = torch.stack([output.attentions[block][:, :, 0].mean(dim=1) for block in blocks]).mean(dim=0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("scaled", [True, False])
def test_cells_decode_to_what_the_mvc_head_says_of_their_genes(scaled, make_model, batch):
    model = make_model(standard_scale_outputs=scaled, projection_dim=5)
    with torch.no_grad():
        output = model(**batch, output_mvc=True)
        cell = model.pool(output.last_hidden_state, batch["attention_mask"].bool(), batch["expression_bins"])
        found = model.decode_cells(cell, model.mvc_keys(torch.arange(30)))
    expected = (output.mvc + 1) / 2 * 49 + 1 if scaled else output.mvc
    torch.testing.assert_close(found.gather(1, batch["gene_ids"]), expected, rtol=1e-4, atol=1e-4)
