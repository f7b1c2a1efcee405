"""The network: parts that may be left out, pooling, gradients, saving and loading."""

import math

import pytest
import torch

from tahoe_distill import Tx1Model


def same(found, expected):
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_shapes(make_model, batch):
    output = make_model(projection_dim=5)(**batch, output_expression=True, output_mvc=True, output_hidden_states=True)
    assert output.last_hidden_state.shape == (3, 9, 16)
    assert output.pooler_output.shape == (3, 5)
    assert output.expression.shape == output.mvc.shape == (3, 9)
    assert output.attentions is None
    assert [tuple(hidden.shape) for hidden in output.hidden_states] == [(3, 9, 16)] * 3
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)


def test_tuple_output(make_model, batch):
    model = make_model()
    hidden, cell = model(**batch, return_dict=False)
    assert torch.equal(cell, model(**batch).pooler_output) and torch.equal(hidden[:, 0], cell)


def test_padding_token_tells_where_padding_is(make_model, batch):
    model = make_model()
    without = {name: tensor for name, tensor in batch.items() if name != "attention_mask"}
    assert torch.equal(model(**without).pooler_output, model(**batch).pooler_output)


def test_poolings(make_model, batch):
    seen, hidden = batch["attention_mask"].bool(), {}
    for pooling in ("mean", "max", "w-pool"):
        output = make_model(pooling=pooling)(**batch)
        hidden, cell = output.last_hidden_state, output.pooler_output
        for row in range(3):
            tokens = hidden[row][seen[row]]
            if pooling == "w-pool":
                bins = batch["expression_bins"][row][seen[row]].clamp(min=0)
                expected = torch.nn.functional.normalize(bins @ tokens, dim=0)
            else:
                expected = tokens.mean(dim=0) if pooling == "mean" else tokens.amax(dim=0)
            torch.testing.assert_close(cell[row], expected)


def test_projection_is_linear_map_of_the_cell(make_model, batch):
    model = make_model(projection_dim=7)
    output = model(**batch)
    torch.testing.assert_close(output.pooler_output, model.projection(output.last_hidden_state[:, 0]))
    output.pooler_output.sum().backward()
    assert model.projection.weight.grad.abs().sum() > 0
    assert model.gene_encoder.embedding.weight.grad.abs().sum() > 0


def test_factorised_gene_table(make_model, batch):
    model = make_model(gene_rank=4)
    assert model.gene_encoder.embedding.weight.shape == (30, 4)
    table = model.gene_encoder.embedding.weight @ model.gene_encoder.expand.weight.T
    full = make_model()
    state = {name: tensor for name, tensor in model.state_dict().items() if "expand" not in name}
    full.load_state_dict({**state, "gene_encoder.embedding.weight": table.detach()})
    torch.testing.assert_close(model(**batch).pooler_output, full(**batch).pooler_output, rtol=1e-4, atol=1e-5)


def test_values_are_clipped(make_model, batch):
    model = make_model(max_value=10.0)
    clipped = dict(batch, expression_bins=batch["expression_bins"].clamp(max=10))
    assert torch.equal(model(**batch).pooler_output, model(**clipped).pooler_output)


def test_drug_token(make_model, batch):
    model = make_model(num_drugs=4, drug_fingerprint_dim=6, drug_token_id=3)
    one, other = (model(**batch, drug_ids=torch.full((3,), drug)).pooler_output for drug in (0, 3))
    assert (one - other).abs().max() > 1e-3
    moved = dict(batch, gene_ids=batch["gene_ids"].clone())
    moved["gene_ids"][:, 1] = 3
    assert torch.equal(model(**moved, drug_ids=torch.zeros(3, dtype=torch.long)).pooler_output, one)


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_gives_equal_gradients(make_model, batch, masked, reentrant):
    def gradients(checkpoint):
        model = make_model(masked_attention=True).train()
        if checkpoint:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            assert model.transformer_encoder.gradient_checkpointing
        output = model(**batch, masked=masked, output_expression=True, output_mvc=True)
        (output.pooler_output.square().sum() + output.expression.sum() + output.mvc.sum()).backward()
        return {name: parameter.grad for name, parameter in model.named_parameters()}

    expected, found = gradients(False), gradients(True)
    assert all(gradient is not None for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_glu": True, "projection_dim": 5, "gene_rank": 4},
        {"num_drugs": 4, "drug_fingerprint_dim": 6, "drug_token_id": 3},
        {"expression_head_layers": None, "mvc_head": False, "gene_norm": False, "value_norm": False},
    ],
)
def test_save_and_load_bit_for_bit(make_model, batch, tmp_path, changes):
    model = make_model(**changes)
    model.save_pretrained(tmp_path)
    loaded, report = Tx1Model.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert same(loaded.state_dict(), model.state_dict())
    drugs = {"drug_ids": torch.zeros(3, dtype=torch.long)} if "num_drugs" in changes else {}
    assert torch.equal(loaded(**batch, **drugs).pooler_output, model(**batch, **drugs).pooler_output)
    assert not loaded.training


def test_loading_leaves_loaded_weights_alone(make_model, tmp_path):
    """A part that the file lacks is initialised; nothing else is, biases, norms and the padding row included."""
    model = make_model()
    model.save_pretrained(tmp_path)
    loaded = Tx1Model.from_pretrained(tmp_path, projection_dim=6)
    state = loaded.state_dict()
    projection = state.pop("projection.weight"), state.pop("projection.bias")
    assert same(state, model.state_dict())
    assert projection[0].std() > 0 and not projection[1].any()


def test_fresh_weights():
    from tahoe_distill import Tx1Config

    torch.manual_seed(0)
    model = Tx1Model(Tx1Config(vocab_size=50, hidden_size=64, num_hidden_layers=4, num_attention_heads=2))
    block = model.transformer_encoder.layers[0]
    assert block.up_proj.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.05)
    assert block.down_proj.weight.std().item() == pytest.approx(math.sqrt(2 / 256) / math.sqrt(8), rel=0.05)
    assert not block.up_proj.bias.any() and block.norm1.weight.eq(1).all()


def test_reduced_precision_and_device_dtype(make_model, batch):
    model = make_model()
    expected = model(**batch).pooler_output
    found = model.to(torch.bfloat16)(**batch).pooler_output
    assert found.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(found.float(), expected).min() > 0.99


@pytest.mark.parametrize(
    ("changes", "inputs", "message"),
    [
        ({}, {"expression_bins": torch.zeros(3, 4)}, r"\(3, 9\) and \(3, 4\)"),
        ({}, {"drug_ids": torch.zeros(3, dtype=torch.long)}, "no drug token"),
        ({"num_drugs": 4, "drug_fingerprint_dim": 6}, {}, "pass drug_ids"),
        ({"expression_head_layers": None}, {"output_expression": True}, "no expression head"),
        ({"mvc_head": False}, {"output_mvc": True}, "no MVC head"),
    ],
)
def test_bad_calls(make_model, batch, changes, inputs, message):
    with pytest.raises(ValueError, match=message):
        make_model(**changes)(**{**batch, **inputs})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 10, "num_attention_heads": 3}, "multiple of num_attention_heads 3"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be a positive integer, found 0"),
        ({"hidden_size": "8"}, "hidden_size must be a positive integer, found '8'"),
        ({"pooling": "median"}, "pooling must be one of cls"),
        ({"gene_rank": 99}, "gene_rank must lie"),
        ({"num_bins": 2}, "num_bins must be at least 3"),
        ({"num_drugs": 3}, "drug_fingerprint_dim must be set"),
        ({"hidden_act": "cubic"}, "unknown activation 'cubic'; known are gelu"),
    ],
)
def test_bad_configurations(make_model, changes, message):
    with pytest.raises(ValueError, match=message):
        make_model(**changes)
