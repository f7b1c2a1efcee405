"""Files and folders that appear whole or not at all, and are on the disk once they have their name."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file so that a reader, even after a crash, finds the old or the new text and nothing between."""
    replace_bytes(path, text.encode("utf-8"))


def replace_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Like :func:`replace_text`, for what is no text."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.new")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_names(path.parent)


@contextlib.contextmanager
def finished_folder(folder: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """A temporary sibling of ``folder`` to write into, renamed to it when the block ends well and removed otherwise.

    Args:
        folder: The folder to appear.
        overwrite: Replace a folder of that name, at the very end: a failure leaves the old one.

    Yields:
        The temporary folder.

    Raises:
        FileExistsError: When ``folder`` exists already and ``overwrite`` is off.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder} exists already; remove it or choose another output folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.writing-", dir=folder.parent))
    try:
        yield temporary
        share(temporary)
        sync(temporary)
        put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_in_place(whole: Path, folder: Path) -> None:
    """Give a folder that is whole and on the disk its name; one that has the name goes only then."""
    old = folder.with_name(f".{folder.name}.old")
    remove(old)
    if folder.exists():
        os.rename(folder, old)
    os.rename(whole, folder)
    sync_names(folder.parent)
    remove(old)


def why_not_writable(folder: str | os.PathLike[str]) -> str | None:
    """Why nothing can be written into a folder, which need not exist yet; ``None`` where it can."""
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    if not place.is_dir():
        return f"{place} is no folder"
    try:
        # What permissions say is not all: a disk may be mounted to be read alone.
        with tempfile.TemporaryFile(dir=place):
            return None
    except OSError as error:
        return f"{place} cannot be written to ({error.strerror or error})"


def share(folder: str | os.PathLike[str]) -> None:
    """Give a folder and all below it the permissions that the umask asks for.

    Temporary folders, and the files of some libraries, can be read by their owner alone.
    """
    mask = _umask()
    for place, _, files in os.walk(folder):
        os.chmod(place, 0o777 & ~mask)
        for name in files:
            path = os.path.join(place, name)
            if not os.path.islink(path):
                os.chmod(path, 0o666 & ~mask)


def sync(path: str | os.PathLike[str]) -> None:
    """Have a file, or a folder with all it holds, on the disk before anything is said of it."""
    path = Path(path)
    if not path.is_dir():
        _sync_one(path)
        return
    for place, _, files in os.walk(path):
        for name in files:
            _sync_one(Path(place, name))
        sync_names(place)


def sync_names(folder: str | os.PathLike[str]) -> None:
    """Have the names in a folder on the disk, as a rename is not before that; nothing where the disk cannot do it."""
    # Some network file systems refuse to sync a folder; a rename is as good there as it can be.
    with contextlib.suppress(OSError):
        _sync_one(Path(folder))


def _sync_one(path: Path) -> None:
    if path.is_symlink():
        return
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def _umask() -> int:
    """This process's umask; asking for it by setting it would show in other threads."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file or a folder with all it holds; nothing happens where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
