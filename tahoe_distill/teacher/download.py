"""Fetch a teacher from the Hugging Face hub."""

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.utils import (
    EntryNotFoundError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tahoe_distill.teacher.release import COLLATOR_CONFIG_FILE, RELEASE_FILES, VOCAB_FILE, WEIGHTS_FILE, read_settings

SIZE_SUFFIX = "-model"


def download(
    repository: str,
    size: str | None = None,
    revision: str | None = None,
    *,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Fetch one size of a release, or a transformers folder, into the hub's cache.

    Args:
        repository: Name on the hub, ``owner/name``.
        size: Which of a release's sizes; without it the repository must be a transformers folder.
        revision: Branch, tag or commit.
        cache_dir: Where downloads are kept.

    Returns:
        The local folder.

    Raises:
        FileNotFoundError: When the repository, its revision or one of its files is not there.
        ValueError: When ``size`` is needed.
        OSError: When the hub does not answer, and the repository was not fetched before.
    """
    where: dict[str, Any] = {"revision": revision, "cache_dir": cache_dir}
    if size is None:
        try:
            names = _plain_files(repository, revision)
        except ConnectionError as error:
            return _fetched_before(repository, where, error)
        return Path(_fetch_all(repository, names, where)[0]).parent
    prefix = f"{size}{SIZE_SUFFIX}/"
    found = _fetch_all(repository, [prefix + name for name in RELEASE_FILES], where)
    paths = dict(zip(RELEASE_FILES, found, strict=True))
    drugs = (read_settings(paths[COLLATOR_CONFIG_FILE]).get("drug_to_id_path") or {}).get("local")
    if drugs:
        # The published release names a file that it does not hold.
        with contextlib.suppress(EntryNotFoundError):
            hf_hub_download(repository, prefix + Path(drugs).name, **where)
    return Path(paths[VOCAB_FILE]).parent


def _plain_files(repository: str, revision: str | None) -> list[str]:
    """Names of a repository's files when it is a transformers folder; the sizes to choose from when it is a release."""
    try:
        files = HfApi().list_repo_files(repository, revision=revision)
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(_no_repository(repository)) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(_no_revision(repository, revision)) from error
    except Exception as error:
        # Which error means "no network" depends on the hub client's version.
        raise ConnectionError(
            f"{repository}: could not ask the hub for its files ({error}); pass size, or a folder"
        ) from error
    suffix = f"{SIZE_SUFFIX}/{WEIGHTS_FILE}"
    sizes = sorted(name.removesuffix(suffix) for name in files if name.endswith(suffix))
    if sizes:
        raise ValueError(f"{repository}: {size_message(None, sizes)}")
    if "config.json" not in files:
        raise ValueError(f"{repository}: found neither a Tahoe-x1 release nor a transformers folder of this package")
    return [name for name in files if "/" not in name and name.endswith((".json", ".safetensors"))]


def _fetched_before(repository: str, where: dict[str, Any], error: ConnectionError) -> Path:
    """What an earlier call fetched of a repository, for machines without a network."""
    try:
        return Path(snapshot_download(repository, local_files_only=True, **where))
    except LocalEntryNotFoundError:
        raise error from None


def _fetch_all(repository: str, names: Sequence[str], where: dict[str, Any]) -> list[str]:
    """Local paths of several files of one commit, which is that of the first: a branch may move in between."""
    first = _fetch(repository, names[0], where)
    commit = commit_of(first)
    if commit is not None:
        where["revision"] = commit
    return [first, *(_fetch(repository, name, where) for name in names[1:])]


def commit_of(path: str | os.PathLike[str]) -> str | None:
    """The commit that a file or folder of the hub's cache belongs to; ``None`` for a path elsewhere."""
    found = re.search(r"/models--[^/]+/snapshots/([0-9a-f]{40})(/|$)", os.fspath(path))
    return found[1] if found else None


def _fetch(repository: str, name: str, where: dict[str, Any]) -> str:
    try:
        return hf_hub_download(repository, name, **where)
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(_no_repository(repository)) from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(_no_revision(repository, where["revision"])) from error
    except LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"{repository}: {name} is not in the cache and the hub was not reached; connect, fetch it where there is a "
            "network with `tahoe-distill fetch`, or pass a local folder"
        ) from error
    except EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{repository} has no {name}; check the size and the repository's list of files"
        ) from error


def _no_repository(repository: str) -> str:
    return f"{repository}: no such folder here and no such repository on the hub; check the name, or log in if private"


def _no_revision(repository: str, revision: str | None) -> str:
    return f"{repository} has no revision {revision!r}; expected one of its branches, tags or commits"


def size_message(size: str | None, sizes: Iterable[str]) -> str:
    """The message where no size of a release, or an unknown one, was given."""
    given = "no size was given" if size is None else f"found no size {size!r}"
    return f"{given}; found the sizes {', '.join(sizes)}. Pass one of them as size"
