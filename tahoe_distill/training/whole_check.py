"""All that can be found wrong with a run without training: its names, its model, its loaders, its folders."""

import inspect
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmfoundry import registry
from llmfoundry.utils.config_utils import TRAIN_CONFIG_KEYS
from llmfoundry.utils.registry_utils import import_file

from tahoe_distill.naming import check_keys, unknown
from tahoe_distill.training.batch_check import check_loaders
from tahoe_distill.training.callbacks.run_report import destinations
from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader
from tahoe_distill.training.model import TahoeDistillModel

_REGISTRIES = {
    "callbacks": (registry.callbacks, registry.callbacks_with_config),
    "loggers": (registry.loggers,),
    "algorithms": (registry.algorithms,),
    "optimizer": (registry.optimizers,),
    "scheduler": (registry.schedulers,),
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
    _check_folders(run)
    model = TahoeDistillModel(**_without_name(run["model"]))
    train = _loader(run["train_loader"], run["global_train_batch_size"] // int(os.environ.get("WORLD_SIZE", "1")))
    sections = dict(_evaluations(run.get("eval_loader")))
    check_loaders(model, train, {name: _loader(s, run["device_eval_batch_size"]) for name, s in sections.items()})
    size = sum(parameter.numel() for parameter in model.student.parameters())
    return f"the run can start: a student of {size:,} parameters, {destinations(run)}"


def check_names(run: Mapping[str, Any]) -> None:
    """Refuse callbacks, loggers, algorithms, optimizers and schedulers that there are not, and options they lack.

    Raises:
        ValueError: With the closest known name.
    """
    check_keys(run, TRAIN_CONFIG_KEYS, "the configuration")
    # What a user registers there counts; llm-foundry imports them once more, which registers the same again.
    for path in run.get("code_paths") or ():
        import_file(path)
    for where, name, options in _named(run):
        found = _find(where.partition(".")[0], name)
        if found is None:
            known = {known for group in _REGISTRIES[where.partition(".")[0]] for known in group.get_all()}
            raise ValueError(f"{where}: {unknown(where.partition('.')[0].rstrip('s'), name, known)}")
        parameters = inspect.signature(found).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            continue
        known = {parameter.name for parameter in parameters} - {"self", "train_config", "params"}
        check_keys(options, known, where)


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


def _find(section: str, name: str) -> Any:
    for group in _REGISTRIES[section]:
        if name in group.get_all():
            return group.get(name)
    return None


def _check_folders(run: Mapping[str, Any]) -> None:
    """Refuse folders that cannot be written, which would be found after the last batch only."""
    student = ((run.get("callbacks") or {}).get("hf_student") or {}).get("folder")
    for key, folder in (("callbacks.hf_student.folder", student), ("save_folder", run.get("save_folder"))):
        if not folder or "://" in folder:
            continue
        place = Path(folder)
        while not place.exists():
            place = place.parent
        if not place.is_dir() or not os.access(place, os.W_OK):
            raise ValueError(f"{key} is {folder}, and {place} cannot be written to; name a folder of your own")


def _evaluations(section: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, loader in enumerate(section if isinstance(section, list) else [section] if section else []):
        label = loader.get("label")
        yield ("eval_loader" if label is None else f"eval_loader {label!r}") + (f"[{number}]" if number else ""), loader


def _loader(section: Mapping[str, Any], batch_size: int) -> Any:
    options = {key: value for key, value in section.items() if key not in ("name", "label")}
    return build_tahoe_mds_dataloader(**options, device_batch_size=batch_size).dataloader


def _without_name(section: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key != "name"}
