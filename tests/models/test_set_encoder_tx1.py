"""The encoder without attention, against a plain computation gene by gene, and what it must not depend on."""

import pytest
import torch
from torch.nn import functional as F

from tahoe_distill.models import CellEncoder, Tx1Config

SET = {"encoder": "set", "num_hidden_layers": 1, "projection_dim": 5, "gene_norm": False}
DRUG = {"num_drugs": 4, "drug_fingerprint_dim": 6, "drug_token_id": 3}
CASES = {
    "film": {},
    "linear": {"set_values": "linear"},
    "every statistic": {"set_pools": ["mean", "attention", "top"], "set_pair_rank": 6, "set_top_share": 0.5},
    "pairs of the mean": {"set_pools": ["mean"], "set_pair_rank": 16},
    "top alone": {"set_pools": ["top"]},
    "factorised table": {"gene_rank": 4, "gene_norm": True},
    "two blocks, no projection": {"num_hidden_layers": 2, "projection_dim": None},
    "drug": DRUG,
}


@pytest.fixture(params=CASES)
def model(request, make_model):
    return make_model(**{**SET, **CASES[request.param]}).double()


@pytest.fixture
def inputs(model, batch):
    return {**batch, "drug_ids": torch.tensor([0, 3, 1])} if model.config.num_drugs else batch


def by_hand(model, gene_ids, bins, drug=None):
    """One cell's embedding, one gene after the other."""
    config, encoder = model.config, model.gene_set_encoder
    values, genes = encoder.values, []
    for token, bin in zip(gene_ids.tolist(), bins.tolist()):
        if token in (0, 1, config.drug_token_id):
            continue
        share = bin / 50
        learned = (
            torch.tensor([1.0, share], dtype=torch.float64)
            if values.factors is None
            else values.factors.weight[int(bin)]
        )
        vector = model.gene_encoder(torch.tensor([token]))[0]
        scale = 0.5 + share + values.scale.weight @ learned
        factors = torch.cat([torch.tensor([0.5 + share], dtype=torch.float64), learned])
        genes.append((token, bin, vector, factors, vector * scale + values.shift.weight @ learned))
    moved, statistics = [gene[-1] for gene in genes], []
    if not genes:
        statistics.append(torch.zeros(len(config.set_pools) * config.hidden_size).double())
    for pool in config.set_pools if genes else ():
        if pool == "attention":
            scores = [encoder.gene_weight.weight[t, 0] + encoder.bin_weight.weight[0] @ f for t, _, _, f, _ in genes]
            weights = torch.stack(scores).softmax(dim=0)
        else:
            kept = [pool == "mean" or bin > 50 * (1 - config.set_top_share) for _, bin, *_ in genes]
            weights = torch.tensor(kept).double() / max(sum(kept), 1)
        statistics.append(sum(weight * vector for weight, vector in zip(weights, moved)))
    if config.set_pair_rank:
        vectors = [v[: config.set_pair_rank] * (f[0] + encoder.pair_weight.weight[0] @ f) for _, _, v, f, _ in genes]
        pairs = [a * b for i, a in enumerate(vectors) for j, b in enumerate(vectors) if i != j]
        statistics.append(sum(pairs) / len(pairs) if pairs else torch.zeros(config.set_pair_rank).double())
    if drug is not None:
        statistics.append(model.chem_encoder(drug))
    x = encoder.head.norm(torch.cat(statistics))
    hidden = encoder.head.in_proj(x)
    for block in encoder.head.blocks:
        hidden = hidden + block.down_proj(block.activation(block.up_proj(block.norm(hidden))))
    return encoder.head.linear(x) + encoder.head.out_proj(hidden)


def test_equals_the_computation_gene_by_gene(model, inputs):
    if model.config.num_drugs:
        inputs["gene_ids"][:, 1] = 3
    found = model(**inputs).pooler_output
    for row in range(3):
        drug = inputs["drug_ids"][row] if "drug_ids" in inputs else None
        expected = by_hand(model, inputs["gene_ids"][row], inputs["expression_bins"][row], drug)
        torch.testing.assert_close(found[row], expected, rtol=1e-9, atol=1e-12)


def test_order_padding_and_company_change_nothing(model, inputs):
    expected = model(**inputs).pooler_output
    order = torch.tensor([0, 8, 3, 1, 2, 7, 4, 6, 5])
    shuffled = {name: tensor if tensor.dim() == 1 else tensor[:, order] for name, tensor in inputs.items()}
    torch.testing.assert_close(model(**shuffled).pooler_output, expected, rtol=1e-9, atol=1e-12)
    alone = {name: tensor[1:2] if tensor.dim() == 1 else tensor[1:2, :6] for name, tensor in inputs.items()}
    alone.pop("attention_mask")
    torch.testing.assert_close(model(**alone).pooler_output, expected[1:2], rtol=1e-9, atol=1e-12)


def test_a_cell_without_genes_is_a_number(model):
    inputs = {"gene_ids": torch.tensor([[1], [1]]), "expression_bins": torch.full((2, 1), -2.0).double()}
    inputs |= {"drug_ids": torch.tensor([2, 2])} if model.config.num_drugs else {}
    found = model(**inputs).pooler_output
    assert torch.isfinite(found).all() and torch.equal(found[0], found[1])


def test_every_parameter_learns(model, inputs):
    model.zero_grad()
    model(**inputs, cell_only=True).pooler_output.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_the_way_of_serving_gives_the_same(model, inputs):
    expected = F.normalize(model(**inputs).pooler_output.float(), dim=1)
    torch.testing.assert_close(CellEncoder(model)(**inputs), expected)


def test_the_other_outputs(make_model, batch):
    model = make_model(**SET)
    output = model(**batch)
    assert output.last_hidden_state.shape == (3, 9, 16)
    values = model.gene_set_encoder.values
    at = batch["expression_bins"][0, 4].long()
    mixed = values.factors.weight[at]
    moved = model.gene_encoder(batch["gene_ids"][0, 4]) * (0.5 + at / 50 + values.scale.weight @ mixed)
    torch.testing.assert_close(output.last_hidden_state[0, 4], moved + values.shift.weight @ mixed)
    assert model(**batch, cell_only=True).last_hidden_state is None
    assert model(**batch, cell_only=True, return_dict=False)[0].shape == (3, 5)


@pytest.mark.parametrize("asked", ["masked", "output_hidden_states", "output_attentions"])
def test_what_it_has_not_is_refused(asked, make_model, batch):
    value = batch["attention_mask"].bool() if asked == "masked" else True
    with pytest.raises(ValueError, match=f"{asked} was given or asked for, but a model with encoder set"):
        make_model(**SET)(**batch, **{asked: value})


@pytest.mark.parametrize("head", ["expression", "mvc"])
def test_it_has_no_heads(head, make_model, batch):
    model = make_model(**SET, expression_head_layers=2, mvc_head=True)
    with pytest.raises(ValueError, match=f"output_{head} was asked for, but this model has no"):
        model(**batch, **{f"output_{head}": True})


def test_values_that_are_no_bins_are_refused(make_model):
    with pytest.raises(ValueError, match="its processor does not bin: set do_binning to true"):
        CellEncoder(make_model(**SET), binned=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "sets"}, "encoder must be one of transformer, set; found 'sets'"),
        ({"set_values": "log"}, "set_values must be one of film, linear; found 'log'"),
        ({"set_pools": []}, r"each at most once; found \[\]"),
        ({"set_pools": ["mean", "mean"]}, r"found \['mean', 'mean'\]"),
        ({"set_pools": ["max"]}, "set_pools must be of mean, attention, top"),
        ({"set_top_share": 0}, "set_top_share must lie in 0 … 1, above 0; found 0"),
        ({"set_value_rank": 0}, "set_value_rank must be a positive integer, found 0"),
        ({"set_pair_rank": 9}, r"set_pair_rank must lie in 1 … hidden_size \(8\), found 9"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Tx1Config(**{"encoder": "set", "hidden_size": 8, **settings})


def test_it_begins_as_a_plain_mean_that_counts_higher_bins_more(batch):
    from tahoe_distill.models import Tx1Model

    model = Tx1Model(Tx1Config(vocab_size=30, hidden_size=16, **SET)).eval()
    genes = model.gene_encoder(batch["gene_ids"])
    expressed = batch["attention_mask"].bool() & batch["gene_ids"].ne(1)
    found = model.gene_set_encoder.statistics(batch["gene_ids"], genes, batch["expression_bins"], expressed=expressed)
    moved = genes * (0.5 + batch["expression_bins"].clamp(min=0) / 50).unsqueeze(-1) * expressed.unsqueeze(-1)
    mean = moved.sum(dim=1) / expressed.sum(dim=1, keepdim=True)
    torch.testing.assert_close(found, mean)
