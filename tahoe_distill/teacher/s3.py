"""Fetch a teacher from S3: a release folder, a transformers folder, or a Composer checkpoint with its settings."""

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock

from tahoe_distill.files import remove, replace_text, sync, sync_names
from tahoe_distill.models.processing_tx1 import SYMBOLS_FILE
from tahoe_distill.teacher.download import SIZE_SUFFIX, size_message
from tahoe_distill.teacher.release import DRUG_FILE, RELEASE_FILES, VOCAB_FILE
from tahoe_distill.teacher.s3_store import Store, StoredFile, Unreachable

log = logging.getLogger(__name__)

SCHEME = "s3://"
_LATEST = "latest"
_PLAIN = ("config.json", "preprocessor_config.json", SYMBOLS_FILE, "model.safetensors.index.json")
_DRUGS = (DRUG_FILE, "drug_to_id_pad.json")
# What is asked for by name where a bucket gives its files, but no list of them.
_KNOWN = (*RELEASE_FILES, *_PLAIN, *_DRUGS)
_MD5 = re.compile(r"[0-9a-f]{32}(-\d+)?")


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
        store = Store(bucket, url, _KNOWN)
        objects = _choose(store, path, size)
    except Unreachable as error:
        return _fetched_before(folder, error)
    folder.mkdir(parents=True, exist_ok=True)
    version = hashlib.sha256(repr(sorted(objects.items(), key=lambda item: item[0])).encode()).hexdigest()[:16]
    # Other processes wait as long as it takes; the system takes the lock from one that dies.
    with WeakFileLock(folder / ".lock"):
        if not (folder / version).is_dir():
            _fetch(store, objects, folder / version)
        replace_text(folder / _LATEST, version)
    return _place(folder / version)


def _choose(store: Store, path: str, size: str | None) -> dict[str, StoredFile]:
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


def _teacher_files(store: Store, prefix: str) -> dict[str, StoredFile]:
    """A folder's files that make a teacher: all of a release or transformers folder, or its one checkpoint."""
    found = store.files(prefix)
    checkpoints = sorted(name for name in found if name.endswith(".pt"))
    weights = [name for name in found if name.endswith(".safetensors")]
    if not weights and len(checkpoints) > 1:
        raise ValueError(f"{store.url} has several checkpoints; name one: {', '.join(checkpoints)}")
    if not weights and not checkpoints:
        return {}
    return {name: entry for name, entry in found.items() if name in (*_KNOWN, *(weights or checkpoints))}


def _some(objects: dict[str, StoredFile], url: str) -> dict[str, StoredFile]:
    if not objects:
        raise FileNotFoundError(
            f"{url}: found no teacher there; expected a folder with {', '.join(RELEASE_FILES)}, or a Composer "
            f"checkpoint (.pt) with {VOCAB_FILE} and its settings beside it"
        )
    return objects


def _fetch(store: Store, objects: Mapping[str, StoredFile], folder: Path) -> None:
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


def _check(store: Store, entry: StoredFile, path: Path) -> None:
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


def _part_bytes(store: Store, entry: StoredFile) -> int | None:
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
