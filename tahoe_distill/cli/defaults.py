"""What a run's YAML need not say: settings of this project, and values that depend on the machine."""

import logging
import os

from tahoe_distill.cache.record import CACHE_FILE

log = logging.getLogger(__name__)


def with_defaults(content, overrides):
    """The overrides, and after them what the run leaves to this project.

    Args:
        content: The YAML as a mapping.
        overrides: Its ``key=value`` overrides; a setting counts wherever it is made.

    Raises:
        ValueError: When a setting cannot be filled in.
    """
    run = merge(content, overrides)
    return [*overrides, *(setting for default in DEFAULTS for setting in default(run))]


def merge(content, overrides):
    """The run as llm-foundry will see it: the YAML with its overrides, as an OmegaConf mapping."""
    from omegaconf import OmegaConf

    # YAML has dates, which OmegaConf takes only where it is told to take any object.
    run = OmegaConf.create(content, flags={"allow_objects": True})
    return OmegaConf.merge(run, OmegaConf.from_cli(list(overrides)))


def step_callback(run):
    """The callback ``distillation``, which every run needs."""
    return [] if "distillation" in (run.get("callbacks") or {}) else ["callbacks.distillation={}"]


def teacher_cache(run):
    """The folder that ``model.teacher.cache`` names, or ``None``."""
    teacher = (run.get("model") or {}).get("teacher")
    return teacher.get("cache") if hasattr(teacher, "get") else None


def cached_loaders(run):
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


def microbatch(run):
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


def _refuse_auto_with_fsdp2(run, processes):
    # llm-foundry drops FSDP where there is one process.
    if processes == 1 or run.get("fsdp_config") is None or os.environ.get("FSDP_VERSION") != "2":
        return
    raise ValueError(
        "device_train_microbatch_size: auto does not work with fsdp_config, which is FSDP2 here: Composer adapts the "
        f"microbatch without it only. Write a number, such as {max(run.global_train_batch_size // processes // 4, 1)}, "
        "or remove fsdp_config: a student small enough for one GPU does not need it"
    )


def _has_gpu():
    import torch

    return torch.cuda.is_available()


DEFAULTS = (step_callback, cached_loaders, microbatch)
