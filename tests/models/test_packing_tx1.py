"""Cells in one row without padding: the numbers and gradients of padded ones, by each implementation."""

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from tahoe_distill.models import Tx1Model
from tahoe_distill.models.modeling_tx1 import attention_pattern
from tahoe_distill.models.packing_tx1 import Packing

LENGTHS = [9, 6, 2]


def varlen_stand_in(module, query, key, value, attention_mask, scaling=None, **options):
    """What flash-attn does with cumulative lengths, (1, H, T, K) -> (1, T, H, K)."""
    assert attention_mask is None and options["max_length_q"] == options["max_length_k"] == max(LENGTHS)
    starts = options["cu_seq_lens_q"]
    assert starts.dtype == torch.int32 and torch.equal(starts, options["cu_seq_lens_k"])
    out = torch.zeros_like(query)
    for start, stop in zip(starts[:-1], starts[1:]):
        q, k, v = (x[:, :, start:stop] for x in (query, key, value))
        out[:, :, start:stop] = (q @ k.transpose(2, 3) * scaling).softmax(dim=-1) @ v
    return out.transpose(1, 2), None


def step(model, batch, **options):
    """Outputs, and the gradients of what every head and every token says."""
    model.zero_grad()
    out = model(**batch, **options)
    seen = batch["attention_mask"].bool()
    parts = [out.pooler_output]
    parts += [x[seen] for x in (out.last_hidden_state, out.expression, out.mvc) if x is not None]
    parts += [x[seen] for x in out.hidden_states or ()]
    sum(part.square().sum() for part in parts).backward()
    return parts, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        # Against the largest of a tensor: the gradient of a key's bias is a sum that comes to nothing.
        tolerance = 1e-4 * gradient.abs().max().clamp(min=1).item()
        torch.testing.assert_close(found[1][name], gradient, rtol=0, atol=tolerance, msg=name)


@pytest.mark.parametrize(
    ("implementation", "rule"),
    [
        ("sdpa", False),
        ("sdpa", True),
        ("flash_attention_2", False),
        ("flex_attention", False),
        ("flex_attention", True),
    ],
)
def test_packed_is_padded(make_model, batch, masked, monkeypatch, implementation, rule):
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "flash_attention_2", varlen_stand_in)
    model = make_model(masked_attention=rule, expression_head_layers=1, mvc_head=True)
    asked = {"masked": masked, "output_hidden_states": True, "output_expression": True, "output_mvc": True}
    only = {"masked": masked, "cell_only": True}
    expected = [step(model, batch, **options) for options in (asked, only)]
    model.config._attn_implementation = implementation
    for options, wanted in zip((asked, only), expected):
        assert_same(step(model, batch, **options, packed=LENGTHS), wanted)


@pytest.mark.parametrize("pooling", ["mean", "max", "w-pool"])
def test_poolings_leave_padding_out(make_model, batch, pooling):
    model = make_model(pooling=pooling)
    assert_same(step(model, batch, packed=LENGTHS), step(model, batch))


def test_padding_is_zero_and_recomputed_blocks_are_packed_too(make_model, batch):
    model = make_model().train()
    expected = step(model, batch)
    model.gradient_checkpointing_enable()
    assert_same(step(model, batch, packed=LENGTHS), expected)
    assert not model(**batch, packed=LENGTHS).last_hidden_state[batch["attention_mask"] == 0].any()


def test_a_drug_token_stands_in_each_cell(make_model, batch):
    model = make_model(num_drugs=4, drug_fingerprint_dim=5)
    batch["drug_ids"] = torch.tensor([1, 3, 2])
    assert_same(step(model, batch, packed=LENGTHS), step(model, batch))


@pytest.mark.parametrize("rule", [False, True])
def test_padded_flex_attention(make_model, batch, masked, rule):
    model = make_model(masked_attention=rule)
    expected = [step(model, batch, masked=masked, cell_only=cell_only) for cell_only in (False, True)]
    model.config._attn_implementation = "flex_attention"
    for cell_only, wanted in zip((False, True), expected):
        assert_same(step(model, batch, masked=masked, cell_only=cell_only), wanted)


def test_nested_tensors_are_the_loop(batch):
    """A GPU attends by them where no gene is masked."""
    packing = Packing(batch["attention_mask"].bool(), LENGTHS)
    q, k, v = torch.randn(3, 1, 2, 17, 8, requires_grad=True)
    found, expected = packing.nested((q, k, v), 0.3), packing._one_by_one((q, k, v), 0.3)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(out.square().sum(), (q, k, v)) for out in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_blocks_of_flex_attention_hold_what_is_seen():
    """Cells of up to three blocks: a block that is left out holds nothing that is seen."""
    lengths = [300, 5, 120, 1, 260, 40]
    seen = torch.arange(300) < torch.tensor(lengths)[:, None]
    packing = Packing(seen, lengths)
    visible = packing.cells[:, None] == packing.cells
    blocks = torch.nn.functional.pad(visible, (0, -726 % 128, 0, -726 % 128)).view(6, 128, 6, 128).any(3).any(1)
    assert torch.equal(packing.block_mask.to_dense()[0, 0].bool(), blocks)
    assert 0 < blocks.float().mean() < 0.6


def test_what_no_kernel_can_do_is_refused(make_model, batch, masked):
    model = make_model(masked_attention=True)
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="cannot express the masked-attention rule.*flex_attention"):
        model(**batch, masked=masked, packed=LENGTHS)
    model.config._attn_implementation = "sdpa_paged"
    with pytest.raises(ValueError, match="sdpa_paged packs no cells"):
        model(**batch, packed=LENGTHS)
    with pytest.raises(ValueError, match="avg-pool counts it"):
        make_model(pooling="avg-pool")(**batch, packed=LENGTHS)
    with pytest.raises(ValueError, match="no table of attention weights"):
        make_model()(**batch, packed=LENGTHS, output_attentions=True)
    for wrong in ([9, 6], [9, 6, 0], [10, 6, 2]):
        with pytest.raises(ValueError, match="tokens of each of 3 cells, between 1 and 9"):
            make_model()(**batch, packed=wrong)


def test_who_knows_of_padding_spares_a_look(batch):
    seen = batch["attention_mask"].bool()
    assert attention_pattern(seen, None, padded=False) is None
    assert torch.equal(attention_pattern(seen, None, padded=True), attention_pattern(seen, None))
    assert attention_pattern(torch.ones_like(seen), None) is None


def test_flex_attention_is_a_choice_of_transformers(make_model):
    model = Tx1Model._from_config(make_model().config, attn_implementation="flex_attention")
    assert model.config._attn_implementation == "flex_attention"
