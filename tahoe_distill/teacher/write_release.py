"""Write a model as a Tahoe-x1 release, in the format that upstream publishes and reads."""

import json
import os
from typing import Any

import yaml
from safetensors.torch import save_file

from tahoe_distill.files import finished_folder
from tahoe_distill.models import Tx1Config, Tx1Model, Tx1Processor
from tahoe_distill.models.configuration_tx1 import UPSTREAM_POOLINGS
from tahoe_distill.teacher.release import (
    COLLATOR_CONFIG_FILE,
    DRUG_FILE,
    MODEL_CONFIG_FILE,
    TENSOR_PREFIX,
    WEIGHTS_FILE,
)


def write_release(model: Tx1Model, processor: Tx1Processor, folder: str | os.PathLike[str]) -> None:
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
    tensors = {TENSOR_PREFIX + name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with finished_folder(folder) as temporary:
        processor.vocab.save(temporary)
        (temporary / MODEL_CONFIG_FILE).write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
        (temporary / COLLATOR_CONFIG_FILE).write_text(yaml.safe_dump(collator, sort_keys=False), encoding="utf-8")
        if processor.use_chem_token:
            (temporary / DRUG_FILE).write_text(json.dumps(processor.drug_to_id or {"<pad>": 0}), encoding="utf-8")
        save_file(tensors, temporary / WEIGHTS_FILE, metadata={"format": "pt"})


def release_model_config(config: Tx1Config) -> dict[str, Any]:
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


def release_collator_config(processor: Tx1Processor) -> dict[str, Any]:
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


def _refuse_unshippable(config: Tx1Config) -> None:
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


def _as_int(number: float) -> int | float:
    """Whole numbers without a decimal point, as upstream's files have them."""
    return int(number) if float(number).is_integer() else float(number)
