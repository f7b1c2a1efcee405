"""Folders of an object store: what a run keeps there, so that a machine which is taken away takes nothing along."""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tahoe_distill.files import finished_folder

# What a folder is known by; written last, so that one which was cut short has none.
MARKS = ("config.json", "cache.json")


def is_remote(place: object) -> bool:
    """Whether a place is one of an object store (``s3://…``, ``gs://…``, ``oci://…``, ``azure://…``)."""
    return "://" in str(place)


def local_folder(place: str | os.PathLike[str]) -> Path:
    """Where a place lies on this disk: a remote one under its path in the bucket, as Composer has it too."""
    if not is_remote(place):
        return Path(place)
    address = urlsplit(str(place))
    return Path(address.path.strip("/") or address.netloc)


class StoreFolder:
    """One folder of an object store.

    Args:
        uri: Its address, such as ``s3://bucket/runs/70m``. Credentials and ``S3_ENDPOINT_URL`` come from the
            environment.

    Raises:
        ValueError: When there is no such kind of store.
    """

    def __init__(self, uri: str):
        # Imported here: Composer takes seconds, and most runs keep everything on their own disk.
        from composer.utils import maybe_create_object_store_from_uri

        self.uri = uri.rstrip("/")
        self._prefix = urlsplit(self.uri).path.strip("/")
        try:
            self._store: Any = maybe_create_object_store_from_uri(self.uri)
        except NotImplementedError as error:
            raise ValueError(f"{uri}: found a store of an unknown kind, expected s3://, gs://, oci:// …") from error

    def key(self, name: str) -> str:
        """The whole name of a file in its bucket."""
        return f"{self._prefix}/{name}" if self._prefix else name

    def names(self, below: str = "") -> list[str]:
        """Files below this folder, or below one in it, by their path from here; none where there is no such folder."""
        prefix = self.key(f"{below.strip('/')}/" if below else "")
        start = len(self.key(""))
        return sorted(key[start:] for key in self._store.list_objects(prefix) if not key.endswith("/"))

    def put(self, path: str | os.PathLike[str], name: str) -> None:
        """Store a file.

        Raises:
            OSError: When the store does not take it.
        """
        try:
            self._store.upload_object(self.key(name), str(path))
        # Each kind of store has errors of its own.
        except Exception as error:
            raise OSError(f"{self.uri}/{name} cannot be written ({error}); is it yours to write to?") from error

    def put_text(self, text: str, name: str) -> None:
        """Store a small text."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "text")
            path.write_text(text, encoding="utf-8")
            self.put(path, name)

    def get(self, name: str, path: str | os.PathLike[str]) -> None:
        """Fetch a file; it appears whole or not at all.

        Raises:
            FileNotFoundError: When there is none.
        """
        self._store.download_object(self.key(name), str(path), overwrite=True)

    def text(self, name: str) -> str | None:
        """The content of a small file, ``None`` where there is none."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "text")
            try:
                self.get(name, path)
            except FileNotFoundError:
                return None
            return path.read_text(encoding="utf-8")


def send_folder(folder: str | os.PathLike[str], uri: str) -> int:
    """Store a finished folder, an export or a teacher cache, what it is known by last; return the number of files.

    What an earlier one of that name has and this one has not stays: stores offer no removal here.

    Raises:
        ValueError: When the folder is none of these.
    """
    folder, store = Path(folder), StoreFolder(uri)
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    _require_mark(names, str(folder))
    for name in sorted(names, key=lambda name: name in MARKS):
        store.put(folder / name, name)
    return len(names)


def take_folder(uri: str, folder: str | os.PathLike[str], *, overwrite: bool = False) -> int:
    """Fetch what :func:`send_folder` stored, whole or not at all; return the number of files.

    Raises:
        ValueError: When no such folder is there, or it was cut short.
        FileExistsError: When ``folder`` exists and ``overwrite`` is off.
    """
    store = StoreFolder(uri)
    names = store.names()
    _require_mark(names, uri)
    with finished_folder(folder, overwrite) as temporary:
        for name in names:
            store.get(name, temporary / name)
    return len(names)


def _require_mark(names: Iterable[str], place: str) -> None:
    names = list(names)
    if not any(mark in names for mark in MARKS):
        raise ValueError(
            f"{place}: found {len(names)} files, expected an exported student (with config.json) or a teacher cache "
            "(with cache.json)"
        )
