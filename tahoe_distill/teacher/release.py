"""The Tahoe-x1 release format as data: its files, its tensor names and its settings."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tahoe_distill.models import GeneVocab, Tx1Config, Tx1Processor
from tahoe_distill.models.configuration_tx1 import UPSTREAM_POOLINGS

VOCAB_FILE = "vocab.json"
MODEL_CONFIG_FILE = "model_config.yml"
COLLATOR_CONFIG_FILE = "collator_config.yml"
WEIGHTS_FILE = "model.safetensors"
RELEASE_FILES = (VOCAB_FILE, MODEL_CONFIG_FILE, COLLATOR_CONFIG_FILE, WEIGHTS_FILE)
DRUG_FILE = "drug_to_id.json"

TENSOR_PREFIX = "model."
CHEM_PREFIX = "chem_encoder."
_NORMS = ("layernorm", "low_precision_layernorm")


def from_release_name(name: str) -> str:
    """Name in :class:`Tx1Model` of a release's tensor.

    Raises:
        ValueError: When the name does not start with ``model.``, as all names of a release do.
    """
    if not name.startswith(TENSOR_PREFIX):
        raise ValueError(
            f"found a tensor named {name!r}; the tensors of a Tahoe-x1 release start with {TENSOR_PREFIX!r}. "
            "Pass a Tahoe-x1 release or Composer checkpoint"
        )
    return name[len(TENSOR_PREFIX) :]


def read_settings(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a release's YAML file.

    Raises:
        ValueError: When the file is not YAML or holds no mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected YAML, found something else ({error}); download the file again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of settings, found {type(content).__name__}; download it again")
    return content


def has_drug_token(model_config: Mapping[str, Any], collator_config: Mapping[str, Any]) -> bool:
    """Whether a release has the chemical encoder and its ``<drug>`` token.

    Raises:
        ValueError: When its two files disagree.
    """
    encoder, token = bool(model_config.get("chemical_encoder")), bool(collator_config.get("use_chem_token"))
    if encoder != token:
        raise ValueError(
            f"{MODEL_CONFIG_FILE} {'has' if encoder else 'lacks'} chemical_encoder, but {COLLATOR_CONFIG_FILE} says "
            f"use_chem_token: {token}; expected both or neither. Take both files from one release"
        )
    return encoder


def config_from_release(
    model_config: Mapping[str, Any],
    collator_config: Mapping[str, Any],
    vocab: GeneVocab,
    *,
    use_chem: bool = False,
    tensor_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Tx1Config:
    """Configuration of the model that a release describes; absent keys take upstream's own defaults.

    Args:
        model_config: Content of ``model_config.yml``.
        collator_config: Content of ``collator_config.yml``.
        vocab: The release's :class:`GeneVocab`.
        use_chem: Keep the chemical encoder of a release that has one.
        tensor_shapes: Shape of each tensor by its name in :class:`Tx1Model`; needed with ``use_chem`` when the
            release names a fingerprint file in place of the table's size.

    Returns:
        A :class:`Tx1Config`. ``attn_impl`` is ignored: each of ours computes the same attention.

    Raises:
        ValueError: When a setting is missing, or describes a model that :class:`Tx1Model` cannot be.
    """
    _refuse_unsupported(model_config)
    d_model = _required(model_config, "d_model", MODEL_CONFIG_FILE)
    values = _required(model_config, "expression_encoder", MODEL_CONFIG_FILE, dict)
    head = _required(model_config, "expression_decoder", MODEL_CONFIG_FILE, dict)
    mvc = model_config.get("mvc")
    attention, norm = model_config.get("attn_config") or {}, model_config.get("norm_config") or {}
    return Tx1Config(
        vocab_size=_vocab_size(model_config, vocab),
        hidden_size=d_model,
        num_hidden_layers=_required(model_config, "n_layers", MODEL_CONFIG_FILE),
        num_attention_heads=_required(model_config, "n_heads", MODEL_CONFIG_FILE),
        intermediate_size=_intermediate_size(model_config),
        hidden_act=model_config.get("transformer_activation", "gelu"),
        use_glu=bool(model_config.get("use_glu", False)),
        layer_norm_eps=float(norm.get("eps", 1e-5)),
        gene_norm=bool((model_config.get("gene_encoder") or {}).get("use_norm", False)),
        value_act=values.get("activation", "relu"),
        value_norm=bool(values.get("use_norm", False)),
        value_dropout=float(values.get("dropout", 0.1)),
        max_value=float(values.get("max_value", 512)),
        pooling=model_config.get("cell_emb_style", "cls"),
        masked_attention=bool(attention.get("use_attn_mask", True)),
        expression_head_layers=head.get("n_layers", 2),
        expression_head_act=head.get("activation", "leaky_relu"),
        mvc_head=mvc is not None,
        mvc_query_act=(mvc or {}).get("query_activation", "sigmoid"),
        mvc_scaled=bool((mvc or {}).get("scaled_dot_product", False)),
        standard_scale_outputs=bool(model_config.get("standard_scale_outputs", False)),
        num_bins=_required(collator_config, "num_bins", COLLATOR_CONFIG_FILE),
        pad_value=float(_required(collator_config, "pad_value", COLLATOR_CONFIG_FILE, (int, float))),
        pad_token_id=_pad_token_id(collator_config, vocab),
        cls_token_id=vocab["<cls>"],
        context_length=_required(collator_config, "max_length", COLLATOR_CONFIG_FILE),
        **(_drug_settings(model_config, collator_config, vocab, tensor_shapes) if use_chem else {}),
    )


def processor_from_release(
    collator_config: Mapping[str, Any],
    vocab: GeneVocab,
    *,
    use_chem: bool = False,
    drug_to_id: Mapping[str, int] | None = None,
) -> Tx1Processor:
    """The processor that feeds a release's model.

    ``keep_first_n_tokens`` is not read: what is kept is ``<cls>``, and ``<drug>`` with ``use_chem``.

    Args:
        collator_config: Content of ``collator_config.yml``.
        vocab: The release's :class:`GeneVocab`.
        use_chem: Put the ``<drug>`` token after ``<cls>``.
        drug_to_id: Drug name to number.

    Raises:
        ValueError: When a setting is missing.
    """
    return Tx1Processor(
        vocab=vocab,
        max_length=_required(collator_config, "max_length", COLLATOR_CONFIG_FILE),
        num_bins=_required(collator_config, "num_bins", COLLATOR_CONFIG_FILE),
        right_binning=bool(collator_config.get("right_binning", False)),
        do_binning=bool(collator_config.get("do_binning", True)),
        log_transform=bool(collator_config.get("log_transform", False)),
        target_sum=float(collator_config.get("target_sum", 10000)),
        pad_value=float(_required(collator_config, "pad_value", COLLATOR_CONFIG_FILE, (int, float))),
        mask_value=float(collator_config.get("mask_value", -1)),
        use_chem_token=use_chem,
        drug_to_id=drug_to_id if use_chem else None,
    )


def _required(settings: Mapping[str, Any], key: str, file: str, kind: type | tuple[type, ...] = int) -> Any:
    value = settings.get(key)
    if not isinstance(value, kind):
        expected = "a whole number" if kind is int else "a mapping" if kind is dict else "a number"
        raise ValueError(f"{file}: expected {expected} for {key}, found {value!r}; take the file from the release")
    return value


def _intermediate_size(model_config: Mapping[str, Any]) -> int:
    d_model, ratio = (
        model_config["d_model"],
        _required(model_config, "expansion_ratio", MODEL_CONFIG_FILE, (int, float)),
    )
    if int(d_model * ratio) != d_model * ratio:
        raise ValueError(f"{MODEL_CONFIG_FILE}: d_model {d_model} times expansion_ratio {ratio} is no whole number")
    return int(d_model * ratio)


def _refuse_unsupported(model_config: Mapping[str, Any]) -> None:
    """Name each setting of an architecture other than that of Tahoe-x1."""
    attention, norm = model_config.get("attn_config") or {}, model_config.get("norm_config") or {}
    values, head = model_config.get("expression_encoder") or {}, model_config.get("expression_decoder") or {}
    heads = model_config.get("n_heads")
    allowed = {
        "norm_scheme": (model_config.get("norm_scheme", "pre"), ("pre",)),
        "norm_config.norm_type": (str(norm.get("norm_type", _NORMS[0])).lower(), _NORMS),
        "attn_config.attn_type": (
            attention.get("attn_type", "grouped_query_attention"),
            ("grouped_query_attention", "multihead_attention"),
        ),
        "attn_config.kv_n_heads": (attention.get("kv_n_heads", heads), (heads,)),
        "cell_emb_style": (model_config.get("cell_emb_style", "cls"), UPSTREAM_POOLINGS),
        "expression_encoder.input_emb_style": (values.get("input_emb_style", "continuous"), ("continuous",)),
        "expression_decoder.n_outputs": (head.get("n_outputs", 1), (1,)),
        "mvc.arch_style": ((model_config.get("mvc") or {}).get("arch_style", "inner product"), ("inner product",)),
        "gene_encoder.embeddings": (
            sorted((model_config.get("gene_encoder") or {}).get("embeddings") or {}) or "none",
            ("none",),
        ),
    }
    for key, (found, expected) in allowed.items():
        if found not in expected:
            raise ValueError(
                f"{MODEL_CONFIG_FILE}: {key} is {found!r}; this package supports {' or '.join(map(repr, expected))}"
            )


def _vocab_size(model_config: Mapping[str, Any], vocab: GeneVocab) -> int:
    size = model_config.get("vocab_size") or len(vocab)
    if len(vocab) > size:
        raise ValueError(
            f"{VOCAB_FILE} numbers its tokens up to {len(vocab) - 1}, but {MODEL_CONFIG_FILE} says vocab_size: {size}; "
            "take both files from one release"
        )
    return size


def _pad_token_id(collator_config: Mapping[str, Any], vocab: GeneVocab) -> int:
    found = collator_config.get("pad_token_id", vocab["<pad>"])
    if found != vocab["<pad>"]:
        raise ValueError(
            f"{COLLATOR_CONFIG_FILE} says pad_token_id: {found}, but {VOCAB_FILE} gives <pad> {vocab['<pad>']}; "
            "take both files from one release"
        )
    return found


def _drug_settings(
    model_config: Mapping[str, Any],
    collator_config: Mapping[str, Any],
    vocab: GeneVocab,
    tensor_shapes: Mapping[str, tuple[int, ...]] | None,
) -> dict[str, Any]:
    if not has_drug_token(model_config, collator_config):
        raise ValueError("use_chem is set, but this release has no chemical encoder; load it without use_chem")
    if "<drug>" not in vocab:
        raise ValueError(f"use_chem is set, but {VOCAB_FILE} has no <drug> token; take the release's own {VOCAB_FILE}")
    encoder = model_config["chemical_encoder"]
    rows, width = encoder.get("num_drugs"), encoder.get("fp_dim")
    if encoder.get("drug_fps_path") is not None or rows is None or width is None:
        # Upstream then takes the size from the fingerprint file, which a release does not hold; the table it became is.
        shape = (tensor_shapes or {}).get(CHEM_PREFIX + "embedding.weight")
        if shape is None:
            raise ValueError(
                f"use_chem is set, but {WEIGHTS_FILE} holds no {TENSOR_PREFIX}{CHEM_PREFIX}embedding.weight to read "
                "the number of drugs from; download the weights again or load without use_chem"
            )
        rows, width = shape
    return {
        "num_drugs": rows,
        "drug_fingerprint_dim": width,
        "drug_act": encoder.get("activation", "leaky_relu"),
        "drug_token_id": vocab["<drug>"],
    }
