"""The upstream model as oracle: its vocabulary here, its weights, its answers beside ours."""

import torch

TOKENS = {"<pad>": 0, "<cls>": 1, "<eoc>": 2, "<drug>": 3}
TOKENS = {**TOKENS, **{f"ENSG{number:011d}": number for number in range(4, 40)}}
TOLERANCE = 1e-5


@torch.no_grad()
def perturb(module):
    """Replace every tensor, biases, norms and the padding row included, by random values that matter."""
    for name, parameter in module.named_parameters():
        noise = torch.randn_like(parameter)
        if parameter.dim() == 1:
            is_norm_weight = "norm" in name and name.endswith("weight")
            parameter.copy_(0.5 * noise + (1 if is_norm_weight else 0))
        else:
            parameter.copy_(noise * (1.0 if "embedding" in name else 1.5 * parameter.shape[1] ** -0.5))


def relative(found, expected):
    """Largest difference over largest expected value; every value finite."""
    assert found.shape == expected.shape and torch.isfinite(found).all()
    return ((found - expected).abs().max() / expected.abs().max()).item()


def compare(oracle, model, cells, drug_ids=None):
    """Cell embeddings, gene embeddings, expression and MVC, the last three where there is no padding."""
    drugs = {} if drug_ids is None else {"drug_ids": drug_ids}
    genes, seen = cells["gene"], cells["gene"].ne(0)
    with torch.no_grad():
        expected = oracle({**cells, **drugs}, skip_decoders=False)
        found = model(
            genes, cells["expr"], seen, masked=cells["gen_mask"], output_expression=True, output_mvc=True, **drugs
        )
    differences = {
        "cell": relative(found.pooler_output, expected["cell_emb"]),
        "gene": relative(found.last_hidden_state[seen], expected["gene_emb"][seen]),
        "expression": relative(found.expression[seen], expected["expr_preds"][seen]),
        "mvc": relative(found.mvc[seen], expected["mvc_output"][seen]),
    }
    assert max(differences.values()) <= TOLERANCE, differences


def from_hf(upstream, release, monkeypatch):
    """The model of a release folder as upstream loads it from the hub."""
    monkeypatch.setattr(upstream, "hf_hub_download", lambda repo_id, filename: str(release / filename))
    model, *_ = upstream.ComposerTX.from_hf("any/release", "tiny")
    return model.to("cpu")
