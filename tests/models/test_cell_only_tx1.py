"""`cell_only`: the cell embedding by a shorter computation, the same numbers and gradients as by the whole one."""

import pytest
import torch

DRUG = {"num_drugs": 4, "drug_fingerprint_dim": 6, "drug_token_id": 3}


def answers(model, inputs, *, mvc=False, **options):
    """Cell embeddings, MVC predictions, and the gradient of each parameter that such a loss reaches."""
    model.zero_grad(set_to_none=True)
    output = model(**inputs, output_mvc=mvc, **options)
    loss = (output.pooler_output * torch.linspace(-1, 2, output.pooler_output.shape[1])).square().sum()
    if mvc:
        loss = loss + output.mvc.square().sum()
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return {"cell": output.pooler_output.detach(), "mvc": output.mvc, **gradients}


def assert_same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, msg=lambda text, name=name: f"{name}: {text}", **tolerance)


CASES = {
    "plain": {},
    "one block": {"num_hidden_layers": 1},
    "glu, projection": {"use_glu": True, "projection_dim": 5},
    "factorised": {"gene_rank": 4},
    "drug": DRUG,
    **{pooling: {"pooling": pooling} for pooling in ("avg-pool", "w-pool", "mean", "max")},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seen", ["all", "masked", "rule"])
def test_numbers_and_gradients_of_the_whole_way(case, seen, make_model, batch, masked):
    model = make_model(**CASES[case], masked_attention=seen == "rule").double()
    inputs = {**batch, "drug_ids": torch.tensor([0, 3, 1])} if case == "drug" else batch
    inputs = inputs if seen == "all" else {**inputs, "masked": masked}
    expected, found = (answers(model, inputs, mvc=True, cell_only=only) for only in (False, True))
    assert_same(found, expected, rtol=1e-9, atol=1e-12)


def test_a_masked_first_position_sees_itself(make_model, batch, masked):
    masked[:, 0] = True
    model = make_model(masked_attention=True).double()
    expected, found = (answers(model, {**batch, "masked": masked}, cell_only=only) for only in (False, True))
    assert_same(found, expected, rtol=1e-9, atol=1e-12)


def test_without_padding(make_model, batch):
    model = make_model().double()
    inputs = {name: tensor[:, :2] for name, tensor in batch.items()}
    expected = model(**inputs).pooler_output
    inputs.pop("attention_mask")
    torch.testing.assert_close(model(**inputs, cell_only=True).pooler_output, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("implementation", ["eager", "flash_attention_2"])
def test_other_implementations_of_attention(implementation, make_model, batch, masked, use):
    for rule in (False, True):
        model = use(make_model(masked_attention=rule).double(), implementation)
        expected, found = (answers(model, {**batch, "masked": masked}, cell_only=only) for only in (False, True))
        assert_same(found, expected, rtol=1e-6, atol=1e-8)


def test_gives_the_cell_alone(make_model, batch):
    output = make_model()(**batch, cell_only=True)
    assert list(output) == ["pooler_output"] and output.last_hidden_state is None
    (cell,) = make_model()(**batch, cell_only=True, return_dict=False)
    assert torch.equal(cell, output.pooler_output)


@pytest.mark.parametrize("asked", ["output_hidden_states", "output_attentions", "output_expression"])
def test_what_needs_all_positions_is_refused(asked, make_model, batch):
    with pytest.raises(ValueError, match=f"nothing else, but {asked} was asked for too"):
        make_model()(**batch, cell_only=True, **{asked: True})


def test_a_configuration_that_always_returns_more_is_overruled(make_model, batch):
    model = make_model(output_hidden_states=True, output_attentions=True)
    assert model(**batch).hidden_states is not None
    assert list(model(**batch, cell_only=True)) == ["pooler_output"]


def test_the_last_block_runs_for_one_position(make_model, batch):
    """The point of it: what the feed-forward layer of each block is given."""
    model, shapes = make_model(num_hidden_layers=3), []
    for block in model.transformer_encoder.layers:
        block.up_proj.register_forward_hook(lambda module, given, answer: shapes.append(tuple(given[0].shape)))
    model(**batch, cell_only=True)
    assert shapes == [(3, 9, 16), (3, 9, 16), (3, 16)]


def test_dropout_reaches_the_last_block(make_model, batch):
    """With all dropped, no block adds anything, so both ways agree in training too."""
    model = make_model(hidden_dropout=1.0).train()
    expected = model(**batch).pooler_output
    torch.testing.assert_close(model(**batch, cell_only=True).pooler_output, expected)
    assert (model.eval()(**batch, cell_only=True).pooler_output - expected).abs().max() > 1e-2


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing(reentrant, make_model, batch, masked):
    model = make_model(masked_attention=True).double().train()
    expected = answers(model, {**batch, "masked": masked}, cell_only=True)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    assert_same(answers(model, {**batch, "masked": masked}, cell_only=True), expected)


def test_autocast(make_model, batch):
    model = make_model(hidden_size=64, num_attention_heads=4)
    with torch.no_grad():
        exact = model(**batch).pooler_output
        with torch.autocast("cpu", torch.bfloat16):
            whole, alone = (model(**batch, cell_only=only).pooler_output.float() for only in (False, True))
    assert (alone - exact).norm() < 2 * (whole - exact).norm() < 0.1 * exact.norm()


def test_compiled(make_model, batch, masked):
    model = make_model(masked_attention=True)
    inputs = {**batch, "masked": masked}
    expected = answers(model, inputs, cell_only=True)
    compiled = torch.compile(model, backend="aot_eager")
    try:
        found = answers(compiled, inputs, cell_only=True)
    finally:
        torch._dynamo.reset()
    assert_same({name.removeprefix("_orig_mod."): tensor for name, tensor in found.items()}, expected)
