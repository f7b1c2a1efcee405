"""The teacher answers as upstream does, through the files of a release."""

import pytest
import torch

from tahoe_distill import load_teacher
from tests.helpers.oracle import TOLERANCE, compare, from_hf, relative

FLASH = {"attn_impl": "flash", "use_attn_mask": False, "attn_type": "grouped_query_attention"}
DRUGS = {"chemical_encoder": {"num_drugs": 6, "fp_dim": 10, "activation": "gelu", "padding_idx": 0}}
CHEM = {"use_chem_token": True, "keep_first_n_tokens": 2, "drug_to_id_path": {"remote": "a", "local": "drugs.json"}}
VALUES = {"input_emb_style": "continuous", "dropout": 0.1, "max_value": 512, "activation": "gelu", "use_norm": True}

CASES = {
    "70m: relu, masked-attention rule": {},
    "3b: gelu, flash": {
        "transformer_activation": "gelu",
        "attn_config": FLASH,
        "expression_encoder": VALUES,
        "expression_decoder": {"n_outputs": 1, "n_layers": 1, "activation": "gelu"},
    },
    "gated, scaled outputs": {"use_glu": True, "standard_scale_outputs": True, "transformer_activation": "silu"},
    "upstream's defaults": {
        "transformer_activation": ...,
        "norm_scheme": ...,
        "norm_config": ...,
        "gene_encoder": ...,
        "attn_config": ...,
        "cell_emb_style": ...,
        "expression_encoder": {},
        "expression_decoder": {},
        "mvc": {"arch_style": "inner product", "query_activation": "sigmoid"},
    },
    "wide epsilon": {"norm_config": {"norm_type": "low_precision_layernorm", "eps": 0.1}},
    "avg-pool, flash": {"cell_emb_style": "avg-pool", "attn_config": FLASH},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_teacher_equals_upstream(build_oracle, cells, case, attention):
    oracle, release = build_oracle(**CASES[case])
    teacher = load_teacher(release, size="tiny", attn_implementation=attention)
    compare(oracle, teacher.model, cells)


def test_nothing_masked(build_oracle, cells):
    oracle, release = build_oracle()
    cells = {**cells, "gen_mask": torch.zeros_like(cells["gen_mask"])}
    teacher = load_teacher(release, size="tiny")
    compare(oracle, teacher.model, cells)
    with torch.no_grad():
        unmasked = teacher.model(cells["gene"], cells["expr"]).pooler_output
        expected = oracle(cells)["cell_emb"]
    assert relative(unmasked, expected) <= TOLERANCE


def test_weighted_pooling(build_oracle, cells):
    """Upstream's forward cannot pass the weights, so its pooling is called by itself."""
    oracle, release = build_oracle(cell_emb_style="w-pool", attn_config=FLASH)
    seen, weights = cells["gene"].ne(0), cells["expr"].clamp(min=0)
    with torch.no_grad():
        hidden = oracle.model.transformer_generate(cells["gene"], cells["expr"], cells["gen_mask"], seen)
        expected = oracle.model._get_cell_emb_from_layer(hidden, weights)
        mvc = oracle.model.mvc_decoder(expected, oracle.model.cur_gene_token_embs)["pred"]
        model = load_teacher(release, size="tiny").model
        found = model(cells["gene"], cells["expr"], masked=cells["gen_mask"], pooling_weights=weights, output_mvc=True)
    assert relative(found.pooler_output, expected) <= TOLERANCE
    assert relative(found.mvc[seen], mvc[seen]) <= TOLERANCE


@pytest.fixture
def drug_cells(cells):
    cells = {name: tensor.clone() for name, tensor in cells.items()}
    cells["gene"][:, 1], cells["expr"][:, 1], cells["gen_mask"][:, 1] = 3, -2, False
    return cells


def test_drug_token(build_oracle, drug_cells):
    oracle, release = build_oracle(collator=CHEM, attn_config=FLASH, **DRUGS)
    teacher = load_teacher(release, size="tiny", use_chem=True)
    compare(oracle, teacher.model, drug_cells, drug_ids=torch.tensor([0, 1, 5, 3, 2]))
    assert teacher.processor.special_tokens == [1, 3]


def test_drug_release_without_the_drug(upstream, build_oracle, cells, monkeypatch):
    """Against upstream's own way of leaving the drug out."""
    _, release = build_oracle(collator=CHEM, attn_config=FLASH, **DRUGS)
    oracle = from_hf(upstream, release, monkeypatch)
    teacher = load_teacher(release, size="tiny")
    compare(oracle, teacher.model, cells)
    assert teacher.processor.special_tokens == [1]


def test_triton_release(upstream, build_oracle, cells, monkeypatch):
    """The 70m and 1b files say triton, which upstream swaps for flash: nothing is masked then."""
    _, release = build_oracle()
    settings = release / "tiny-model" / "model_config.yml"
    settings.write_text(settings.read_text().replace("attn_impl: torch", "attn_impl: triton"))
    oracle = from_hf(upstream, release, monkeypatch)
    cells = {**cells, "gen_mask": torch.zeros_like(cells["gen_mask"])}
    compare(oracle, load_teacher(release, size="tiny").model, cells)
