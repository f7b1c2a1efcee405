"""HDF5 files and zarr stores: opened, told apart and stamped in one place."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import h5py

# HDF5's own cache is smaller than a chunk of many files, which then unpack it anew for every slice.
_CACHE_BYTES = 1 << 26


def open_store(path: str | os.PathLike[str], mode: Literal["r", "r+"] = "r") -> Any:
    """Open an HDF5 file or a zarr store as a group.

    Args:
        path: File, or folder (zarr; also zipped).
        mode: ``r`` or ``r+``.

    Raises:
        ValueError: When it is missing or something else.
        ImportError: When it is zarr and zarr is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise ValueError(f"{path}: no such file; expected h5ad, zarr or 10x h5")
    if is_zarr(path):
        return open_zarr(path, mode)
    try:
        return h5py.File(path, mode, rdcc_nbytes=_CACHE_BYTES)
    except OSError as error:
        raise _unreadable(path, error) from error


def open_zarr(path: str | os.PathLike[str], mode: Literal["r", "r+"] = "r") -> Any:
    """Open a zarr store without its consolidated metadata, which go stale as soon as something is added."""
    try:
        import zarr
    except ImportError as error:
        raise ImportError("zarr is not installed; pip install zarr, or convert the file to h5ad") from error
    fresh: dict[str, Any] = {} if zarr.__version__.startswith("2.") else {"use_consolidated": False}
    try:
        return zarr.open_group(str(path), mode=mode, **fresh)
    # zarr's own error class differs from version to version.
    except Exception as error:
        raise _unreadable(path, error) from error


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a zarr store: a folder, a zip file, or the name of one that is yet to be written."""
    path = Path(path)
    return path.is_dir() or path.suffix in (".zarr", ".zip")


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """:func:`open_store` for reading, closed at the end."""
    root = open_store(path)
    try:
        yield root
    finally:
        close_store(root)


def close_store(root: Any) -> None:
    """Close a group that :func:`open_store` gave."""
    # A zarr folder holds no file open; a zip file does.
    close = root.close if isinstance(root, h5py.File) else getattr(root.store, "close", lambda: None)
    close()


def stamp(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Bytes and time of the last change (ns) of a file, or of all files of a folder."""
    path = Path(path)
    files = [path] if path.is_file() else [entry for entry in path.rglob("*") if entry.is_file()]
    states = [entry.stat() for entry in files]
    return sum(state.st_size for state in states), max((state.st_mtime_ns for state in states), default=0)


def identity(path: str | os.PathLike[str]) -> str:
    """16 hex digits of the names, sizes and times of change (ns) of a file, or of each file of a folder."""
    path = Path(path)
    files = sorted(entry for entry in path.rglob("*") if entry.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for entry in files:
        state = entry.stat()
        digest.update(f"{entry.relative_to(path)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _unreadable(path: str | os.PathLike[str], error: Exception) -> ValueError:
    return ValueError(
        f"{path}: cannot be read as h5ad, zarr or 10x h5 ({error}); it is of another format, truncated or damaged. "
        "Copy or download it again"
    )
