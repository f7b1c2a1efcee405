"""The evaluation that a model carries: what is published of it, and what is decided by it."""

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from tahoe_distill.hub.comparison import NotBetterError
from tahoe_distill.hub.folder import EVALUATION_FILES

# Given a metric, the folder to publish and one with the published evaluation: whether the first is no worse, and why;
# None where it cannot tell.
Judge = Callable[[str, Path, Path], tuple[bool, str] | None]


def evaluation_files(folder: Path, evaluation: str | os.PathLike[str] | None) -> dict[str, Path]:
    """The files of the evaluation to publish, by the names they get; empty where there is none.

    Args:
        folder: The model folder, which may hold one.
        evaluation: What `tahoe-distill evaluate --out` wrote, where it is published instead.

    Raises:
        ValueError: When that is no evaluation.
    """
    if evaluation is None:
        found = {name: folder / name for name in EVALUATION_FILES}
        return found if all(path.is_file() for path in found.values()) else {}
    found = dict(zip(EVALUATION_FILES, (Path(evaluation) / name for name in ("metrics.json", "cells.csv.gz"))))
    missing = [path for path in found.values() if not path.is_file()]
    if missing:
        raise ValueError(f"{missing[0]} is missing; expected the folder that `tahoe-distill evaluate --out` wrote")
    return found


def link_files(evaluated: Mapping[str, Path], folder: Path) -> None:
    """Put links to files into a folder, under their new names."""
    for name, path in evaluated.items():
        os.symlink(path.resolve(), folder / name)


def is_judged(
    judge: Judge, metric: str, evaluated: Mapping[str, Path], *, published: tuple[HfApi, str, str | None]
) -> bool:
    """Whether the evaluations of both versions could decide.

    Args:
        judge: What decides.
        metric: By which number.
        evaluated: The new version's evaluation.
        published: The hub, the repository and the commit that is there.

    Raises:
        NotBetterError: When they are against the new version.
        OSError: When the hub does not answer.
    """
    with tempfile.TemporaryDirectory() as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        link_files(evaluated, new)
        said = judge(metric, new, old) if _fetch(*published, folder=old) else None
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
