"""The unfinished result of a run over a file: held by one process, and whole after a kill."""

import contextlib
import errno
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tahoe_distill.embedding.engine import Totals
from tahoe_distill.files import remove, replace_text, sync
from tahoe_distill.locks import LOCK_FILE, held

STATE = "state.json"
VECTORS = "vectors.f32"
COUNTS = ("cells_empty", "cells_at_context")

# Bytes written at a time where a file system cannot set space aside.
_STEP = 1 << 24


def folder_of(out: str | os.PathLike[str]) -> Path:
    """Folder that holds the unfinished result of ``out``."""
    return _beside(out, "partial")


def growing_of(out: str | os.PathLike[str]) -> Path:
    """What ``out`` is called while it is being written."""
    return _beside(out, "writing")


def former_of(out: str | os.PathLike[str]) -> Path:
    """What the store that ``out`` replaces is called for the moment between two renames."""
    return _beside(out, "old")


def _beside(out: str | os.PathLike[str], suffix: str) -> Path:
    out = Path(out)
    return out.with_name(f".{out.name}.{suffix}")


@contextlib.contextmanager
def unfinished(out: str | os.PathLike[str], what: str) -> Iterator[Path]:
    """Hold the folder of an output's unfinished result, and clear away what a killed run left beside it.

    When the block fails before a window was finished nothing stays; when it is interrupted, whatever can be used again.

    Args:
        out: The output, whose folder must be there.
        what: What this process does, for the message that another one gets.

    Yields:
        The folder.

    Raises:
        FolderInUseError: When another process writes this output.
        ValueError: When the folder is a link, or holds one.
    """
    folder = folder_of(out)
    _refuse_links(folder)
    with _no_empty_folder(folder), held(folder, what):
        _clear(out)
        try:
            yield folder
        except BaseException as error:
            if folder.exists() and not _is_worth_keeping(folder, interrupted=not isinstance(error, Exception)):
                drop(folder)
            raise


@contextlib.contextmanager
def _no_empty_folder(folder: Path) -> Iterator[None]:
    """Remove the folder at the end where it holds nothing: a full disk may have no room for the lock itself."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _is_worth_keeping(folder: Path, interrupted: bool) -> bool:
    """Whether windows are done; whoever interrupts means to carry on, with rows that were turned around too."""
    found = set(os.listdir(folder))
    return bool(found - {LOCK_FILE, VECTORS}) if interrupted else STATE in found


def drop(folder: Path) -> None:
    """Remove the folder; it goes under another name first, so that nobody takes it while it is half gone."""
    gone = folder.with_name(f"{folder.name}.gone")
    remove(gone)
    os.replace(folder, gone)
    remove(gone)


def _refuse_links(folder: Path) -> None:
    inside = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
    links = [path for path in (folder, *inside) if path.is_symlink()]
    if links:
        raise ValueError(
            f"{links[0]} is a link to {os.readlink(links[0])}, and what is written there would go elsewhere; remove it"
        )


def _clear(out: str | os.PathLike[str]) -> None:
    """Remove what killed runs left, and put a store back that was about to be replaced."""
    folder, former = folder_of(out), former_of(out)
    if former.exists() and not Path(out).exists():
        os.replace(former, out)
    for path in (growing_of(out), former, folder.with_name(f"{folder.name}.gone"), *folder.glob(".rows-*.writing-*")):
        remove(path)


class PartialResult:
    """The windows done so far, in a folder that :func:`unfinished` gave.

    Vectors go into a raw file at their final place, and the state file is replaced, whole, after them; so whenever the
    process dies, the state speaks of windows that are on the disk.

    Args:
        folder: The folder.
        run: What identifies the run; the result of another run is refused.
        shape: (n_obs, e) of the vectors.
        windows: Number of windows of the whole run.
        overwrite: Drop the result of another run, or one that cannot be read.

    Raises:
        ValueError: When the folder holds the result of another run, or one that cannot be read.
        OSError: When it cannot be written, or there is too little space.
    """

    def __init__(
        self,
        folder: Path,
        run: dict[str, object],
        *,
        shape: tuple[int, int],
        windows: int,
        overwrite: bool = False,
    ):
        self.folder, self.shape = folder, shape
        self._path = folder / VECTORS
        self.state: dict[str, Any] = {"run": run, "windows": 0, **dict.fromkeys(COUNTS, 0)}
        try:
            found = self._read(run, windows)
        except ValueError:
            if not overwrite:
                raise
            found = None
        whole = self._path.exists() and self._path.stat().st_size == 4 * shape[0] * shape[1]
        if found is not None and whole:
            self.state = found
        else:
            self._forget()
        allocate(self._path, 4 * shape[0] * shape[1])

    def _read(self, run: dict[str, object], windows: int) -> dict[str, Any] | None:
        path = self.folder / STATE
        if not path.exists():
            return None
        state = read_state(path)
        numbers = [state.get(name) for name in ("windows", *COUNTS)]
        if not isinstance(state.get("run"), dict) or not all(type(number) is int for number in numbers):
            raise ValueError(_unreadable(path, f"expected a run and its counts, found {', '.join(state) or 'nothing'}"))
        refuse_other_run(self.folder, state["run"], run)
        if not 0 < state["windows"] <= windows:
            raise ValueError(_unreadable(path, f"found {state['windows']} of {windows} windows"))
        return state

    def _forget(self) -> None:
        for path in (self.folder / STATE, self._path, *self.folder.glob("genes-*.npz")):
            path.unlink(missing_ok=True)

    @property
    def vectors(self) -> np.ndarray:
        """(n_obs, e) float32, on the disk."""
        return np.memmap(self._path, dtype=np.float32, mode="r", shape=self.shape)

    @property
    def windows(self) -> int:
        """Number of windows that are done."""
        return self.state["windows"]

    @property
    def counts(self) -> dict[str, int]:
        """Counts of odd cells so far, as :class:`Totals` takes them."""
        return {name: self.state[name] for name in COUNTS}

    def genes(self) -> dict[int, list]:
        """``{token: [sum, count]}`` as it was after the last window.

        Raises:
            ValueError: When it cannot be read.
        """
        if not self.windows:
            return {}
        path = self.folder / f"genes-{self.windows}.npz"
        try:
            with np.load(path) as stored:
                parts = [stored[name] for name in ("tokens", "sums", "counts")]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(_unreadable(path, str(error))) from error
        return {int(token): [vector, int(count)] for token, vector, count in zip(*parts)}

    def commit(self, window: tuple[int, int], vectors: np.ndarray, totals: Totals) -> None:
        """Keep one window's vectors and what all windows so far add up to."""
        # Written and not mapped: a disk without space is an error then, and not the end of the process.
        with open(self._path, "r+b") as file:
            file.seek(4 * self.shape[1] * window[0])
            file.write(np.ascontiguousarray(vectors, dtype=np.float32).tobytes())
            file.flush()
            os.fsync(file.fileno())
        done = self.windows + 1
        if totals.genes is not None:
            self._keep_genes(done, totals.genes)
        self.state = {**self.state, **totals.counts, "windows": done}
        replace_text(self.folder / STATE, json.dumps(self.state))
        if totals.genes is not None:
            (self.folder / f"genes-{done - 1}.npz").unlink(missing_ok=True)

    def _keep_genes(self, done: int, genes: dict[int, list]) -> None:
        path = self.folder / f"genes-{done}.npz"
        tokens = np.array(sorted(genes), dtype=np.int64)
        sums = np.array([genes[token][0] for token in tokens.tolist()])
        counts = np.array([genes[token][1] for token in tokens.tolist()], dtype=np.int64)
        np.savez(path, tokens=tokens, sums=sums, counts=counts)
        sync(path)


def refuse_other_run(folder: Path, found: object, run: dict[str, Any]) -> None:
    """Refuse to carry on what another run began.

    Args:
        folder: Where it lies.
        found: What identifies the run that began it.
        run: What identifies this one.

    Raises:
        ValueError: With what differs.
    """
    there = found if isinstance(found, dict) else {}
    wrong = sorted(name for name in {*run, *there} if run.get(name) != there.get(name))
    if wrong:
        raise ValueError(
            f"{folder} holds the unfinished result of another run (different: {', '.join(wrong)}); repeat "
            "that run's command to finish it, or pass --overwrite (overwrite=True) to drop it"
        )


def read_state(path: Path) -> dict[str, Any]:
    """What a run noted of itself.

    Raises:
        ValueError: When it cannot be read, with the way out.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(_unreadable(path, str(error))) from error
    if not isinstance(content, dict):
        raise ValueError(_unreadable(path, f"expected a JSON object, found a {type(content).__name__}"))
    return content


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"{path} of an unfinished run cannot be read ({reason}); pass --overwrite (overwrite=True) to drop that run "
        f"and begin anew, or remove {path.parent}"
    )


def allocate(path: Path, size: int) -> None:
    """Have ``size`` bytes of a file on the disk, those that are there unchanged.

    Raises:
        OSError: When there is too little space.
    """
    with telling_space(path.parent, size), open(path, "ab+") as file:
        there = file.seek(0, os.SEEK_END)
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            for start in range(there, size, _STEP):
                file.write(bytes(min(_STEP, size - start)))


@contextlib.contextmanager
def telling_space(folder: Path, needed: int) -> Iterator[None]:
    """Say of a full disk how much there is, how much is needed, and what to do.

    Args:
        folder: Where the block writes.
        needed: Bytes that it writes in all.

    Raises:
        OSError: When the disk is full, whatever the library that found out.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None)
        if number not in (errno.ENOSPC, errno.EDQUOT) and "No space left" not in str(error):
            raise
        free = shutil.disk_usage(folder).free
        raise OSError(
            f"the disk of {folder} is full: {needed / 1e9:.3f} GB are needed there, {free / 1e9:.3f} GB are free. Free "
            "some space, or name an output on another disk, and give the same command: it carries on where it was"
        ) from error
