"""Publishing a model folder: checked before, one commit, checked after."""

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi

from tahoe_distill.hub.card import PLACEHOLDER, card_of_folder
from tahoe_distill.hub.checklist import require_complete
from tahoe_distill.hub.comparison import NotBetterError, find_metric, require_better
from tahoe_distill.hub.export import embed_probe, probe_batch
from tahoe_distill.hub.golden import GOLDEN_FILE, golden_text, read_golden, require_equal
from tahoe_distill.hub.published import read_published, verify_published
from tahoe_distill.hub.records import (
    CARD_FILE,
    HYPERPARAMETERS_FILE,
    METRICS_FILE,
    VERSIONS_FILE,
    next_versions,
    read_record,
    to_json,
)
from tahoe_distill.models import Tx1Model

log = logging.getLogger(__name__)

# Weights of an earlier version under other names would be loaded in place of the new ones.
_STALE_WEIGHTS = ["model*.safetensors", "model.safetensors.index.json", "pytorch_model*"]
_SETTINGS = {"repo_id": str, "private": bool, "only_if_better": str}


@dataclass(frozen=True)
class PushReport:
    """What a push did: the commit, its address and the difference to the golden vectors; all ``None`` in a dry run."""

    repo_id: str
    files: tuple
    revision: str | None = None
    url: str | None = None
    difference: float | None = None


def push_folder(folder, repo_id, only_if_better=None, private=False, dry_run=False):
    """Publish a model folder on the hub that ``HF_ENDPOINT`` names.

    Args:
        folder: An exported student.
        repo_id: ``owner/name``; created when it does not exist.
        only_if_better: Name of a metric; refuse unless it is better than the published one.
        private: Create the repository as a private one.
        dry_run: Check and compare, upload nothing.

    Returns:
        A :class:`PushReport`.

    Raises:
        IncompleteFolderError: When the folder fails the checklist.
        NotBetterError: When the published version is as good or better.
        GoldenMismatchError: When the folder, or the revision just published, does not give the golden vectors.
        ValueError: When the metric is unknown, or ``private`` is asked of a public repository.
        OSError: When the hub cannot be reached or refuses.
    """
    folder, api = Path(folder), HfApi()
    require_complete(folder)
    metrics = read_record(folder, METRICS_FILE)
    if only_if_better is not None:
        find_metric(metrics, only_if_better, f"{folder / METRICS_FILE}")
    published = read_published(api, repo_id)
    if published.sha and private and not published.private:
        raise ValueError(f"{repo_id} exists and is public, but a private push was asked for; choose another repository")
    if published.has_model and only_if_better is not None:
        require_better(metrics, published.metrics, only_if_better)
    batch, outputs = _golden(folder)
    with tempfile.TemporaryDirectory() as scratch:
        _stage(folder, Path(scratch), repo_id, published, batch, outputs)
        files = tuple(sorted(path.name for path in Path(scratch).iterdir()))
        if dry_run:
            return PushReport(repo_id, files)
        commit = _upload(api, scratch, repo_id, private, published.sha)
    difference = verify_published(api, repo_id, commit.oid, batch, outputs)
    log.info("published %s at commit %s, golden vectors within %.1e", repo_id, commit.oid, difference)
    return PushReport(repo_id, files, commit.oid, str(commit.commit_url), difference)


def check_push_settings(settings, where):
    """Refuse a mapping of push settings with a key that is unknown, missing or of the wrong kind.

    Args:
        settings: ``{repo_id: …, private: …, only_if_better: …}``; the last two may be left out.
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
    return settings


def _golden(folder):
    """Golden inputs and outputs: those of the export where it left some, and in any case what the folder outputs."""
    model = Tx1Model.from_pretrained(folder).float().eval()
    batch, recorded = read_golden(folder) if (folder / GOLDEN_FILE).exists() else (probe_batch(model.config), None)
    outputs = embed_probe(model, batch)
    if recorded is not None:
        require_equal(outputs, recorded, f"{folder} as it is now")
    return batch, outputs


def _stage(folder, stage, repo_id, published, batch, outputs):
    """Fill ``stage`` with what is to be uploaded: links to the folder's files, and the three that a push writes."""
    metrics = read_record(folder, METRICS_FILE)
    written = {
        GOLDEN_FILE: golden_text(batch, outputs),
        VERSIONS_FILE: to_json(
            next_versions(
                published.versions,
                published.sha,
                read_record(folder, HYPERPARAMETERS_FILE).get("run_name"),
                metrics,
            )
        ),
    }
    for path in folder.iterdir():
        if path.name not in (*written, CARD_FILE):
            os.symlink(path.resolve(), stage / path.name)
    for name, text in written.items():
        (stage / name).write_text(text, encoding="utf-8")
    (stage / CARD_FILE).write_text(_card(folder, stage, repo_id, published.metrics), encoding="utf-8")


def _card(folder, stage, repo_id, previous):
    """The card as published: written anew, unless a user has changed it, whose words are kept."""
    text = (folder / CARD_FILE).read_text(encoding="utf-8")
    if text == card_of_folder(folder):
        return card_of_folder(stage, repo_id, previous)
    log.warning("%s was edited by hand: it is published as it is, with the repository's name filled in", CARD_FILE)
    return text.replace(PLACEHOLDER, repo_id)


def _upload(api, stage, repo_id, private, parent):
    """One commit with all files; refused by the hub when somebody else committed since ``parent`` was read."""
    api.create_repo(repo_id, private=private, exist_ok=True)
    return api.upload_folder(
        repo_id=repo_id,
        folder_path=str(stage),
        commit_message="Publish a distilled Tahoe-x1 student",
        delete_patterns=_STALE_WEIGHTS if parent else None,
        parent_commit=parent,
    )


__all__ = ["NotBetterError", "PushReport", "check_push_settings", "push_folder"]
