"""Who sees whom: the masked-attention rule, padding, and the same numbers from each implementation."""

import importlib.util
import math

import pytest
import torch

from tahoe_distill import Tx1Config, Tx1Model
from tahoe_distill.models.modeling_tx1 import attention_pattern

IMPLEMENTATIONS = ["sdpa", "eager", "flash_attention_2"]


def brute_force(attention, x, seen, masked):
    """The rule in plain loops: a masked gene is seen by itself alone, padding by nobody."""
    heads, width = attention.config.num_attention_heads, attention.head_dim
    q, k, v = attention.Wqkv(x).chunk(3, dim=-1)
    out = torch.zeros_like(x)
    for cell in range(x.shape[0]):
        for i in range(x.shape[1]):
            keys = [j for j in range(x.shape[1]) if seen[cell, j] and (not masked[cell, j] or j == i)]
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                scores = [float(q[cell, i, part] @ k[cell, j, part]) / math.sqrt(width) for j in keys]
                weights = [math.exp(score - max(scores)) for score in scores]
                for j, weight in zip(keys, weights):
                    out[cell, i, part] += weight / sum(weights) * v[cell, j, part]
    return attention.out_proj(out)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("with_mask", [True, False])
def test_rule_against_brute_force(make_model, batch, masked, implementation, with_mask):
    attention = make_model(masked_attention=True).double().transformer_encoder.layers[0].self_attn
    x = torch.randn(3, 9, 16, dtype=torch.float64)
    seen = batch["attention_mask"].bool()
    pattern = attention_pattern(seen, masked if with_mask else None)
    with torch.no_grad():
        found, _ = attention(x, pattern, implementation)
        expected = brute_force(attention, x, seen, masked & with_mask)
    torch.testing.assert_close(found[seen], expected[seen], rtol=1e-10, atol=1e-12)


def test_masked_gene_is_unseen_by_others(make_model, batch, masked):
    model = make_model(masked_attention=True)
    changed = dict(batch, gene_ids=batch["gene_ids"].clone())
    changed["gene_ids"][0, 5] = 29 if batch["gene_ids"][0, 5] != 29 else 28
    with torch.no_grad():
        before, after = (model(**inputs, masked=masked).last_hidden_state for inputs in (batch, changed))
    others = torch.arange(9) != 5
    torch.testing.assert_close(before[0, others], after[0, others])
    assert (before[0, 5] - after[0, 5]).abs().max() > 1e-3


def test_masked_values_are_hidden(make_model, batch, masked):
    model = make_model()
    other = dict(batch, expression_bins=batch["expression_bins"].masked_fill(masked, 7.0))
    with torch.no_grad():
        assert torch.equal(model(**batch, masked=masked)[0], model(**other, masked=masked)[0])


def test_rule_changes_nothing_when_nothing_is_masked(make_model, batch):
    with torch.no_grad():
        plain = make_model()(**batch).pooler_output
        ruled = make_model(masked_attention=True)
        torch.testing.assert_close(ruled(**batch).pooler_output, plain)
        none = torch.zeros(3, 9, dtype=torch.bool)
        torch.testing.assert_close(ruled(**batch, masked=none).pooler_output, plain)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "w-pool"])
def test_padding_changes_nothing(make_model, batch, masked, use, implementation, pooling):
    model = use(make_model(pooling=pooling, masked_attention=True), implementation)
    with torch.no_grad():
        together = model(**batch, masked=masked)
        for cell, length in enumerate((9, 6, 2)):
            inputs = {name: tensor[cell : cell + 1, :length] for name, tensor in batch.items()}
            alone = model(**inputs, masked=masked[cell : cell + 1, :length])
            torch.testing.assert_close(together.pooler_output[cell], alone.pooler_output[0], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(
                together.last_hidden_state[cell, :length], alone.last_hidden_state[0], rtol=1e-4, atol=1e-5
            )


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_what_stands_in_padding_changes_nothing(make_model, batch, use, implementation):
    model = use(make_model(), implementation)
    seen = batch["attention_mask"].bool()
    other = dict(batch, gene_ids=batch["gene_ids"].masked_fill(~seen, 17))
    with torch.no_grad():
        before, after = model(**batch).last_hidden_state, model(**other).last_hidden_state
    torch.testing.assert_close(before[seen], after[seen])


@pytest.mark.parametrize("pooling", ["cls", "avg-pool", "w-pool", "mean", "max"])
@pytest.mark.parametrize("implementation", ["eager", "flash_attention_2"])
@pytest.mark.parametrize("rule", [True, False])
def test_implementations_agree(make_model, batch, masked, use, implementation, pooling, rule):
    model = make_model(pooling=pooling, masked_attention=rule)
    with torch.no_grad():
        expected = use(model, "sdpa")(**batch, masked=masked).pooler_output
        found = use(model, implementation)(**batch, masked=masked).pooler_output
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_attention_weights(make_model, batch):
    model = make_model()
    with torch.no_grad():
        output = model(**batch, output_attentions=True)
        plain = model(**batch)
    assert len(output.attentions) == 2 and plain.attentions is None
    for weights in output.attentions:
        assert weights.shape == (3, 2, 9, 9)
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 2, 9))
        assert not weights.masked_select(batch["attention_mask"][:, None, None, :].eq(0)).any()
    torch.testing.assert_close(output.pooler_output, plain.pooler_output)


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is not None, reason="flash-attn is installed")
def test_flash_attention_not_installed():
    config = Tx1Config(vocab_size=5, hidden_size=4, num_hidden_layers=1, num_attention_heads=1)
    with pytest.raises(ImportError, match="(?i)flash"):
        Tx1Model._from_config(config, attn_implementation="flash_attention_2")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_flash_attention_on_a_gpu(make_model, batch):
    pytest.importorskip("flash_attn")
    model = make_model(hidden_size=32, num_attention_heads=2).to("cuda", torch.bfloat16)
    inputs = {name: tensor.cuda() for name, tensor in batch.items()}
    with torch.no_grad():
        expected = model(**inputs).pooler_output
        model.config._attn_implementation = "flash_attention_2"
        found = model(**inputs).pooler_output
    torch.testing.assert_close(found.float(), expected.float(), rtol=0.05, atol=0.05)
