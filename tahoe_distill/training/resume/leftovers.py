"""What killed runs leave on disk and in shared memory: found, told apart from what is in use, removed on request."""

import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tahoe_distill.files import remove
from tahoe_distill.locks import LOCK_FILE, Holder, holder_of

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
# What changed this lately may still be written to, by a process that no lock tells of.
_QUIET_SECONDS = 15 * 60
_BLOCK = re.compile(r"\d{6}_\w+")
# Name of a file or folder -> what it is. The first that fits counts.
_KINDS = (
    (re.compile(r"ep\d+-ba\d+(-rank0\.pt)?\.partial"), "checkpoint that was not finished"),
    (re.compile(r"\.latest[\w.-]*-\d+"), "link to a checkpoint that was not put in place"),
    (re.compile(re.escape(LOCK_FILE) + r"\.\d+"), "lock that was not taken"),
    (re.compile(r"\..+\.(old|writing(-[a-z0-9_]{8})?)"), "output that was not put in place"),
    (re.compile(r"[^.].*\.(new|tmp)"), "file that was not finished"),
)
# These carry on when their command is given again.
_UNFINISHED = (
    (re.compile(r"\.[^.].*\.partial"), "unfinished result; its command carries on from it"),
    (re.compile(r"cache\.partial\.json"), "teacher cache that is not whole; its command carries on from it"),
)


@dataclass(frozen=True)
class Leftover:
    """One thing that a killed run left.

    Args:
        path: File or folder.
        what: What it is, in words.
        size: Bytes.
        kept: Why it is not to be removed, or ``None``.
    """

    path: Path
    what: str
    size: int
    kept: str | None = None


class RunAliveError(RuntimeError):
    """A folder that a live process works in."""


def find_leftovers(folder: str | os.PathLike[str], *, shared_memory: Path = SHARED_MEMORY) -> list[Leftover]:
    """Look for what killed runs left in a folder, in those below it, and in shared memory.

    Args:
        folder: Folder of a run, or any above it.
        shared_memory: Where blocks of shared memory are files.

    Returns:
        What was found, by path; that which is in use or can be carried on from is marked as kept.

    Raises:
        FileNotFoundError: When there is no such folder.
        RunAliveError: When a process works in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; expected that of a run, such as runs/70m")
    found = [*_in_folder(folder), *_in_shared_memory(shared_memory)]
    return sorted(found, key=lambda leftover: leftover.path)


def remove_leftovers(leftovers: list[Leftover]) -> int:
    """Remove what may be removed; return the bytes that it took."""
    freed = 0
    for leftover in leftovers:
        if leftover.kept is None:
            remove(leftover.path)
            freed += leftover.size
            log.info("removed %s", leftover.path)
    return freed


def _in_folder(folder: Path) -> Iterator[Leftover]:
    for place, names, files in os.walk(folder):
        for name in sorted([*names, *files]):
            path = Path(place, name)
            if name == LOCK_FILE:
                yield from _lock(path)
                continue
            found = _kind(name)
            if found is None:
                continue
            if name in names:
                # What lies in it goes, or stays, with it.
                names.remove(name)
            what, resumable = found
            kept = "its command carries on from it" if resumable else _reason_to_wait(path)
            yield Leftover(path, what, _size(path), kept)


def _kind(name: str) -> tuple[str, bool] | None:
    for patterns, resumable in ((_KINDS, False), (_UNFINISHED, True)):
        for pattern, what in patterns:
            if pattern.fullmatch(name):
                return what, resumable
    return None


def _lock(path: Path) -> Iterator[Leftover]:
    holder: Holder | None = holder_of(path.parent)
    if holder is not None and holder.is_near and holder.is_alive:
        raise RunAliveError(f"{path.parent} is in use by {holder}; wait until it has ended")
    kept = None
    if holder is not None and not holder.is_near:
        kept = f"held by {holder}, which cannot be seen from here; remove the file when you know that it is gone"
    yield Leftover(path, "lock of a process that is gone", _size(path), kept)


def _reason_to_wait(path: Path) -> str | None:
    try:
        changed = max(entry.lstat().st_mtime for entry in [path, *(path.rglob("*") if path.is_dir() else [])])
    except FileNotFoundError:
        return "it is being changed just now"
    return "it changed in the last quarter of an hour" if time.time() - changed < _QUIET_SECONDS else None


def _in_shared_memory(folder: Path) -> Iterator[Leftover]:
    """Blocks of this user's that no process which can be seen has mapped."""
    if not folder.is_dir():
        return
    blocks = [path for path in folder.iterdir() if _BLOCK.fullmatch(path.name) and path.lstat().st_uid == os.getuid()]
    mapped = _mapped_files() if blocks else set()
    for path in blocks:
        if str(path) not in mapped:
            kept = _reason_to_wait(path)
            yield Leftover(path, "shared memory that no process here uses", _size(path), kept)


def _mapped_files() -> set[str]:
    mapped: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            lines = maps.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue  # It has ended, or is another user's, whose blocks are not looked at.
        mapped.update(line.split(maxsplit=5)[5].strip() for line in lines if line.count(" ") >= 5 and "/" in line)
    return mapped


def _size(path: Path) -> int:
    try:
        entries = [path, *path.rglob("*")] if path.is_dir() and not path.is_symlink() else [path]
        return sum(entry.lstat().st_size for entry in entries if not entry.is_dir())
    except FileNotFoundError:
        return 0
