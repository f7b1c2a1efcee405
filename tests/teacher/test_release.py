"""The release format: names and settings, and refusals by name."""

import pytest
import torch
import yaml

from tahoe_distill import GeneVocab, Tx1Config, Tx1Model
from tahoe_distill.teacher import release

TOKENS = {"<pad>": 0, "<cls>": 1, "<eoc>": 2, "<drug>": 3, "ENSG00000000001": 4, "ENSG00000000002": 5}
VOCAB = GeneVocab(TOKENS)
COLLATOR = {"pad_token_id": 0, "pad_value": -2, "max_length": 2048, "num_bins": 31, "right_binning": True}
# As om.save writes the published 3b settings, with numbers of its own at each place.
MODEL = yaml.safe_load(
    """
    name: tahoex
    vocab_size: 64
    d_model: 40
    n_layers: 3
    n_heads: 5
    expansion_ratio: 2.5
    init_device: cpu
    standard_scale_outputs: true
    transformer_activation: silu
    norm_scheme: pre
    use_generative_training: false
    use_glu: true
    cell_emb_style: w-pool
    attn_config: {attn_impl: triton, use_attn_mask: false, attn_type: grouped_query_attention, kv_nheads: 99}
    norm_config: {norm_type: layernorm, eps: 1e-6}
    expression_encoder:
      {input_emb_style: continuous, dropout: 0.2, max_value: 77, activation: gelu, use_norm: true}
    gene_encoder: {use_norm: true}
    mvc: {arch_style: inner product, query_activation: tanh, scaled_dot_product: true}
    expression_decoder: {n_outputs: 1, n_layers: 4, activation: gelu}
    precision: amp_bf16
    """
)
REQUIRED = {key: MODEL[key] for key in ("d_model", "n_layers", "n_heads", "expansion_ratio")}
REQUIRED = {**REQUIRED, "expression_encoder": {}, "expression_decoder": {}}


def changed(path, value):
    """The settings with the value at a dotted path changed."""
    settings = {key: dict(item) if isinstance(item, dict) else item for key, item in MODEL.items()}
    *parents, last = path.split(".")
    place = settings
    for parent in parents:
        place = place[parent]
    place[last] = value
    return settings


def test_names_lose_their_prefix():
    assert release.from_release_name("model.flag_encoder.weight") == "flag_encoder.weight"
    with pytest.raises(ValueError, match="found a tensor named 'flag_encoder.weight'"):
        release.from_release_name("flag_encoder.weight")


def test_tensor_names_are_a_contract():
    sizes = {"vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "use_glu": True}
    names = Tx1Model(Tx1Config(**sizes, num_drugs=2, drug_fingerprint_dim=3)).state_dict()
    layers = (
        *("gene_encoder.enc_norm", "expression_encoder.linear1", "expression_encoder.linear2"),
        *("expression_encoder.norm", "chem_encoder.fc", "chem_encoder.proj", "chem_encoder.norm"),
        *(f"transformer_encoder.layers.0.{part}" for part in ("norm1", "self_attn.Wqkv", "self_attn.out_proj")),
        *(f"transformer_encoder.layers.0.{part}" for part in ("norm2", "up_proj", "gate_proj", "down_proj")),
        *("transformer_encoder.norm", "expression_decoder.linear_layers.0", "expression_decoder.out_proj"),
        "mvc_decoder.gene2query",
    )
    tables = ("gene_encoder.embedding", "flag_encoder", "chem_encoder.embedding", "mvc_decoder.W")
    expected = {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    assert set(names) == expected | {f"{table}.weight" for table in tables}


def test_every_dimension_is_read():
    config = release.config_from_release(MODEL, COLLATOR, VOCAB)
    expected = {
        "vocab_size": 64,
        "hidden_size": 40,
        "num_hidden_layers": 3,
        "num_attention_heads": 5,
        "intermediate_size": 100,
        "hidden_act": "silu",
        "use_glu": True,
        "layer_norm_eps": 1e-6,
        "gene_norm": True,
        "value_act": "gelu",
        "value_norm": True,
        "value_dropout": 0.2,
        "max_value": 77.0,
        "pooling": "w-pool",
        "masked_attention": False,
        "expression_head_layers": 4,
        "expression_head_act": "gelu",
        "mvc_head": True,
        "mvc_query_act": "tanh",
        "mvc_scaled": True,
        "standard_scale_outputs": True,
        "num_drugs": None,
        "num_bins": 31,
        "pad_value": -2.0,
        "pad_token_id": 0,
        "cls_token_id": 1,
        "drug_token_id": None,
        "context_length": 2048,
        "projection_dim": None,
        "gene_rank": None,
    }
    assert {name: getattr(config, name) for name in expected} == expected


def test_absent_settings_take_upstreams_defaults():
    config = release.config_from_release(REQUIRED, COLLATOR, VOCAB)
    expected = {
        "vocab_size": 6,
        "hidden_act": "gelu",
        "use_glu": False,
        "layer_norm_eps": 1e-5,
        "gene_norm": False,
        "value_act": "relu",
        "value_norm": False,
        "value_dropout": 0.1,
        "max_value": 512.0,
        "pooling": "cls",
        "masked_attention": True,
        "expression_head_layers": 2,
        "expression_head_act": "leaky_relu",
        "mvc_head": False,
        "standard_scale_outputs": False,
    }
    assert {name: getattr(config, name) for name in expected} == expected


def test_processor_settings():
    collator = {**COLLATOR, "do_binning": False, "log_transform": True, "target_sum": 5000, "keep_first_n_tokens": 2}
    processor = release.processor_from_release(collator, VOCAB)
    assert (processor.max_length, processor.num_bins, processor.right_binning) == (2048, 31, True)
    assert (processor.do_binning, processor.log_transform, processor.target_sum) == (False, True, 5000)
    assert processor.special_tokens == [1]
    with_drug = release.processor_from_release(collator, VOCAB, use_chem=True, drug_to_id={"a": 1})
    assert with_drug.special_tokens == [1, 3] and with_drug.drug_to_id == {"a": 1}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("norm_scheme", "post"),
        ("norm_config.norm_type", "rmsnorm"),
        ("attn_config.attn_type", "multiquery_attention"),
        ("attn_config.kv_n_heads", 1),
        ("cell_emb_style", "max"),
        ("expression_encoder.input_emb_style", "category"),
        ("expression_decoder.n_outputs", 2),
        ("mvc.arch_style", "concat query"),
        ("gene_encoder.embeddings", {"esm": {}}),
    ],
)
def test_other_architectures_are_refused_by_name(path, value):
    with pytest.raises(ValueError, match=rf"model_config.yml: {path} is .*; this package supports"):
        release.config_from_release(changed(path, value), COLLATOR, VOCAB)


@pytest.mark.parametrize("key", list(REQUIRED))
def test_missing_settings_are_named(key):
    settings = {name: value for name, value in REQUIRED.items() if name != key}
    with pytest.raises(ValueError, match=f"expected .* for {key}, found None"):
        release.config_from_release(settings, COLLATOR, VOCAB)


@pytest.mark.parametrize("key", ["pad_value", "max_length", "num_bins"])
def test_missing_collator_settings_are_named(key):
    collator = {name: value for name, value in COLLATOR.items() if name != key}
    with pytest.raises(ValueError, match=f"collator_config.yml: expected .* for {key}, found None"):
        release.config_from_release(MODEL, collator, VOCAB)


@pytest.mark.parametrize(
    ("model_config", "collator", "message"),
    [
        (changed("d_model", "512"), COLLATOR, "expected a whole number for d_model, found '512'"),
        (changed("expansion_ratio", 2.33), COLLATOR, "is no whole number"),
        (changed("vocab_size", 5), COLLATOR, "tokens up to 5, but model_config.yml says vocab_size: 5"),
        (MODEL, {**COLLATOR, "pad_token_id": 2}, "pad_token_id: 2, but vocab.json gives <pad> 0"),
    ],
)
def test_settings_that_disagree(model_config, collator, message):
    with pytest.raises(ValueError, match=message):
        release.config_from_release(model_config, collator, VOCAB)


@pytest.mark.parametrize(
    ("size", "settings", "millions", "table"),
    [
        ("70m", {"d_model": 512, "n_layers": 12, "n_heads": 8}, 71.0, 32.1),
        ("1b", {"d_model": 2048, "n_layers": 24, "n_heads": 16}, 1355, 128.5),
        ("3b", {"d_model": 2560, "n_layers": 32, "n_heads": 20}, 2700, 160.6),
    ],
)
def test_published_sizes(size, settings, millions, table):
    settings = {**MODEL, **settings, "vocab_size": 62720, "expansion_ratio": 4, "use_glu": False}
    settings["expression_decoder"] = {"n_layers": 1}
    with torch.device("meta"):
        model = Tx1Model(release.config_from_release(settings, COLLATOR, VOCAB))
    assert model.num_parameters() / 1e6 == pytest.approx(millions, rel=0.02), size
    assert model.gene_encoder.embedding.weight.numel() / 1e6 == pytest.approx(table, rel=0.002)
