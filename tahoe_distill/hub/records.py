"""The recorded facts of a model folder: file names, reading them, and the list of published versions."""

import json
from pathlib import Path

CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
HYPERPARAMETERS_FILE = "training_hyperparameters.json"
METRICS_FILE = "metrics.json"
BEST_FILE = "best.json"
VERSIONS_FILE = "versions.json"


def read_record(folder, name, kind=dict):
    """Content of a JSON file of a folder.

    Args:
        folder: A model folder.
        name: File name.
        kind: ``dict`` or ``list``, what the file has to hold.

    Raises:
        ValueError: When the file is absent, is no JSON, or holds something else.
    """
    path = Path(folder) / name
    expected = "a JSON object" if kind is dict else "a JSON list"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing; expected {expected}; export the student again") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected {expected}, found something unreadable ({error}); export again") from error
    if not isinstance(content, kind):
        raise ValueError(f"{path}: expected {expected}, found a {type(content).__name__}; export the student again")
    return content


def read_versions(folder):
    """The published versions that a folder lists, oldest first; none where it has no such file."""
    return read_record(folder, VERSIONS_FILE, list) if (Path(folder) / VERSIONS_FILE).exists() else []


def next_versions(published, published_sha, run_name, metrics):
    """The list of versions with one more at its end.

    A version's own commit is not known before it is made, so the version before gets its commit here.

    Args:
        published: The list as published, empty for a new repository.
        published_sha: Commit of the published revision, or ``None``.
        run_name: Name of the run that made the new version.
        metrics: Its metrics.
    """
    earlier = [dict(version) for version in published]
    if earlier and not earlier[-1].get("commit"):
        earlier[-1]["commit"] = published_sha
    return [*earlier, {"version": len(earlier) + 1, "run_name": run_name, "metrics": dict(metrics), "commit": None}]


def to_json(content):
    """JSON text with sorted keys and an end of line, as every record is written."""
    return json.dumps(content, indent=2, sort_keys=True, default=str) + "\n"
