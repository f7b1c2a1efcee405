"""The windows that are done, one file each beside the output: the truth, whoever wrote them and whoever was killed."""

import contextlib
import io
import json
import os
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tahoe_distill.atlas.job import Source, Window
from tahoe_distill.embedding.partial import STATE, read_state, refuse_other_run
from tahoe_distill.files import remove, replace_bytes, sync_names
from tahoe_distill.locks import FolderInUseError, held, holder_of

WINDOWS, FAILED, SHARDS = "windows", "failed", "shards"


class Ledger:
    """Finished windows, unreadable sources and the plan of one output.

    Any number of processes on any number of machines may write to it: a window is one file, written under a name of its
    own and renamed, and whoever writes it twice writes the same.

    Args:
        folder: The folder of the unfinished result.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def known(self, run: dict[str, Any], *, overwrite: bool = False) -> list[Source]:
        """The sources that an earlier process of the same run found; empty for a run that begins.

        Raises:
            ValueError: When the folder holds another run, or what cannot be read.
        """
        path = self.folder / STATE
        try:
            if not path.exists():
                return []
            state = read_state(path)
            refuse_other_run(self.folder, state.get("run"), run)
            return [Source(**source) for source in state["sources"]]
        except (ValueError, KeyError, TypeError) as error:
            if overwrite:
                self.forget()
                return []
            raise error if isinstance(error, ValueError) else ValueError(f"{path} is damaged; remove it") from error

    def begin(self, run: dict[str, Any], sources: Sequence[Source], *, overwrite: bool = False) -> None:
        """Keep the plan.

        Args:
            run: What identifies the run.
            sources: Its sources.
            overwrite: Drop what is done of sources that changed.

        Raises:
            ValueError: When a source changed of which windows are done.
        """
        before = {source.path: source.identity for source in self.known(run)}
        for number in sorted({window.source for window in self.done()}):
            source = sources[number]
            if source.error is not None or before.get(source.path) == source.identity:
                continue
            if not overwrite:
                raise ValueError(
                    f"{source.path} changed after windows of it were done; bring it back as it was, or pass "
                    "--overwrite (overwrite=True) to do them anew"
                )
            remove(self.folder / WINDOWS / f"{number:06d}")
        content = {"run": run, "sources": [asdict(source) for source in sources]}
        _publish(self.folder / STATE, json.dumps(content).encode())

    def forget(self) -> None:
        """Remove all that is done."""
        for name in (STATE, WINDOWS, FAILED):
            remove(self.folder / name)

    def path(self, window: Window) -> Path:
        """The file of a window."""
        return self.folder / WINDOWS / f"{window.source:06d}" / f"{window.start}-{window.stop}.npz"

    def done(self) -> set[Window]:
        """The windows that are on the disk."""
        found = set()
        for path in (self.folder / WINDOWS).glob("*/*.npz"):
            start, _, stop = path.stem.partition("-")
            if not path.name.startswith("."):
                found.add(Window(int(path.parent.name), int(start), int(stop)))
        return found

    def keep(self, window: Window, vectors: np.ndarray, genes: np.ndarray) -> None:
        """Write a window: (C, E) float32 vectors, and the (C,) numbers of genes that they were made of."""
        content = io.BytesIO()
        np.savez(content, vectors=np.asarray(vectors, dtype=np.float32), genes=np.asarray(genes, dtype=np.int32))
        _publish(self.path(window), content.getvalue())

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """What :meth:`keep` kept.

        Raises:
            ValueError: When it is damaged.
        """
        path = self.path(window)
        try:
            with np.load(path) as stored:
                vectors, genes = stored["vectors"], stored["genes"]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} cannot be read ({error}); remove it, and give the same command again") from error
        if len(vectors) != window.stop - window.start or len(genes) != len(vectors):
            raise ValueError(f"{path} holds {len(vectors)} cells of {window.stop - window.start}; remove it")
        return vectors, genes

    def fail(self, source: int, message: str, by: str = "") -> None:
        """Note that a source cannot be read."""
        content = json.dumps({"message": message, "by": by}).encode()
        _publish(self.folder / FAILED / f"{source:06d}.json", content)

    def failed(self) -> dict[int, str]:
        """Why sources cannot be read, by number."""
        return {int(path.stem): read_state(path)["message"] for path in sorted((self.folder / FAILED).glob("*.json"))}

    def retry(self, by: str | None = None) -> None:
        """Give sources that could not be read another chance: all, or those that one shard found."""
        for path in (self.folder / FAILED).glob("*.json"):
            if by is None or read_state(path)["by"] == by:
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def shard_held(folder: Path, shard: tuple[int, int]) -> Iterator[None]:
    """Hold one share of an output, which others may work at too, but nobody as a whole.

    Raises:
        FolderInUseError: When the share, or all of the output, is held by another process.
    """
    name = f"{shard[0]}-of-{shard[1]}"
    # First taken, then looked at: of two that start at once at least one sees the other.
    with held(folder / SHARDS / name, f"embed shard {shard[0]}/{shard[1]}"):
        _refuse_holder(folder)
        yield


def refuse_shards(folder: Path) -> None:
    """Refuse to work at all of an output while shares of it are held.

    Raises:
        FolderInUseError: When one is.
    """
    for path in (folder / SHARDS).glob("*"):
        _refuse_holder(path)


def _refuse_holder(folder: Path) -> None:
    holder = holder_of(folder)
    if holder is not None and (holder.is_alive if holder.is_near else True):
        raise FolderInUseError(
            f"{folder} is held by {holder}: wait until it has ended, or, when you know that it is gone, remove its "
            "lock there"
        )


def _publish(path: Path, content: bytes) -> None:
    """Give a file its name once it is whole; several processes may write the same one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{uuid.uuid4().hex}")
    try:
        replace_bytes(draft, content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_names(path.parent)
