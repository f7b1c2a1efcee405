"""All that can be found wrong with a run without training: its names, its model, its loaders, its folders."""

import dataclasses
import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from composer.utils import FSDP2Config, FSDPConfig
from llmfoundry import registry
from llmfoundry.utils.config_utils import TRAIN_CONFIG_KEYS
from llmfoundry.utils.registry_utils import import_file

from tahoe_distill.errors import WANTS_KEY
from tahoe_distill.naming import check_keys, unknown
from tahoe_distill.training.batch_check import check_loaders
from tahoe_distill.training.callbacks.run_report import destinations
from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader, check_loader
from tahoe_distill.training.model import TahoeDistillModel

log = logging.getLogger(__name__)

_FP8_CAPABILITY, _BF16_CAPABILITY = (8, 9), (8, 0)
_REGISTRIES = {
    "callbacks": (registry.callbacks, registry.callbacks_with_config),
    "loggers": (registry.loggers,),
    "algorithms": (registry.algorithms,),
    "optimizer": (registry.optimizers,),
    "scheduler": (registry.schedulers,),
    "model": (registry.models,),
    "train_loader": (registry.dataloaders,),
    "eval_loader": (registry.dataloaders,),
}


def check_whole_run(run: Mapping[str, Any]) -> str:
    """Build the parts of a run and refuse what cannot work; nothing is trained and nothing is written.

    Args:
        run: The run, resolved, as plain values.

    Returns:
        What would be done, in a sentence.

    Raises:
        ValueError: With what was found and what to do.
    """
    check_names(run)
    model = TahoeDistillModel(**_without_name(run["model"]))
    train = _loader(run["train_loader"], run["global_train_batch_size"] // int(os.environ.get("WORLD_SIZE", "1")))
    sections = {name: _loader(section, run["device_eval_batch_size"]) for name, section in _loaders(run).items()}
    check_loaders(model, train, sections)
    size = sum(parameter.numel() for parameter in model.student.parameters())
    return f"the run can start: a student of {size:,} parameters, {destinations(run)}"


def check_names(run: Mapping[str, Any], *, elsewhere: bool = False) -> None:
    """Refuse names of parts that there are not, options that they lack, and a logger without its key.

    Args:
        run: The run, resolved, as plain values.
        elsewhere: Whether it will run on another machine than this one, whose hardware and keys then say nothing.

    Raises:
        ValueError: With the closest known name.
    """
    check_keys(run, TRAIN_CONFIG_KEYS, "the configuration")
    # What a user registers there counts; llm-foundry imports them once more, which registers the same again.
    for path in run.get("code_paths") or ():
        import_file(path)
    for where, name, options in _named(run):
        _check_options(options, _find(where.partition(".")[0], name, where), where)
    for where, section in {"model": run["model"], "train_loader": run["train_loader"], **_loaders(run)}.items():
        _find(where.split(" ")[0].partition("[")[0], section.get("name"), where)
        if section.get("name") == "tahoe_mds":
            check_loader(section, where)
    _check_torch(run)
    if not elsewhere:
        _check_precision(run)
        _check_key(run)


def _named(run: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Section, name and options of each part that is found by its name."""
    for section in ("callbacks", "loggers", "algorithms"):
        for name, options in (run.get(section) or {}).items():
            yield f"{section}.{name}", name, options or {}
    for section in ("optimizer", "scheduler"):
        options = run.get(section) or {}
        if "name" in options:
            # llm-foundry's own, and not the class's.
            own = ("name", "disable_grad", "param_groups", "schedulers")
            yield section, options["name"], {key: value for key, value in options.items() if key not in own}


def _check_options(options: Mapping[str, Any], part: Callable[..., Any], where: str) -> None:
    parameters = inspect.signature(part).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        known = {parameter.name for parameter in parameters} - {"self", "train_config", "params"}
        check_keys(options, known, where)


def _find(section: str, name: str | None, where: str) -> Any:
    groups = _REGISTRIES[section]
    for group in groups:
        if name in group.get_all():
            return group.get(name)
    known = {known for group in groups for known in group.get_all()}
    raise ValueError(f"{where}: {unknown(section.rstrip('s').replace('_', ' '), name, known)}")


def _check_torch(run: Mapping[str, Any]) -> None:
    """Settings that go to Composer's FSDP, which only warns of others, and to torch.compile."""
    # Those of FSDP1 are left out by FSDP2, and llm-foundry sets some of them itself.
    known = {*inspect.signature(FSDP2Config).parameters, *(field.name for field in dataclasses.fields(FSDPConfig))}
    check_keys(run.get("fsdp_config") or {}, {key for key in known if not key.startswith("_")}, "fsdp_config")
    check_keys(
        run.get("compile_config") or {}, {*inspect.signature(torch.compile).parameters} - {"model"}, "compile_config"
    )


def _check_precision(run: Mapping[str, Any]) -> None:
    """Refuse what this machine cannot compute in, with the first reason that holds; warn of what it has to imitate."""
    precision = str(run.get("precision") or "")
    capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    device = "no GPU" if capability is None else f"{torch.cuda.get_device_name()}, {capability[0]}.{capability[1]}"
    if precision == "amp_fp8":
        if capability is None or capability < _FP8_CAPABILITY:
            raise ValueError(
                "precision: amp_fp8 needs a GPU of compute capability 8.9 or more, such as an L40S or H100; found "
                f"{device}. Use {'fp32' if capability is None else 'amp_bf16'}"
            )
        raise ValueError(
            "precision: amp_fp8 acts on the layers of TransformerEngine alone; teacher and student have PyTorch's, so "
            "that an export loads everywhere, and would be computed in float32. Use amp_bf16"
        )
    if precision.startswith("amp_") and capability is None:
        raise ValueError(f"precision: {precision} needs a GPU, and there is none here. Use fp32")
    if precision == "amp_bf16" and capability is not None and capability < _BF16_CAPABILITY:
        log.warning("precision: amp_bf16 is imitated, and slow, on %s; amp_fp16 is what it has", device)


def _check_key(run: Mapping[str, Any]) -> None:
    """Refuse Weights & Biases without a key, where it cannot ask for one either."""
    options = (run.get("loggers") or {}).get("wandb")
    mode = ((options or {}).get("init_kwargs") or {}).get("mode") or os.environ.get("WANDB_MODE", "online")
    if options is None and "wandb" not in (run.get("loggers") or {}):
        return
    if mode != "online" or os.environ.get("RANK", "0") != "0" or sys.stdin.isatty():
        return
    import wandb

    if wandb.api.api_key is None:
        raise ValueError(WANTS_KEY)


def _loaders(run: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The sections of the evaluations' loaders by their names."""
    given = run.get("eval_loader") or []
    sections = given if isinstance(given, list) else [given]
    labels = ["" if section.get("label") is None else f" {section['label']!r}" for section in sections]
    return {f"eval_loader{f'[{n}]' if n else ''}{labels[n]}": section for n, section in enumerate(sections)}


def _loader(section: Mapping[str, Any], batch_size: int) -> Any:
    options = {key: value for key, value in section.items() if key not in ("name", "label")}
    return build_tahoe_mds_dataloader(**options, device_batch_size=batch_size).dataloader


def _without_name(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}
