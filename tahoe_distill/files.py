"""Files and folders that appear whole or not at all, and are on the disk once they have their name."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a file so that a reader, even after a crash, finds the old or the new text and nothing between."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.new")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


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
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file or a folder with all it holds; nothing happens where there is none."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
