"""What is on the hub: the facts of the published revision, and the proof that it gives the outputs it should."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from tahoe_distill.hub.export import clean_environment
from tahoe_distill.hub.golden import GoldenMismatchError, require_equal
from tahoe_distill.hub.records import CONFIG_FILE, METRICS_FILE, VERSIONS_FILE, read_record

# Runs in a fresh interpreter: downloads one commit and runs the golden inputs with the code published there.
_READER = """
import sys
import numpy as np, torch
from huggingface_hub import snapshot_download
from transformers import AutoModel
repo, revision, cache, probe, output = sys.argv[1:]
torch.set_num_threads(1)
folder = snapshot_download(repo, revision=revision, cache_dir=cache)
model = AutoModel.from_pretrained(folder, trust_remote_code=True).eval().float()
inputs = np.load(probe)
with torch.no_grad():
    batch = {name: torch.from_numpy(inputs[name]) for name in inputs.files}
    np.save(output, model(**batch).pooler_output.numpy())
"""


@dataclass
class PublishedModel:
    """The published revision of a repository; ``sha`` is ``None`` where there is no repository.

    ``has_model`` tells a repository with a model from one that was only created.
    """

    sha: str | None = None
    has_model: bool = False
    private: bool = False
    metrics: dict = field(default_factory=dict)
    versions: list = field(default_factory=list)


def read_published(api, repo_id):
    """The facts of what is published.

    Args:
        api: A ``huggingface_hub.HfApi``.
        repo_id: The repository.

    Raises:
        OSError: When the hub cannot be reached or refuses.
        ValueError: When the published records are damaged.
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
    with tempfile.TemporaryDirectory() as scratch:
        metrics = _published_record(api, repo_id, info.sha, METRICS_FILE, dict, scratch)
        versions = _published_record(api, repo_id, info.sha, VERSIONS_FILE, list, scratch)
    has_model = any(file.rfilename == CONFIG_FILE for file in info.siblings or ())
    return PublishedModel(info.sha, has_model, bool(info.private), metrics, versions)


def _published_record(api, repo_id, sha, name, kind, scratch):
    try:
        path = api.hf_hub_download(repo_id, name, revision=sha, cache_dir=scratch)
    except LocalEntryNotFoundError as error:
        # A kind of EntryNotFoundError by inheritance, but it says that the hub did not answer, not that it has no file.
        raise OSError(f"{repo_id} exists, but its {name} could not be read ({error}); try again") from error
    except EntryNotFoundError:
        return kind()
    return read_record(Path(path).parent, name, kind)


def verify_published(api, repo_id, sha, batch, outputs):
    """Load a published commit in a fresh process and compare its outputs with the golden ones.

    Args:
        api: A ``huggingface_hub.HfApi``.
        repo_id: The repository.
        sha: The commit.
        batch: Golden inputs, NumPy arrays by argument name.
        outputs: Golden outputs (C, e).

    Returns:
        The largest difference, relative to the largest golden value.

    Raises:
        GoldenMismatchError: When the revision does not load, or gives other outputs.
    """
    what = f"{repo_id} at commit {sha}"
    with tempfile.TemporaryDirectory() as scratch:
        probe, output = Path(scratch) / "probe.npz", Path(scratch) / "output.npy"
        np.savez(probe, **batch)
        places = (Path(scratch) / "cache", probe, output)
        command = [sys.executable, "-c", _READER, repo_id, sha, *map(str, places)]
        done = subprocess.run(
            command, cwd=scratch, env=_online_environment(api, scratch), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise GoldenMismatchError(
                f"{what} was published, but does not load in a fresh process; delete the commit or push again:\n"
                f"{done.stderr[-2000:]}"
            )
        found = np.load(output)
    try:
        return require_equal(found, outputs, what)
    except GoldenMismatchError as error:
        raise GoldenMismatchError(
            f"{error}; what was uploaded is not what can be downloaded, so revert that commit and push again"
        ) from None


def _online_environment(api, scratch):
    """The environment of the reader: this process's own, but allowed to reach the hub that was pushed to."""
    environment = {**clean_environment(scratch), "HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
    return {**environment, "HF_ENDPOINT": api.endpoint, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
