"""Fetch a teacher from S3: a release folder, a transformers folder, or a Composer checkpoint with its settings."""

import hashlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock

from tahoe_distill.files import remove, replace_text, sync, sync_names
from tahoe_distill.models.processing_tx1 import SYMBOLS_FILE
from tahoe_distill.teacher.download import SIZE_SUFFIX, size_message
from tahoe_distill.teacher.release import DRUG_FILE, RELEASE_FILES, VOCAB_FILE

log = logging.getLogger(__name__)

SCHEME = "s3://"
_LATEST = "latest"
_PLAIN = ("config.json", "preprocessor_config.json", SYMBOLS_FILE, "model.safetensors.index.json")
_DRUGS = (DRUG_FILE, "drug_to_id_pad.json")
# What is asked for by name where a bucket gives its files, but no list of them.
_KNOWN = (*RELEASE_FILES, *_PLAIN, *_DRUGS)
_DENIED = ("403", "401", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")
_MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?")
_MISSING = ("404", "NoSuchKey", "NoSuchBucket", "NotFound")


@dataclass(frozen=True)
class _Object:
    """An object of a bucket: its key, its bytes, and the store's mark of its content."""

    key: str
    bytes: int
    etag: str


def download_from_s3(url: str, size: str | None = None, *, cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Fetch a teacher into the cache, whole or not at all; what is there already is not fetched again.

    Each version of the source has a folder of its own, named after the store's marks of its content, so that a run
    never reads a mixture of two. Requests are signed where there are credentials, and not where there are none or the
    bucket refuses them; ``S3_ENDPOINT_URL`` names another store. Where the store cannot be reached, the version that
    was fetched last counts.

    Args:
        url: ``s3://bucket/folder`` or ``s3://bucket/folder/checkpoint.pt``.
        size: Which of a release's sizes, where the folder holds several.
        cache_dir: Where downloads are kept; by default the cache of the Hugging Face hub.

    Returns:
        The local folder, or the local checkpoint with its settings beside it.

    Raises:
        FileNotFoundError: When there is nothing that a teacher could be.
        ValueError: When ``size`` is needed, or a folder has several checkpoints.
        OSError: When the store refuses, is out of reach, or gives something else than it lists.
        ImportError: Without boto3.
    """
    bucket, _, path = url.removeprefix(SCHEME).rstrip("/").partition("/")
    if not bucket or not path:
        raise ValueError(f"{url}: expected s3://bucket/folder, or s3://bucket/folder/checkpoint.pt")
    folder = _cache(cache_dir) / "--".join(["s3", bucket, *path.split("/"), *([size] if size else [])])
    try:
        store = _Store(bucket, url)
        objects = _choose(store, path, size)
    except _Unreachable as error:
        return _fetched_before(folder, error)
    folder.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256(repr(sorted(objects.items(), key=lambda item: item[0])).encode()).hexdigest()[:16]
    # Other processes wait as long as it takes; the system takes the lock from one that dies.
    with WeakFileLock(folder / ".lock"):
        if not (folder / version).is_dir():
            _fetch(store, objects, folder / version)
        replace_text(folder / _LATEST, version)
    return _place(folder / version)


class _Unreachable(OSError):
    """No answer from the store."""


class _Store:
    """One bucket, asked with or without a signature."""

    def __init__(self, bucket: str, url: str):
        try:
            from boto3.session import Session
        except ImportError as error:
            raise ImportError(
                f"{url}: reading S3 needs boto3, which `pip install 'tahoe-distill[train]'` brings"
            ) from error
        self.bucket, self.url = bucket, url
        session = Session()
        signed = session.get_credentials() is not None
        self._clients = [_client(session, signed=kind) for kind in ((True, False) if signed else (False,))]

    def ask(self, action: str, **options: Any) -> Any:
        """What a client's method gives, ``None`` where there is no such thing.

        Raises:
            PermissionError: When the store refuses, signed and unsigned.
            _Unreachable: When it does not answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        refusal: Exception | None = None
        for client in self._clients:
            try:
                return getattr(client, action)(Bucket=self.bucket, **options)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in _MISSING:
                    return None
                if code not in _DENIED:
                    raise OSError(f"{self.url}: the store cannot give it ({error})") from error
                refusal = error
            except BotoCoreError as error:
                raise _Unreachable(f"{self.url}: the store cannot be reached ({error})") from error
        raise PermissionError(
            f"{self.url}: the store refuses to show it ({refusal}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of "
            "someone who may read it, or ask its owner"
        ) from refusal

    def files(self, prefix: str) -> dict[str, _Object]:
        """The objects right below a prefix, by name; those with a known name where the store gives no list."""
        try:
            return {entry.key.removeprefix(prefix): entry for entry in self._listed(prefix)}
        except PermissionError:
            found = {name: self._one(prefix + name) for name in _KNOWN}
            if not any(found.values()):
                raise
            return {name: entry for name, entry in found.items() if entry is not None}

    def folders(self, prefix: str) -> list[str]:
        """Names of the folders below a prefix, none where the store gives no list."""
        try:
            pages = self._pages(prefix)
            return [part["Prefix"].removeprefix(prefix) for page in pages for part in page.get("CommonPrefixes", ())]
        except PermissionError:
            return []

    def one(self, prefix: str, name: str) -> dict[str, _Object]:
        """One object and those beside it, by name; without it nothing."""
        found = self._one(prefix + name)
        return {} if found is None else {**self._beside(prefix), name: found}

    def _beside(self, prefix: str) -> dict[str, _Object]:
        try:
            return self.files(prefix)
        except PermissionError:
            return {}

    def _one(self, key: str) -> _Object | None:
        try:
            found = self.ask("head_object", Key=key)
        except PermissionError:
            # So a store answers where nobody may know what is not there.
            return None
        return None if found is None else _Object(key, found["ContentLength"], found["ETag"].strip('"'))

    def _listed(self, prefix: str) -> Iterator[_Object]:
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                yield _Object(entry["Key"], entry["Size"], entry["ETag"].strip('"'))

    def _pages(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        more: dict[str, Any] = {}
        while True:
            page = self.ask("list_objects_v2", Prefix=prefix, Delimiter="/", **more) or {}
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}


def _client(session: Any, *, signed: bool) -> Any:
    from botocore import UNSIGNED
    from botocore.config import Config

    options: dict[str, Any] = {} if signed else {"signature_version": UNSIGNED}
    config = Config(connect_timeout=10, retries={"mode": "standard", "max_attempts": 5}, **options)
    # The variable that streaming reads, so that cells and teacher can lie in one store.
    region = session.region_name or "us-east-1"
    return session.client("s3", endpoint_url=os.environ.get("S3_ENDPOINT_URL"), region_name=region, config=config)


def _choose(store: _Store, path: str, size: str | None) -> dict[str, _Object]:
    """The objects that make the teacher, by file name."""
    if path.endswith(".pt"):
        prefix, _, name = path.rpartition("/")
        prefix = f"{prefix}/" if prefix else ""
        found = store.one(prefix, name)
        kept = {other: entry for other, entry in found.items() if other == name or other in (*RELEASE_FILES, *_DRUGS)}
        # The weights asked for are those of the checkpoint.
        return _some({other: entry for other, entry in kept.items() if not other.endswith(".safetensors")}, store.url)
    prefix = f"{path}/"
    found = _teacher_files(store, prefix)
    if not found and size is not None:
        found = _teacher_files(store, f"{prefix}{size}{SIZE_SUFFIX}/")
    if not found:
        ending = f"{SIZE_SUFFIX}/"
        sizes = sorted(name.removesuffix(ending) for name in store.folders(prefix) if name.endswith(ending))
        if len(sizes) == 1 and size is None:
            return _some(_teacher_files(store, f"{prefix}{sizes[0]}{ending}"), store.url)
        if sizes:
            raise ValueError(f"{store.url}: {size_message(size, sizes)}")
    return _some(found, store.url)


def _teacher_files(store: _Store, prefix: str) -> dict[str, _Object]:
    """A folder's files that make a teacher: all of a release or transformers folder, or its one checkpoint."""
    found = store.files(prefix)
    checkpoints = sorted(name for name in found if name.endswith(".pt"))
    weights = [name for name in found if name.endswith(".safetensors")]
    if not weights and len(checkpoints) > 1:
        raise ValueError(f"{store.url} has several checkpoints; name one: {', '.join(checkpoints)}")
    if not weights and not checkpoints:
        return {}
    return {name: entry for name, entry in found.items() if name in (*_KNOWN, *(weights or checkpoints))}


def _some(objects: dict[str, _Object], url: str) -> dict[str, _Object]:
    if not objects:
        raise FileNotFoundError(
            f"{url}: found no teacher there; expected a folder with {', '.join(RELEASE_FILES)}, or a Composer "
            f"checkpoint (.pt) with {VOCAB_FILE} and its settings beside it"
        )
    return objects


def _fetch(store: _Store, objects: Mapping[str, _Object], folder: Path) -> None:
    """Fetch into a hidden sibling that takes the name in the end; files that are whole stay for another try."""
    partial = folder.with_name(f".{folder.name}.partial")
    partial.mkdir(exist_ok=True)
    for stray in {*os.listdir(partial)} - {*objects}:
        remove(partial / stray)
    for name, entry in objects.items():
        if not (partial / name).is_file() or (partial / name).stat().st_size != entry.bytes:
            log.info("fetching s3://%s/%s, %d bytes", store.bucket, entry.key, entry.bytes)
            # Boto gives the file its name when all of it is there.
            store.ask("download_file", Key=entry.key, Filename=str(partial / name))
            _check(store, entry, partial / name)
    sync(partial)
    os.rename(partial, folder)
    sync_names(folder.parent)


def _check(store: _Store, entry: _Object, path: Path) -> None:
    """Remove and refuse a file that is not what the store lists."""
    found = f"{path.stat().st_size} bytes" if path.is_file() else "no such object any more"
    expected = f"{entry.bytes} bytes"
    if found == expected:
        part = _part_bytes(store, entry)
        found, expected = (_etag(path, part), entry.etag) if part else (expected, expected)
    if found != expected:
        remove(path)
        raise OSError(
            f"s3://{store.bucket}/{entry.key}: expected {expected}, got {found}; it was changed on the way or in the "
            "store, fetch it again"
        )


def _part_bytes(store: _Store, entry: _Object) -> int | None:
    """In parts of how many bytes an object was stored, ``None`` where its mark says nothing of its content."""
    first = store.ask("head_object", Key=entry.key, PartNumber=1) or {}
    # With a key of its own, a store marks objects by something else than MD5.
    if first.get("ServerSideEncryption", "AES256") != "AES256" or not _MD5.fullmatch(entry.etag):
        return None
    parts = int(entry.etag.partition("-")[2] or 1)
    size = max(first.get("ContentLength", 0), 1)
    return size if parts == max(-(-entry.bytes // size), 1) else None


def _etag(path: Path, part: int) -> str:
    """The mark that S3 gives a file stored in parts of so many bytes: their MD5, or the MD5 of these."""
    marks, size = [], path.stat().st_size
    with path.open("rb") as file:
        for start in range(0, max(size, 1), part):
            digest, left = hashlib.md5(usedforsecurity=False), min(part, size - start)
            while left > 0:
                block = file.read(min(left, 1 << 20))
                digest.update(block)
                left -= len(block)
            marks.append(digest)
    if len(marks) == 1:
        return marks[0].hexdigest()
    return f"{hashlib.md5(b''.join(mark.digest() for mark in marks), usedforsecurity=False).hexdigest()}-{len(marks)}"


def _place(folder: Path) -> Path:
    """The folder, or the checkpoint in it where the weights are one."""
    if any(folder.glob("*.safetensors")):
        return folder
    return next(folder.glob("*.pt"))


def _fetched_before(folder: Path, error: OSError) -> Path:
    try:
        version = (folder / _LATEST).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise OSError(f"{error}; nothing was fetched before, see `tahoe-distill fetch --help`") from error
    log.warning("%s; taking what was fetched last, %s", error, folder / version)
    return _place(folder / version)


def _cache(cache_dir: str | os.PathLike[str] | None) -> Path:
    return Path(constants.HF_HUB_CACHE if cache_dir is None else cache_dir)
