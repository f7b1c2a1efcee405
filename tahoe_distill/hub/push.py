"""Publishing a model folder: checked before, one commit, checked after."""

import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, HfApi, get_token
from huggingface_hub.utils import HFValidationError, validate_repo_id

from tahoe_distill.hub.card import PLACEHOLDER, card_of_folder
from tahoe_distill.hub.checklist import require_complete
from tahoe_distill.hub.comparison import NotBetterError, find_metric, read_published, require_better
from tahoe_distill.hub.evaluated import OF_EVALUATIONS, Judge, carries_evaluation, is_judged
from tahoe_distill.hub.export import (
    Golden,
    GoldenMismatchError,
    golden_text,
    golden_vectors,
    read_golden,
    require_equal,
    verify_model_folder,
)
from tahoe_distill.hub.folder import (
    ANY_WEIGHTS,
    CARD_FILE,
    FORMER_FILES,
    GOLDEN_FILE,
    HYPERPARAMETERS_FILE,
    METRICS_FILE,
    read_record,
)
from tahoe_distill.metrics import direction
from tahoe_distill.models import Tx1Model

log = logging.getLogger(__name__)

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_SETTINGS = {"repo_id": str, "private": bool, "only_if_better": str, "mode": str}


@dataclass(frozen=True)
class PushReport:
    """What a push did: the commit, its address and the difference to the golden vectors; all ``None`` in a dry run."""

    repo_id: str
    files: tuple[str, ...]
    revision: str | None = None
    url: str | None = None
    difference: float | None = None


def push_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    only_if_better: str | None = None,
    mode: str | None = None,
    private: bool = False,
    dry_run: bool = False,
    judge: Judge | None = None,
) -> PushReport:
    """Publish a model folder on the hub that ``HF_ENDPOINT`` names.

    Args:
        folder: An exported student.
        repo_id: ``owner/name``; created when it does not exist.
        only_if_better: Name of a metric; refuse unless it is better than the published one.
        mode: ``max`` where higher values of that metric are better, ``min`` where lower are; by default what the metric
            itself says.
        private: Create the repository as a private one.
        dry_run: Check and compare, upload nothing.
        judge: What decides by the evaluations that the folder and the published version carry; where it cannot, their
            metrics do.

    Returns:
        A :class:`PushReport`.

    Raises:
        IncompleteFolderError: When the folder fails the checklist.
        NotBetterError: When the published version is as good or better.
        GoldenMismatchError: When the folder, or the revision just published, does not give the golden vectors.
        PermissionError: When nobody is signed in.
        ValueError: When ``repo_id`` is no name of a repository; when the metric, or which of its values are better, is
            unknown; when ``private`` is asked of a public repository.
        OSError: When the hub cannot be reached or refuses.
    """
    folder, api = Path(folder), HfApi()
    judge = judge if only_if_better and carries_evaluation(folder) else None
    if judge is None:
        _check_condition(only_if_better, mode, "push")
    check_repository(repo_id, "push")
    require_complete(folder)
    if not dry_run and get_token() is None:
        raise PermissionError(
            "nobody is signed in to the hub: run `hf auth login`, or set HF_TOKEN to a token that may write"
        )
    metrics = read_record(folder, METRICS_FILE)
    if only_if_better is not None and judge is None:
        find_metric(metrics, only_if_better, f"{folder / METRICS_FILE}")
    published = read_published(api, repo_id)
    if published.sha and private and not published.private:
        raise ValueError(f"{repo_id} exists and is public, but a private push was asked for; choose another repository")
    if published.has_model and only_if_better is not None:
        judged = judge is not None and is_judged(judge, only_if_better, folder, published=(api, repo_id, published.sha))
        if not judged:
            require_better(metrics, published.metrics, only_if_better, mode=mode)
    golden = _golden(folder)
    with tempfile.TemporaryDirectory() as scratch:
        _stage(folder, Path(scratch), repo_id, previous=published.metrics, golden=golden)
        files = tuple(sorted(path.name for path in Path(scratch).iterdir()))
        if dry_run:
            return PushReport(repo_id, files)
        commit = _upload(api, scratch, repo_id, private=private, parent=published.sha)
    difference = verify_published(api, repo_id, commit.oid, golden=golden)
    log.info("published %s at commit %s, golden vectors within %.1e", repo_id, commit.oid, difference)
    return PushReport(repo_id, files, commit.oid, str(commit.commit_url), difference)


def check_push_settings(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Refuse a mapping of push settings with a key that is unknown, missing or of the wrong kind.

    Args:
        settings: ``{repo_id: …, private: …, only_if_better: …, mode: …}``; all but the first may be left out.
        where: What the user calls the mapping, for the message.

    Returns:
        The settings as keyword arguments of :func:`push_folder`.

    Raises:
        ValueError: Naming the key.
    """
    known = ", ".join(_SETTINGS)
    if not hasattr(settings, "items"):
        raise ValueError(f"{where}: expected a mapping with the keys {known}; found {settings!r}")
    settings = {name: value for name, value in settings.items() if value is not None}
    for name, value in settings.items():
        if name not in _SETTINGS:
            raise ValueError(f"{where}.{name} is unknown; expected the keys {known}")
        if not isinstance(value, _SETTINGS[name]):
            raise ValueError(f"{where}.{name}: expected a {_SETTINGS[name].__name__}, found {value!r}")
    if not settings.get("repo_id"):
        raise ValueError(f"{where}.repo_id is missing; expected the repository to publish to, such as name/student")
    check_repository(settings["repo_id"], f"{where}.repo_id")
    _check_condition(settings.get("only_if_better"), settings.get("mode"), where)
    return settings


def check_repository(repo_id: str, where: str) -> None:
    """Refuse what is no name of a repository.

    Args:
        repo_id: ``owner/name``.
        where: What the user calls it, for the message.

    Raises:
        ValueError: With what is wrong.
    """
    reason = "an address, or no owner and name"
    try:
        validate_repo_id(repo_id)
        if _REPOSITORY.fullmatch(repo_id):
            return
    except HFValidationError as error:
        reason = str(error).rstrip(".")
    raise ValueError(
        f"{where}: {repo_id!r} is no repository ({reason}); expected owner/name, such as my-lab/tx1-student"
    )


def _check_condition(only_if_better: str | None, mode: str | None, where: str) -> None:
    if only_if_better is not None:
        direction(only_if_better, mode, where=f"{where}: only_if_better")
    elif mode is not None:
        raise ValueError(f"{where}: mode is {mode!r}, but no only_if_better names the metric it is about; name it")


def verify_published(api: HfApi, repo_id: str, sha: str, *, golden: Golden) -> float:
    """Download a published commit, and compare its outputs in a fresh process with the golden ones.

    Args:
        api: Of the hub.
        repo_id: The repository.
        sha: The commit.
        golden: Golden vectors of the folder that was published.

    Returns:
        The largest difference, relative to the largest golden value.

    Raises:
        GoldenMismatchError: When the revision does not load, or gives other outputs.
        OSError: When it cannot be downloaded.
    """
    what = f"{repo_id} at commit {sha}"
    with tempfile.TemporaryDirectory() as scratch:
        try:
            folder = api.snapshot_download(repo_id, revision=sha, cache_dir=scratch)
        except (OSError, ValueError) as error:
            raise OSError(f"{what} was published, but could not be downloaded and checked ({error}); try it") from error
        try:
            return verify_model_folder(folder, golden, what=what)
        except GoldenMismatchError as error:
            raise GoldenMismatchError(
                f"what was uploaded is not what can be downloaded, so revert that commit and push again: {error}"
            ) from None


def _golden(folder: Path) -> Golden:
    """Golden vectors: those of the export where it left some, and in any case what the folder outputs."""
    model = Tx1Model.from_pretrained(folder).float().eval()
    if not (folder / GOLDEN_FILE).exists():
        return golden_vectors(model)
    recorded = read_golden(folder)
    golden = golden_vectors(model, recorded.batch)
    require_equal(golden.outputs, recorded.outputs, f"{folder} as it is now")
    return golden


def _link(path: Path, place: Path) -> None:
    """A link to a file; a folder of links to its files, since an upload does not follow a link to a folder."""
    if not path.is_dir():
        os.symlink(path.resolve(), place)
        return
    place.mkdir()
    for inner in path.iterdir():
        os.symlink(inner.resolve(), place / inner.name)


def _stage(folder: Path, stage: Path, repo_id: str, *, previous: Mapping[str, Any], golden: Golden) -> None:
    """Fill ``stage`` with what is to be uploaded: links to the folder's files, and the two that a push writes."""
    for path in folder.iterdir():
        if path.name not in (GOLDEN_FILE, CARD_FILE, *FORMER_FILES):
            _link(path, stage / path.name)
    (stage / GOLDEN_FILE).write_text(golden_text(golden), encoding="utf-8")
    (stage / CARD_FILE).write_text(_card(folder, stage, repo_id, previous), encoding="utf-8")


def _card(folder: Path, stage: Path, repo_id: str, previous: Mapping[str, Any]) -> str:
    """The card as published: written anew, unless a user has changed it, whose words are kept."""
    text = (folder / CARD_FILE).read_text(encoding="utf-8")
    if text == card_of_folder(folder):
        return card_of_folder(stage, repo_id, previous)
    log.warning(
        "%s is not what the folder's records give (it was edited, or they were): it is published as it is, with the "
        "repository's name filled in",
        CARD_FILE,
    )
    return text.replace(PLACEHOLDER, repo_id)


def _upload(api: HfApi, stage: str, repo_id: str, *, private: bool, parent: str | None) -> CommitInfo:
    """One commit with all files; refused by the hub when somebody else committed since ``parent`` was read."""
    api.create_repo(repo_id, private=private, exist_ok=True)
    run, metrics = read_record(stage, HYPERPARAMETERS_FILE).get("run_name"), read_record(stage, METRICS_FILE)
    return api.upload_folder(
        repo_id=repo_id,
        folder_path=str(stage),
        commit_message=f"Publish the student of {run or 'a run'}",
        commit_description="\n".join(f"{name}: {value}" for name, value in sorted(metrics.items())),
        # Weights of an earlier version under other names would be loaded in place of the new ones; its evaluation would
        # be taken for theirs.
        delete_patterns=[*ANY_WEIGHTS, *OF_EVALUATIONS, *FORMER_FILES] if parent else None,
        parent_commit=parent,
    )


__all__ = ["NotBetterError", "PushReport", "check_push_settings", "push_folder"]
