"""What is decided by the evaluations that a model and its published version carry."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from tahoe_distill.hub.comparison import NotBetterError
from tahoe_distill.hub.evaluation_card import FIGURE_PREFIX
from tahoe_distill.hub.folder import EVALUATION_FILES, RESULTS_FOLDER

# All that an evaluation adds to a repository.
OF_EVALUATIONS = (*EVALUATION_FILES, f"{FIGURE_PREFIX}*.png", f"{RESULTS_FOLDER}/*")
# Given a metric, the folder to publish and one with the published evaluation: whether the first is no worse, and why;
# None where it cannot tell.
Judge = Callable[[str, Path, Path], tuple[bool, str] | None]


def carries_evaluation(folder: Path) -> bool:
    """Whether a model folder holds an evaluation, as `tahoe-distill evaluate --card` puts it there."""
    return all((folder / name).is_file() for name in EVALUATION_FILES)


def is_judged(judge: Judge, metric: str, folder: Path, *, published: tuple[HfApi, str, str | None]) -> bool:
    """Whether the evaluations of both versions could decide.

    Args:
        judge: What decides.
        metric: By which number.
        folder: The new version, with its evaluation.
        published: The hub, the repository and the commit that is there.

    Raises:
        NotBetterError: When they are against the new version.
        OSError: When the hub does not answer.
    """
    with tempfile.TemporaryDirectory() as scratch:
        said = judge(metric, folder, Path(scratch)) if _fetch(*published, folder=Path(scratch)) else None
    if said is not None and not said[0]:
        raise NotBetterError(f"{said[1]}; push without the condition to replace what is published all the same")
    return said is not None


def _fetch(api: HfApi, repo_id: str, sha: str | None, *, folder: Path) -> bool:
    """Download the evaluation that a published model carries; whether it carries one."""
    for name in EVALUATION_FILES:
        try:
            api.hf_hub_download(repo_id, name, revision=sha, local_dir=folder)
        except LocalEntryNotFoundError as error:
            raise OSError(f"{repo_id} exists, but its {name} could not be read ({error}); try again") from error
        except EntryNotFoundError:
            return False
    return True
