"""The Tahoe-x1 release format as data: its files, its tensor names and its settings, both ways."""

import json
from pathlib import Path

import yaml
from safetensors.torch import save_file

from tahoe_distill.files import finished_folder
from tahoe_distill.models import Tx1Config, Tx1Processor
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


def to_release_name(name):
    """Name of a :class:`Tx1Model` tensor in a release."""
    return TENSOR_PREFIX + name


def from_release_name(name):
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


def read_settings(path):
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


def has_drug_token(model_config, collator_config):
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


def config_from_release(model_config, collator_config, vocab, use_chem=False, tensor_shapes=None):
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


def processor_from_release(collator_config, vocab, use_chem=False, drug_to_id=None):
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


def write_release(model, processor, folder):
    """Write a :class:`Tx1Model` as a Tahoe-x1 release, which upstream and :func:`load_teacher` read.

    The folder appears whole or not at all.

    Args:
        model: The model; nothing in it may be foreign to Tahoe-x1.
        processor: Its :class:`Tx1Processor`.
        folder: Where to write; must not exist.

    Raises:
        FileExistsError: When ``folder`` exists.
        ValueError: When the model has a part that the release format cannot hold.
    """
    settings = release_model_config(model.config)
    collator = release_collator_config(processor)
    if len(processor.vocab) > model.config.vocab_size:
        raise ValueError(
            f"the vocabulary has {len(processor.vocab)} tokens, but the model's table {model.config.vocab_size} rows; "
            "pass the processor that belongs to the model"
        )
    if processor.use_chem_token != bool(model.config.num_drugs):
        raise ValueError(
            f"the processor has use_chem_token={processor.use_chem_token}, but the model num_drugs="
            f"{model.config.num_drugs}; pass the processor that belongs to the model"
        )
    tensors = {to_release_name(name): tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with finished_folder(folder) as temporary:
        processor.vocab.save(temporary)
        (temporary / MODEL_CONFIG_FILE).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        (temporary / COLLATOR_CONFIG_FILE).write_text(yaml.safe_dump(collator, sort_keys=False), encoding="utf-8")
        if processor.use_chem_token:
            (temporary / DRUG_FILE).write_text(json.dumps(processor.drug_to_id or {"<pad>": 0}), encoding="utf-8")
        save_file(tensors, temporary / WEIGHTS_FILE, metadata={"format": "pt"})


def release_model_config(config):
    """Content of ``model_config.yml`` for a :class:`Tx1Config`; raises ``ValueError`` where the format has no word."""
    _refuse_unshippable(config)
    drugs = {
        "chemical_encoder": {
            "activation": config.drug_act,
            "padding_idx": 0,
            "num_drugs": config.num_drugs,
            "fp_dim": config.drug_fingerprint_dim,
        }
    }
    mvc = {
        "arch_style": "inner product",
        "query_activation": config.mvc_query_act,
        "scaled_dot_product": config.mvc_scaled,
    }
    return {
        "name": "tahoe_x1",
        "vocab_size": config.vocab_size,
        "d_model": config.hidden_size,
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "expansion_ratio": _as_int(config.intermediate_size / config.hidden_size),
        "norm_scheme": "pre",
        "transformer_activation": config.hidden_act,
        "use_glu": config.use_glu,
        "cell_emb_style": config.pooling,
        "standard_scale_outputs": config.standard_scale_outputs,
        "attn_config": {
            "attn_type": "grouped_query_attention",
            # As in the published files: upstream swaps triton for flash without the rule, all that it can run.
            "attn_impl": "triton" if config.masked_attention else "flash",
            "use_attn_mask": config.masked_attention,
            "kv_n_heads": config.num_attention_heads,
            "attn_pdrop": 0.0,
        },
        "norm_config": {"norm_type": "layernorm", "eps": config.layer_norm_eps},
        "gene_encoder": {"use_norm": config.gene_norm},
        "expression_encoder": {
            "input_emb_style": "continuous",
            "dropout": config.value_dropout,
            "max_value": _as_int(config.max_value),
            "activation": config.value_act,
            "use_norm": config.value_norm,
        },
        "expression_decoder": {
            "n_outputs": 1,
            "n_layers": config.expression_head_layers,
            "activation": config.expression_head_act,
        },
        "mvc": mvc if config.mvc_head else None,
        **(drugs if config.num_drugs else {}),
    }


def release_collator_config(processor):
    """Content of ``collator_config.yml`` for a :class:`Tx1Processor`."""
    drugs = {"drug_to_id_path": {"remote": DRUG_FILE, "local": DRUG_FILE}}
    return {
        "do_padding": True,
        "pad_token_id": processor.vocab["<pad>"],
        "pad_value": _as_int(processor.pad_value),
        "do_mlm": True,
        "mlm_probability": 0.5,
        "mask_value": _as_int(processor.mask_value),
        "do_binning": processor.do_binning,
        "log_transform": processor.log_transform,
        "target_sum": _as_int(processor.target_sum),
        "max_length": processor.max_length,
        "sampling": True,
        "num_bins": processor.num_bins,
        "right_binning": processor.right_binning,
        "keep_first_n_tokens": len(processor.special_tokens),
        "use_chem_token": processor.use_chem_token,
        **(drugs if processor.use_chem_token else {}),
    }


def _required(settings, key, file, kind=int):
    value = settings.get(key)
    if not isinstance(value, kind):
        expected = {int: "a whole number", dict: "a mapping"}.get(kind, "a number")
        raise ValueError(f"{file}: expected {expected} for {key}, found {value!r}; take the file from the release")
    return value


def _intermediate_size(model_config):
    d_model, ratio = (
        model_config["d_model"],
        _required(model_config, "expansion_ratio", MODEL_CONFIG_FILE, (int, float)),
    )
    if int(d_model * ratio) != d_model * ratio:
        raise ValueError(f"{MODEL_CONFIG_FILE}: d_model {d_model} times expansion_ratio {ratio} is no whole number")
    return int(d_model * ratio)


def _refuse_unsupported(model_config):
    """Name each setting that asks for something other than the Tahoe-x1 architecture."""
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


def _refuse_unshippable(config):
    foreign = {
        "projection_dim": config.projection_dim is not None,
        "gene_rank": config.gene_rank is not None,
        "pooling": config.pooling not in UPSTREAM_POOLINGS,
        "expression_head_layers": config.expression_head_layers is None,
        "intermediate_size": config.hidden_size * (config.intermediate_size / config.hidden_size)
        != config.intermediate_size,
    }
    found = [f"{name}={getattr(config, name)!r}" for name, is_foreign in foreign.items() if is_foreign]
    if found:
        raise ValueError(
            f"the Tahoe-x1 release format cannot hold {', '.join(found)}; ship this model as a transformers folder"
        )


def _vocab_size(model_config, vocab):
    size = model_config.get("vocab_size") or len(vocab)
    if len(vocab) > size:
        raise ValueError(
            f"{VOCAB_FILE} numbers its tokens up to {len(vocab) - 1}, but {MODEL_CONFIG_FILE} says vocab_size: {size}; "
            "take both files from one release"
        )
    return size


def _pad_token_id(collator_config, vocab):
    found = collator_config.get("pad_token_id", vocab["<pad>"])
    if found != vocab["<pad>"]:
        raise ValueError(
            f"{COLLATOR_CONFIG_FILE} says pad_token_id: {found}, but {VOCAB_FILE} gives <pad> {vocab['<pad>']}; "
            "take both files from one release"
        )
    return found


def _drug_settings(model_config, collator_config, vocab, tensor_shapes):
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


def _as_int(number):
    """Whole numbers without a decimal point, as upstream's files have them."""
    return int(number) if float(number).is_integer() else float(number)
