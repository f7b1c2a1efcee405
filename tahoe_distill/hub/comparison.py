"""What is published, and whether a new version is better, by the metrics of both."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from tahoe_distill.hub.folder import CONFIG_FILE, METRICS_FILE, is_number, read_record
from tahoe_distill.metrics import direction, is_better


class NotBetterError(ValueError):
    """A new version is not better than the published one."""


@dataclass(frozen=True)
class PublishedModel:
    """The published revision of a repository; ``sha`` is ``None`` where there is no repository.

    ``has_model`` tells a repository with a model from one that was only created.
    """

    sha: str | None = None
    has_model: bool = False
    private: bool = False
    metrics: dict[str, Any] = field(default_factory=dict)


def read_published(api: HfApi, repo_id: str) -> PublishedModel:
    """The facts of what is published.

    Args:
        api: Of the hub.
        repo_id: The repository.

    Raises:
        OSError: When the hub cannot be reached or refuses.
        ValueError: When the published metrics are damaged.
    """
    try:
        info = api.model_info(repo_id)
    except RepositoryNotFoundError:
        return PublishedModel()
    except HfHubHTTPError:
        raise
    except Exception as error:  # Whatever the HTTP library under huggingface_hub raises: requests, or httpx from 1.0.
        raise OSError(
            f"the hub at {api.endpoint} did not answer ({type(error).__name__}); check the network, or HF_ENDPOINT"
        ) from error
    has_model = any(file.rfilename == CONFIG_FILE for file in info.siblings or ())
    return PublishedModel(info.sha, has_model, bool(info.private), _published_metrics(api, repo_id, info.sha))


def _published_metrics(api, repo_id, sha):
    with tempfile.TemporaryDirectory() as scratch:
        try:
            path = api.hf_hub_download(repo_id, METRICS_FILE, revision=sha, cache_dir=scratch)
        except LocalEntryNotFoundError as error:
            # A kind of EntryNotFoundError by inheritance, but it says that the hub did not answer, not that it has no
            # file.
            raise OSError(f"{repo_id} exists, but its {METRICS_FILE} could not be read ({error}); try again") from error
        except EntryNotFoundError:
            return {}
        return read_record(Path(path).parent, METRICS_FILE)


def find_metric(metrics: Mapping[str, Any], name: str, whose: str) -> str:
    """The full name of a metric, given in full (``eval/cosine``) or by its last part where that is unique (``cosine``).

    Args:
        metrics: Metric name to value.
        name: What the user wrote.
        whose: Where the metrics come from, for the message.

    Raises:
        ValueError: When no metric, or more than one, has that name, or its value is not a number.
    """
    matches = [name] if name in metrics else [full for full in metrics if full.rpartition("/")[2] == name]
    if len(matches) != 1:
        problem = "several metrics" if matches else "no metric"
        known = ", ".join(sorted(matches or metrics)) or "none at all"
        raise ValueError(f"{whose} has {problem} named {name!r}; expected one of: {known}")
    if not is_number(metrics[matches[0]]):
        raise ValueError(f"{whose}: expected a finite number for {matches[0]}, found {metrics[matches[0]]!r}")
    return matches[0]


def require_better(new: Mapping[str, Any], old: Mapping[str, Any], name: str, *, mode: str | None = None) -> None:
    """Refuse a version that is not better than the published one.

    Args:
        new: Metrics of the new version.
        old: Metrics of the published one.
        name: The metric that decides.
        mode: ``max`` or ``min``; what the metric itself says when left out.

    Raises:
        NotBetterError: With both numbers, when the new one is equal or worse.
        ValueError: When either lacks the metric, or it is unknown which of its values are better.
    """
    full = find_metric(new, name, f"the folder's {METRICS_FILE}")
    find_metric(old, full, f"the published {METRICS_FILE}")
    mode = direction(full, mode, where="only_if_better")
    if not is_better(new[full], old[full], mode):
        raise NotBetterError(
            f"not better than what is published: {full} is {new[full]:.6g} here and {old[full]:.6g} there, and "
            f"{'higher' if mode == 'max' else 'lower'} is better; push without the condition to replace it all the same"
        )


def verdict(name: str, new: object, old: object) -> str:
    """``better``, ``worse`` or ``equal``; empty where a value is no number, or nobody knows which are better."""
    if not (is_number(new) and is_number(old)):
        return ""
    if new == old:
        return "equal"
    try:
        mode = direction(name)
    except ValueError:
        # A metric of somebody's own, which is not registered here: the card shows both numbers.
        return ""
    return "better" if is_better(new, old, mode) else "worse"
