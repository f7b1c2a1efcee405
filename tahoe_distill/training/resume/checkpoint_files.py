"""Checkpoints of Composer on a local disk: which a folder holds, whether each is whole, and what stands in it.

Nothing here runs what a checkpoint's pickles name.
"""

import io
import json
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tahoe_distill.files import sync, sync_names

METADATA_FILE = ".metadata"
# Composer's names for a file of rank 0 and for a folder of shards, in the order epoch, batch.
_NAME = re.compile(r"ep(\d+)-ba(\d+)(-rank0\.pt)?")


@dataclass(frozen=True)
class SavedCheckpoint:
    """One checkpoint.

    Args:
        path: A file, or a folder where it is sharded.
        epoch: Epochs finished when it was written.
        batch: Batches finished.
    """

    path: Path
    epoch: int
    batch: int

    @property
    def sharded(self) -> bool:
        """Whether it is a folder with a share of each process."""
        return self.path.is_dir()

    @property
    def age(self) -> tuple[int, int]:
        """A key by which later checkpoints sort after earlier ones."""
        return self.batch, self.epoch

    def damage(self) -> str | None:
        """Why it cannot be read, in a few words, or ``None`` when it is whole."""
        try:
            return _folder_damage(self.path) if self.sharded else _file_damage(self.path)
        except FileNotFoundError:
            return "it is gone"  # Another node that shares the disk was faster.

    def run_name(self) -> str | None:
        """Name of the run that wrote it, or ``None`` where that cannot be told. Only for one that is whole."""
        try:
            return self.read("state", "run_name")
        # A value of another kind on the way, or one that its run's own callbacks made unreadable without running code.
        except (OSError, KeyError, TypeError, ValueError, AttributeError, pickle.UnpicklingError):
            return None

    def configuration(self) -> dict[str, Any] | None:
        """The configuration of the run that wrote it, or ``None`` where it has none. Only for one that is whole."""
        try:
            return json.loads(self.read("state", "callbacks", "DistillationCallback", "config"))
        # Written before configurations were kept, or without the callback.
        except (OSError, KeyError, TypeError, ValueError, AttributeError, pickle.UnpicklingError):
            return None

    def read(self, *keys: str) -> Any:
        """A value of its content that is no tensor, read without running any code.

        Args:
            keys: Where it stands, such as ``"state", "run_name"``.

        Raises:
            KeyError: When there is no such value.
            ValueError: When the file cannot be read without running code.
        """
        # Imported here: torch takes seconds, and whoever only looks for checkpoints does not need it.
        import torch

        from tahoe_distill.teacher.composer_checkpoint import read_composer_checkpoint

        if self.sharded:
            place = dict(_places(self.path))[".".join(keys)]
            with open(self.path / place.relative_path, "rb") as file:
                file.seek(place.offset)
                content = io.BytesIO(file.read(place.length))
            try:
                return torch.load(content, weights_only=True)
            except pickle.UnpicklingError as error:
                raise ValueError(f"{self.path}: reading {'.'.join(keys)} would run code ({error})") from error
        value = read_composer_checkpoint(self.path)
        for key in keys:
            value = value[key]
        return value


class SyncedPaths(list[str]):
    """Paths of a run's checkpoints, as Composer's saver keeps them; a path comes in once its file is on the disk.

    Composer appends a checkpoint that it has written and linked, and then removes older ones. Without this, a machine
    that goes down just then has neither.

    Args:
        paths: Paths so far.
        sharded: Called without arguments: whether a checkpoint is a folder with a share of each process.
        wait: Called without arguments in each process that has a share: waits for the others.
        kept: Called without arguments: whether a checkpoint is to stay for good. It is not noted then, so that it is
            never among the older ones.
        send: Called with a path once it is on the disk, in each process that has a share; ``None`` where the run keeps
            its checkpoints on this disk alone.
    """

    def __init__(
        self,
        paths: Iterable[str],
        *,
        sharded: Callable[[], bool],
        wait: Callable[[], object],
        kept: Callable[[], bool] = lambda: False,
        send: Callable[[Path], object] | None = None,
    ):
        super().__init__(paths)
        self.sharded, self.wait, self.kept, self.send = sharded, wait, kept, send

    def append(self, path: str) -> None:
        """Have a checkpoint and the link to it on the disk, and note it."""
        folder = Path(path).parent
        sync(folder if self.sharded() else path)
        sync_names(folder.parent if self.sharded() else folder)
        if self.send is not None:
            self.send(Path(path))
        if self.sharded():
            # The first process removes the older ones, of all.
            self.wait()
        if not self.kept():
            super().append(path)


def age_of(name: str) -> tuple[int, int] | None:
    """Batches and epochs finished that a checkpoint's name tells, ``None`` for another file's name."""
    found = _NAME.fullmatch(name)
    return None if found is None else (int(found[2]), int(found[1]))


def find_checkpoint(path: str | os.PathLike[str]) -> SavedCheckpoint | None:
    """The checkpoint that ``path`` is by its name, or ``None``."""
    path = Path(path)
    name = _NAME.fullmatch(path.name)
    # A folder must not carry the name of a file, nor the other way round.
    if name is None or path.is_symlink() or not path.exists() or path.is_dir() == bool(name[3]):
        return None
    return SavedCheckpoint(path, int(name[1]), int(name[2]))


def find_checkpoints(folder: str | os.PathLike[str]) -> list[SavedCheckpoint]:
    """All checkpoints of a folder, the earliest first."""
    found = (find_checkpoint(path) for path in Path(folder).iterdir())
    return sorted((saved for saved in found if saved is not None), key=lambda saved: saved.age)


def _file_damage(path: Path) -> str | None:
    # torch writes a zip archive, whose table of contents comes last: a file that was cut anywhere has none.
    return None if zipfile.is_zipfile(path) else f"it breaks off after {path.stat().st_size} bytes"


def _folder_damage(folder: Path) -> str | None:
    if not (folder / METADATA_FILE).is_file():
        return f"it has no {METADATA_FILE}, which is written last"
    # A run that goes back and writes over a checkpoint cuts its shares and leaves its metadata till the end. A share is
    # written entry by entry, each an archive, so a kill leaves one that ends as whole ones do: only the sizes tell.
    try:
        places = [place for _, place in _places(folder)]
    # A damaged pickle may end in any error.
    except Exception as error:
        return f"its {METADATA_FILE} cannot be read ({type(error).__name__})"
    for place in places:
        share, end = folder / place.relative_path, place.offset + place.length
        size = share.stat().st_size if share.is_file() else 0
        if size < end:
            return f"{share.name} has {size} bytes where {METADATA_FILE} counts on {end} or more"
    return None


def _places(folder: Path) -> list[tuple[str, Any]]:
    """The name of each entry of a sharded checkpoint, and where it lies: ``relative_path``, ``offset``, ``length``.

    A tensor has an entry for each of its parts.
    """
    with open(folder / METADATA_FILE, "rb") as file:
        entries = _MetadataUnpickler(file).load().storage_data
    return [(key.fqn, place) for key, place in entries.items()]


class _Record:
    """In place of every class in a sharded checkpoint's metadata: keeps the fields and runs nothing."""

    def __new__(cls, *arguments: object) -> "_Record":
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            vars(self).update(state)


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        return _Record
