"""Checkpoints of a run whose ``save_folder`` is in an object store: written here, sent there, taken back from there.

Composer's own way tells the newest checkpoint only later, from within training: a run that has to leave its machine
would leave without it. Here a checkpoint is in the store, and named as the newest, before training goes on.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from composer.utils import dist

from tahoe_distill.files import remove
from tahoe_distill.training.resume.checkpoint_files import METADATA_FILE, age_of, find_checkpoint, find_checkpoints
from tahoe_distill.training.resume.preflight import PARTIAL, SaveSettings
from tahoe_distill.training.store import StoreFolder

log = logging.getLogger(__name__)

# Holds the newest one's name in the bucket, as Composer's does, which can load from there too.
_POINTER = "{latest}.symlink"
_WRITABLE = ".writable"


class SentCheckpoints:
    """Sends each checkpoint of a run to a store.

    Args:
        uri: The folder there.
        latest: Name of the link to the newest checkpoint.
    """

    def __init__(self, uri: str, latest: str):
        self.store, self.latest = StoreFolder(uri), latest

    def send(self, path: Path) -> None:
        """Send this process's share of a checkpoint, and name it as the newest once all shares are there.

        A store that fails is told and does not end the run: the next checkpoint is whole by itself.

        Args:
            path: A file that holds a whole checkpoint, or this process's file in a folder of shards.
        """
        sharded = age_of(path.name) is None
        sent = self._try(lambda: self._send_share(path, sharded))
        if sharded:
            sent = all(dist.all_gather_object(sent))
        if sent and dist.get_global_rank() == 0:
            name = path.parent.name if sharded else path.name
            pointer = _POINTER.format(latest=self.latest)
            self._try(lambda: self.store.put_text(self.store.key(name), pointer))

    def _send_share(self, path: Path, sharded: bool) -> None:
        if not sharded:
            self.store.put(path, path.name)
            return
        paths = [path, *([path.with_name(METADATA_FILE)] if dist.get_global_rank() == 0 else [])]
        for one in paths:
            # A process may have no share of its own.
            if one.exists():
                self.store.put(one, f"{path.parent.name}/{one.name}")

    def _try(self, work: Callable[[], object]) -> bool:
        try:
            work()
        except OSError as error:
            log.warning("this checkpoint is on this disk alone: %s", error)
            return False
        return True


def take_newest(uri: str, settings: SaveSettings) -> None:
    """Fetch a run's newest checkpoint, unless one that is as new lies on this disk, and link to it.

    Args:
        uri: The folder of the store.
        settings: The run's settings of checkpoints; the folder is where they lie on this disk.

    Raises:
        OSError: When nothing can be written there: told now, and not after the first thousand batches.
    """
    store, folder = StoreFolder(uri), settings.folder
    store.put_text("", _WRITABLE)
    pointer = store.text(_POINTER.format(latest=settings.latest)) if settings.resumes else None
    name = Path(pointer.strip()).name if pointer else ""
    age = age_of(name)
    if folder is None or age is None:
        return
    whole = [saved for saved in find_checkpoints(folder) if not saved.damage()] if folder.is_dir() else []
    if any(saved.age > age for saved in whole):
        return
    if not any(saved.path.name == name for saved in whole):
        _fetch(store, name, folder)
    link = folder / settings.latest
    link.unlink(missing_ok=True)
    link.symlink_to(name)


def _fetch(store: StoreFolder, name: str, folder: Path) -> None:
    """One checkpoint, a file or a folder of shares; it gets its name when it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{name}{PARTIAL}"
    remove(aside)
    remove(folder / name)
    shares = store.names(name)
    for share in shares:
        store.get(share, aside / Path(share).name)
    if not shares:
        store.get(name, aside)
    aside.rename(folder / name)
    found = find_checkpoint(folder / name)
    log.warning("fetched %s from %s", found.path.name if found else name, store.uri)
