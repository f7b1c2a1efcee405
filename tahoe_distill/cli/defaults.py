"""What a run's YAML need not say: what it shares with others, settings of this project, values of the machine."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from tahoe_distill.cache.record import CACHE_FILE
from tahoe_distill.settings import plain
from tahoe_distill.training.store import is_remote, local_folder

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)


def with_defaults(content: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """The overrides, and after them what the run leaves to this project.

    Args:
        content: The YAML as a mapping.
        overrides: Its ``key=value`` overrides; a setting counts wherever it is made.

    Raises:
        ValueError: When a setting cannot be filled in.
    """
    run = merge(content, overrides)
    return [*overrides, *(setting for default in DEFAULTS for setting in default(run))]


def merge(content: Mapping[str, Any], overrides: Sequence[str] = ()) -> "DictConfig":
    """The run as llm-foundry will see it: its base, the YAML and its overrides, as an OmegaConf mapping.

    Args:
        content: The YAML as a mapping. What ``variables.base`` names, a YAML too, holds what it leaves out.
        overrides: Its ``key=value`` overrides.

    Raises:
        FileNotFoundError: When there is no such base.
    """
    from omegaconf import DictConfig, OmegaConf

    # YAML has dates, which OmegaConf takes only where it is told to take any object.
    run = DictConfig(content, flags={"allow_objects": True})
    run.merge_with(OmegaConf.from_cli(list(overrides)))
    base = OmegaConf.select(run, "variables.base")
    if base is None:
        return run
    if not os.path.isfile(base):
        raise FileNotFoundError(
            f"variables.base is {base}, which is not there; start the run from the folder that holds it, which is the "
            "repository's for the committed configurations"
        )
    whole = DictConfig(OmegaConf.load(base), flags={"allow_objects": True})
    whole.merge_with(run)
    return whole


def on_base(config: dict[str, Any]) -> dict[str, Any]:
    """A run with all that it shares with others, values resolved: llm-foundry's config transform of configs/base.py."""
    from omegaconf import OmegaConf

    run = with_vocab(merge(config))
    return cast(dict[str, Any], OmegaConf.to_container(run, resolve=True))


def with_vocab(run: "DictConfig") -> "DictConfig":
    """A run whose loaders know where to take the vocabulary from."""
    from omegaconf import OmegaConf

    run.merge_with(OmegaConf.from_cli(vocabulary(run)))
    return run


def vocabulary(run: "DictConfig") -> list[str]:
    """The teacher as the place of the vocabulary, for loaders that name none."""
    teacher = plain((run.get("model") or {}).get("teacher"))
    options = {"source": teacher} if isinstance(teacher, str) else teacher or {}
    # Beside a cache of the teacher's outputs lies its vocabulary.
    if not options.get("source") or options.get("cache"):
        return []
    vocab = {key: options[key] for key in ("source", "size", "revision", "cache_dir") if options.get(key) is not None}
    settings = []
    for name in ("train_loader", "eval_loader"):
        loader = plain(run.get(name))
        if isinstance(loader, dict) and _wants_vocab(loader):
            settings.append(f"{name}.vocab={json.dumps(vocab)}")
        elif isinstance(loader, list) and any(map(_wants_vocab, loader)):
            # An override cannot reach into a list, but replace it.
            whole = [{**item, "vocab": vocab} if _wants_vocab(item) else item for item in loader]
            settings.append(f"{name}={json.dumps(whole)}")
    return settings


def _wants_vocab(loader: Mapping[str, Any]) -> bool:
    return loader.get("name") == "tahoe_mds" and loader.get("vocab") is None and loader.get("cache") is None


def step_callback(run: "DictConfig") -> list[str]:
    """The callback ``distillation``, which every run needs."""
    return [] if "distillation" in (run.get("callbacks") or {}) else ["callbacks.distillation={}"]


def remote_checkpoints(run: "DictConfig") -> list[str]:
    """A ``save_folder`` in an object store as a folder of this disk, and the store that its content is sent to."""
    folder = run.get("save_folder")
    if folder is None or not is_remote(folder):
        return []
    return [f"save_folder={local_folder(folder)}", f"callbacks.distillation.checkpoint_store={json.dumps(folder)}"]


def teacher_cache(run: "DictConfig") -> str | None:
    """The folder that ``model.teacher.cache`` names, or ``None``."""
    teacher = (run.get("model") or {}).get("teacher")
    return teacher.get("cache") if isinstance(teacher, Mapping) else None


def cached_loaders(run: "DictConfig") -> list[str]:
    """The loaders' shares of the teacher cache that ``model.teacher.cache`` names."""
    folder = teacher_cache(run)
    # Embeddings that were prepared with the cells are in the loaders' own shards.
    if folder is None or not os.path.isfile(os.path.join(folder, CACHE_FILE)):
        return []
    settings = [] if "cache" in run.train_loader else [f"train_loader.cache={folder}/train"]
    loader = run.get("eval_loader")
    # In a list of loaders each names its own: an override cannot reach into a list.
    if hasattr(loader, "items") and "cache" not in loader:
        settings.append(f"eval_loader.cache={folder}/eval")
    return settings


def microbatch(run: "DictConfig") -> list[str]:
    """A number for ``device_train_microbatch_size: auto``, llm-foundry's default, where Composer refuses it.

    On CPUs Composer cannot watch the memory, so a device's whole batch is one microbatch.

    Raises:
        ValueError: On GPUs with FSDP2, where Composer refuses it and a guess could fill the memory.
    """
    batch = run.get("global_train_batch_size")
    if run.get("device_train_microbatch_size", "auto") != "auto" or batch is None:
        return []
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if _has_gpu():
        _refuse_auto_with_fsdp2(run, processes)
        return []
    if batch % processes:
        return []  # llm-foundry refuses such a batch, with both numbers.
    if int(os.environ.get("RANK", 0)) == 0:
        log.warning("device_train_microbatch_size: auto needs a GPU; taking the device batch, %d", batch // processes)
    return [f"device_train_microbatch_size={batch // processes}"]


def _refuse_auto_with_fsdp2(run: "DictConfig", processes: int) -> None:
    # llm-foundry drops FSDP where there is one process.
    if processes == 1 or run.get("fsdp_config") is None or os.environ.get("FSDP_VERSION") != "2":
        return
    raise ValueError(
        "device_train_microbatch_size: auto does not work with fsdp_config, which is FSDP2 here: Composer adapts the "
        f"microbatch without it only. Write a number, such as {max(run.global_train_batch_size // processes // 4, 1)}, "
        "or remove fsdp_config: a student small enough for one GPU does not need it"
    )


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def quiet(run: "DictConfig") -> list[str]:
    """No print of the whole configuration from each process, and none of Composer's blocks of numbers.

    Loggers get both; what a person reads of a run are the lines of the callback ``distillation``.
    """
    return [f"{key}=false" for key in ("log_config", "log_to_console") if key not in run]


DEFAULTS = (step_callback, remote_checkpoints, cached_loaders, vocabulary, microbatch, quiet)
