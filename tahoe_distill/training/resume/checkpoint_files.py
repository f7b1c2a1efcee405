"""Checkpoints of Composer on a local disk: which a folder holds, and whether each is whole.

Nothing here runs what a checkpoint's pickles name: every class in them is replaced by one that does nothing.
"""

import io
import pickle
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

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
    def sharded(self):
        """Whether it is a folder with a share of each process."""
        return self.path.is_dir()

    @property
    def age(self):
        """A key by which later checkpoints sort after earlier ones."""
        return self.batch, self.epoch

    def damage(self):
        """Why it cannot be read, in a few words, or ``None`` when it is whole."""
        try:
            return _folder_damage(self.path) if self.sharded else _file_damage(self.path)
        except FileNotFoundError:
            return "it is gone"  # Another node that shares the disk was faster.

    def run_name(self):
        """Name of the run that wrote it, or ``None`` where that cannot be told. Only for one that is whole."""
        try:
            return _name_in_folder(self.path) if self.sharded else _name_in_file(self.path)
        except (OSError, KeyError, TypeError, AttributeError, StopIteration):
            return None


def find_checkpoint(path):
    """The checkpoint that ``path`` is by its name, or ``None``."""
    path = Path(path)
    name = _NAME.fullmatch(path.name)
    # A folder must not carry the name of a file, nor the other way round.
    if name is None or path.is_symlink() or not path.exists() or path.is_dir() == bool(name[3]):
        return None
    return SavedCheckpoint(path, int(name[1]), int(name[2]))


def find_checkpoints(folder):
    """All checkpoints of a folder, the earliest first."""
    found = (find_checkpoint(path) for path in Path(folder).iterdir())
    return sorted((saved for saved in found if saved is not None), key=lambda saved: saved.age)


def _file_damage(path):
    # torch writes a zip archive, whose table of contents comes last.
    if not zipfile.is_zipfile(path):
        return f"it breaks off after {path.stat().st_size} bytes"
    try:
        with open(path, "rb") as file:
            _load_torch(file)
    # A damaged archive or pickle may end in any error.
    except Exception as error:
        return f"it cannot be read ({type(error).__name__}: {error})"
    return None


def _folder_damage(folder):
    path = folder / METADATA_FILE
    if not path.is_file():
        return f"it has no {METADATA_FILE}, which is written last"
    try:
        places = [place.state for place in _load(path.read_bytes()).state["storage_data"].values()]
        ends = [(folder / place["relative_path"], place["offset"] + place["length"]) for place in places]
    # A damaged pickle may end in any error.
    except Exception as error:
        return f"its {METADATA_FILE} cannot be read ({type(error).__name__})"
    for share, end in ends:
        size = share.stat().st_size if share.is_file() else 0
        if size < end:
            return f"{share.name} has {size} bytes where {METADATA_FILE} counts on {end} or more"
    return None


def _name_in_file(path):
    with open(path, "rb") as file:
        return _load_torch(file)["state"]["run_name"]


def _name_in_folder(folder):
    entries = _load((folder / METADATA_FILE).read_bytes()).state["storage_data"]
    place = next(place.state for key, place in entries.items() if key.state["fqn"] == "state.run_name")
    with open(folder / place["relative_path"], "rb") as file:
        file.seek(place["offset"])
        return _load_torch(io.BytesIO(file.read(place["length"])))


def _load_torch(file):
    """What ``torch.save`` wrote, without tensors and other objects."""
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if not names:
            raise ValueError("no archive of torch's")
        return _load(archive.read(names[0]))


def _load(data):
    return _InertUnpickler(io.BytesIO(data)).load()


class _Inert:
    """Stands for any class of a pickle: takes what the pickle gives it and keeps the state."""

    def __new__(cls, *arguments, **options):
        return object.__new__(cls)

    def __init__(self, *arguments, **options):
        self.state = None

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        """Entries of a mapping."""

    def append(self, value):
        """An entry of a list."""

    def extend(self, values):
        """Entries of a list."""


class _InertUnpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return _Inert

    def persistent_load(self, identity):
        """In place of a tensor's storage."""
        return None
