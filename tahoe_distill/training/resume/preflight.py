"""What is done before a run starts, so that one which was killed carries on by itself."""

import ctypes
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from tahoe_distill.files import remove, sync_names
from tahoe_distill.training.resume.checkpoint_files import SavedCheckpoint, find_checkpoint, find_checkpoints

log = logging.getLogger(__name__)

PARTIAL = ".partial"
# Of a run that was told to end: EX_TEMPFAIL of sysexits.h, since the same command, given again, carries on.
EXIT_CODE = 75
_SET_PARENT_DEATH_SIGNAL = 1
_SAVE_FILENAME = "ep{epoch}-ba{batch}-rank{rank}.pt"


@dataclass(frozen=True)
class SaveSettings:
    """A run's settings of its checkpoints.

    Args:
        folder: ``save_folder``, its ``{run_name}`` filled in; ``None`` where the run saves none, or not on this disk.
        latest: Name of the link to the newest checkpoint.
        run_name: The run's name, or ``None``.
        sharded: Whether a checkpoint of this run is a folder of shards; ``None`` where the configuration leaves it
            open.
        resumes: Whether the run carries on from a checkpoint that it finds.
        missing: Settings that resumption needs and the configuration lacks, as ``key: value``.
        any_run: Whether it may carry on from a checkpoint of a run of another name.
    """

    folder: Path | None
    latest: str
    run_name: str | None
    sharded: bool | None
    resumes: bool
    missing: tuple[str, ...] = ()
    any_run: bool = False

    @classmethod
    def from_config(cls, config: Mapping[str, Any], processes: int = 1) -> "SaveSettings":
        """From a run's configuration, a mapping, and the number of its processes."""
        run_name = config.get("run_name") or os.environ.get("RUN_NAME")
        fsdp = config.get("fsdp_config")
        kind = "full" if not fsdp else fsdp.get("state_dict_type")
        latest = "latest-sharded-rank0" if kind == "sharded" else "latest-rank0.pt"
        return cls(
            folder=_local_folder(config, run_name),
            latest=(config.get("save_latest_filename") or latest).replace("{rank}", "0"),
            run_name=run_name,
            # llm-foundry drops FSDP where there is one process.
            sharded=False if processes == 1 else {"full": False, "sharded": True}.get(kind),
            resumes=bool(config.get("autoresume")),
            missing=tuple(_missing(config, run_name, fsdp)),
            any_run="run_name" in _resume_anyway(config),
        )


def prepare_run(config: Mapping[str, Any]) -> None:
    """Make the folder of checkpoints fit to be resumed from.

    Acts in the first process of each node; the others wait for it when they join the process group. Everything it does
    may be done twice, and by two nodes at once.

    Args:
        config: The run's whole configuration as a mapping.

    Raises:
        ValueError: When the checkpoints there are cannot be loaded by the processes that this run has.
        OSError: When they go to an object store that takes nothing.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        return
    settings = SaveSettings.from_config(config, int(os.environ.get("WORLD_SIZE", "1")))
    if settings.missing:
        log.warning(
            "save_folder is set without %s, which a killed run needs to carry on by itself", ", ".join(settings.missing)
        )
    if not _has_our_names(config):
        return
    store = checkpoint_store(config)
    if store is not None:
        # Imported here: it brings Composer, which a run on this disk need not wait for.
        from tahoe_distill.training.resume.kept_remotely import take_newest

        take_newest(store, settings)
    if settings.resumes and settings.folder is not None and settings.folder.is_dir():
        look_over(settings)


def checkpoint_store(config: Mapping[str, Any]) -> str | None:
    """The folder of an object store that a run's checkpoints are sent to, ``None`` where they stay on this disk."""
    return ((config.get("callbacks") or {}).get("distillation") or {}).get("checkpoint_store")


def end_with_launcher() -> None:
    """Have this process told to end when the launcher that started it is gone; only Linux can do that.

    A killed launcher would leave processes behind that train on, and collide with the next start of the run.
    """
    if sys.platform == "linux" and "LOCAL_WORLD_SIZE" in os.environ:
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def shield_helpers() -> None:
    """Start Python's keeper of shared memory so that SIGUSR1, which a scheduler sends to all, does not end it.

    It would be started again, and lose sight of the blocks there are.
    """
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGUSR1, before)


def checkpoint_to_resume(config: Mapping[str, Any]) -> SavedCheckpoint | None:
    """The checkpoint that a run will carry on from, ``None`` where there is none or it does not lie on this disk."""
    settings = SaveSettings.from_config(config, int(os.environ.get("WORLD_SIZE", "1")))
    if not settings.resumes or settings.folder is None or not _has_our_names(config):
        return None
    link = settings.folder / settings.latest
    return find_checkpoint(settings.folder / os.readlink(link)) if link.is_symlink() else None


def look_over(settings: SaveSettings) -> None:
    """Point ``latest`` at a whole checkpoint and remove those that a kill left unfinished.

    A folder whose link was not made by Composer is left as it is.

    Raises:
        ValueError: When the checkpoint to carry on from was written by another run, or is sharded and this run's are
            not, or the other way round.
    """
    folder = settings.folder
    if folder is None:
        return
    link = folder / settings.latest
    if os.path.lexists(link) and not _is_our_link(link):
        log.warning("%s is not a link to a checkpoint beside it; %s is left as it is", link, folder)
        return
    found = find_checkpoints(folder)
    problems = {saved: saved.damage() for saved in found}
    linked = find_checkpoint(folder / os.readlink(link)) if link.is_symlink() else None
    chosen = linked if linked and not problems.get(linked) else _newest_whole(problems)
    if chosen:
        _check_writer(chosen, settings)
        _check_kind(chosen, settings)
    _link(link, linked, problems.get(linked) if linked else None, chosen)
    for saved, problem in problems.items():
        if problem and (chosen is None or saved.age > chosen.age):
            _remove_unfinished(saved.path, problem)


def _newest_whole(problems: Mapping[SavedCheckpoint, str | None]) -> SavedCheckpoint | None:
    whole = [saved for saved, problem in problems.items() if not problem]
    return whole[-1] if whole else None


def _is_our_link(link: Path) -> bool:
    """Whether it leads to a checkpoint in its own folder, or to one that was there."""
    if not link.is_symlink() or os.path.basename(os.readlink(link)) != os.readlink(link):
        return False
    return not link.exists() or find_checkpoint(link.parent / os.readlink(link)) is not None


def _check_writer(saved: SavedCheckpoint, settings: SaveSettings) -> None:
    writer = saved.run_name()
    if None not in (writer, settings.run_name) and writer != settings.run_name and not settings.any_run:
        raise ValueError(
            f"{saved.path} was written by the run {writer}, and this one is {settings.run_name}: it would carry on "
            "from that run's weights. Give it a save_folder of its own, or, to carry on from them, "
            f"run_name={writer} or callbacks.distillation.resume_anyway=[run_name]"
        )


def _check_kind(saved: SavedCheckpoint, settings: SaveSettings) -> None:
    if settings.sharded is None or saved.sharded == settings.sharded:
        return
    kinds = {True: "sharded over several processes", False: "one file"}
    raise ValueError(
        f"{saved.path} is {kinds[saved.sharded]}, and a checkpoint of this run would be {kinds[settings.sharded]}; go "
        "on with the same number of processes and the same fsdp_config.state_dict_type, or give another save_folder"
    )


def _link(link: Path, linked: SavedCheckpoint | None, problem: str | None, chosen: SavedCheckpoint | None) -> None:
    """Make ``link`` lead to ``chosen``, atomically, unless it does; a warning gives the reason."""
    if chosen == linked and chosen is not None:
        return
    if not os.path.lexists(link):
        if chosen is None:
            return
        reason = f"{link} is missing"
    else:
        reason = f"{link} leads to {os.readlink(link)}, and " + (problem or "that is gone")
    log.warning("%s; %s", reason, f"carrying on from {chosen.path.name}" if chosen else "starting from the beginning")
    if chosen is None:
        link.unlink(missing_ok=True)
        return
    new = link.with_name(f".{link.name}-{os.getpid()}")
    new.symlink_to(chosen.path.name)
    os.replace(new, link)
    sync_names(link.parent)


def _remove_unfinished(path: Path, problem: str) -> None:
    """Under another name first: half removed, it would look like a checkpoint."""
    aside = path.with_name(path.name + PARTIAL)
    remove(aside)
    try:
        os.replace(path, aside)
    except FileNotFoundError:
        return  # Another node was faster.
    # Kept, it would take the space that the next checkpoint needs: a full disk is what most often breaks one off.
    remove(aside)
    log.warning("%s was not finished when its run ended (%s), and was removed", path, problem)


def _local_folder(config: Mapping[str, Any], run_name: str | None) -> Path | None:
    folder = config.get("save_folder")
    if not folder or "://" in folder:
        return None
    return Path(folder.replace("{run_name}", str(run_name)))


def _resume_anyway(config: Mapping[str, Any]) -> list[str]:
    callback = (config.get("callbacks") or {}).get("distillation") or {}
    return list(callback.get("resume_anyway") or ())


def _has_our_names(config: Mapping[str, Any]) -> bool:
    """Whether checkpoints get the names that :mod:`checkpoint_files` knows."""
    return (config.get("save_filename") or _SAVE_FILENAME) == _SAVE_FILENAME


def _missing(config: Mapping[str, Any], run_name: str | None, fsdp: Mapping[str, Any] | None) -> Iterator[str]:
    if not config.get("save_folder"):
        return
    if not run_name:
        yield "run_name: NAME"
    for key in ("autoresume", "save_overwrite"):
        if not config.get(key):
            yield f"{key}: true"
    if fsdp and not fsdp.get("state_dict_type"):
        yield "fsdp_config.state_dict_type: full"
