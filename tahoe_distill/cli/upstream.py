"""Upstream's own YAMLs, read as they stand: its sections by the names that they have here, the rest in a note."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from tahoe_distill.cli.defaults import merge

# Sections that stand at the top of upstream's YAMLs and nowhere in llm-foundry's; `parameters` is where the platform's
# files hold a whole run.
_MARKS = ("valid_loader", "collator", "vocabulary", "parameters")
_MODELS = ("tahoe_x1", "tahoex", "mosaicfm", "vevo_scgpt")
_PLATFORM = "of the platform's launcher"
# Top-level keys without a meaning here, and why.
_NO_MEANING = {
    "vocabulary": "the loaders take the vocabulary of the teacher",
    "device_train_batch_size": "it follows from global_train_batch_size and the number of processes",
}
_ARCHITECTURE = (
    "d_model",
    "n_layers",
    "n_heads",
    "expansion_ratio",
    "standard_scale_outputs",
    "transformer_activation",
    "norm_scheme",
    "norm_config",
    "attn_config",
    "use_generative_training",
    "use_cell_conditioned_generation",
    "use_glu",
    "cell_emb_style",
    "gene_encoder",
    "expression_encoder",
    "expression_decoder",
    "chemical_encoder",
    "mvc",
    "vocab_size",
    "init_device",
)
_COLLATOR = ("data_style", "use_junk_tokens")
_WEIGHTS = ("load_path", "load_weights_only")


def is_upstream(content: Mapping[str, Any]) -> bool:
    """Whether a YAML has sections as upstream names them."""
    model = content.get("model")
    return any(key in content for key in _MARKS) or (isinstance(model, Mapping) and model.get("name") in _MODELS)


def from_upstream(content: Mapping[str, Any], overrides: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """A run as llm-foundry and this project have it, of upstream's YAML.

    Args:
        content: The YAML as a mapping: a run, or one of the platform's files with the run under ``parameters``.
        overrides: Its ``key=value`` overrides, by upstream's names or by ours.

    Returns:
        The run with the overrides in it, and what had no meaning here, a line each.

    Raises:
        ValueError: When it describes upstream's own model, and no override says what to distil; when it has both
            ``valid_loader`` and ``eval_loader``.
    """
    from omegaconf import OmegaConf

    outer = {key: value for key, value in content.items() if key != "parameters"} if "parameters" in content else {}
    merged = merge(content["parameters"] if outer else content, overrides)
    run = cast(dict[str, Any], OmegaConf.to_container(merged, resolve=True))
    notes = [f"{', '.join(outer)}: {_PLATFORM}"] if outer else []
    if outer.get("name"):
        run.setdefault("run_name", outer["name"])
    notes += [f"{key}: {why}" for key, why in _NO_MEANING.items() if run.pop(key, None) is not None]
    if "global_seed" in run:
        run.setdefault("seed", run.pop("global_seed"))
    notes += [*_model(run), *_loaders(run)]
    run.setdefault("tokenizer", {})
    run.setdefault("accumulate_train_batch_on_tokens", False)
    return run, notes


def _model(run: dict[str, Any]) -> Iterator[str]:
    """Make the section ``model`` this project's; yield what it loses."""
    model = run.get("model")
    if not isinstance(model, dict) or model.get("name") not in _MODELS:
        return
    if "teacher" not in model or "student" not in model:
        raise ValueError(
            f"model.name is {model['name']}: this is a pretraining run of upstream's; say what to distil, such as "
            "model.teacher.source=tahoebio/Tahoe-x1 model.teacher.size=70m model.student=small"
        )
    gone = [key for key in _ARCHITECTURE if model.pop(key, None) is not None]
    model["name"] = "tahoe_distill"
    if gone:
        yield f"model.{{{', '.join(gone)}}}: of upstream's model; model.student says what the student is"
    gone = [key for key in _WEIGHTS if run.pop(key, None) is not None]
    if gone:
        yield f"{', '.join(gone)}: weights of upstream's model"


def _loaders(run: dict[str, Any]) -> Iterator[str]:
    """Give the loaders their names and the collator that stands beside them; yield what they lose."""
    if "valid_loader" in run:
        if run.get("eval_loader"):
            raise ValueError("found valid_loader and eval_loader; keep one, which is eval_loader here")
        run["eval_loader"] = run.pop("valid_loader")
    collator = run.pop("collator", None)
    gone: set[str] = set()
    for name in ("train_loader", "eval_loader"):
        section = run.get(name)
        for loader in section if isinstance(section, list) else [section]:
            if not isinstance(loader, dict):
                continue
            loader.setdefault("name", "tahoe_mds")
            if collator is not None:
                loader.setdefault("collator", dict(collator))
            gone |= {key for key in _COLLATOR if (loader.get("collator") or {}).pop(key, None) is not None}
    if gone:
        yield f"collator.{{{', '.join(sorted(gone))}}}: one way of collating serves all"
    length = ((run.get("train_loader") or {}).get("collator") or {}).get("max_length")
    if length is not None:
        run.setdefault("max_seq_len", length)
