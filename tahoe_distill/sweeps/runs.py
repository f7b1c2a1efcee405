"""From a base to the runs of a sweep: what a trial has otherwise, and what the final run has."""

import copy
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tahoe_distill.sweeps.space import Dimension, check_swept_keys, run_name, settings_of
from tahoe_distill.sweeps.spec import SweepSpec

EVALUATIONS_FILE, STUDENT_FOLDER, CHECKPOINTS = "evaluations.jsonl", "student", "checkpoints"
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ep|ba|sp|tok|iter)")


@dataclass(frozen=True)
class Base:
    """The run that a sweep starts from.

    Args:
        written: Its YAML with what ``variables.base`` names, values such as ``${seed}`` left as they are written.
        resolved: The same with them filled in.
    """

    written: Mapping[str, Any]
    resolved: Mapping[str, Any]

    def with_settings(self, settings: Mapping[str, Any]) -> "Base":
        """Another one with settings replaced, by dotted key."""
        written = replaced(self.written, settings)
        # A value that refers to what was replaced follows it.
        return Base(written, resolve(written))

    @property
    def seed(self) -> int:
        """Its seed, llm-foundry's default where it names none."""
        return int(self.resolved.get("seed", 17))


def resolve(written: Mapping[str, Any]) -> dict[str, Any]:
    """A run's YAML with ``${…}`` filled in."""
    from omegaconf import DictConfig, OmegaConf

    found = OmegaConf.to_container(DictConfig(dict(written), flags={"allow_objects": True}), resolve=True)
    return {str(key): value for key, value in found.items()} if isinstance(found, dict) else {}


def base_of(spec: SweepSpec, written: Mapping[str, Any]) -> Base:
    """The base with the settings that every run of the sweep has.

    Args:
        spec: The sweep.
        written: The base's YAML with what ``variables.base`` names.

    Raises:
        ValueError: When a swept key is not in it, with the closest one.
    """
    whole = copy.deepcopy(dict(written))
    if isinstance(variables := whole.get("variables"), dict) and variables.pop("base", None) is not None:
        # What the file behind it says stands here by now, and would be merged in a second time.
        whole["code_paths"] = [
            path for path in whole.get("code_paths", ()) if not str(path).endswith("configs/base.py")
        ]
        if not whole["code_paths"]:
            del whole["code_paths"]
    base = Base(whole, resolve(whole)).with_settings(spec.run)
    check_swept_keys(spec.space, base.resolved)
    return base


def final_run(spec: SweepSpec, base: Base, params: Mapping[str, Any]) -> dict[str, Any]:
    """The run to start with a setting: the base whole, with its own cells, batches and evaluation, and a name of it."""
    name = run_name(spec.name, spec.space, params)
    return replaced(base.written, {**settings_of(spec.space, params), "run_name": name})


def trial_run(
    spec: SweepSpec, base: Base, params: Mapping[str, Any] | None, *, name: str, seed: int, folder: Path
) -> dict[str, Any]:
    """The YAML of one run of a trial.

    Args:
        spec: The sweep.
        base: Its base.
        params: The setting; ``None`` for the base as it stands.
        name: Of the run.
        seed: Of the run.
        folder: Of the run: its student, checkpoints and evaluations go there.
    """
    swept = {} if params is None else settings_of(spec.space, params)
    # First what is swept: where a length or a loader is, its share is of the swept one.
    run = base.with_settings({**swept, "seed": seed})
    own = {
        **_shorter(spec, run.resolved),
        **_fewer_cells(spec.fraction.cells, run.resolved),
        "run_name": name,
        "save_folder": os.fspath(folder / CHECKPOINTS),
        "save_num_checkpoints_to_keep": 1,
        "save_overwrite": True,
        "autoresume": True,
        "progress_bar": False,
        "callbacks.distillation.evaluations": os.fspath(folder / EVALUATIONS_FILE),
        "callbacks.hf_student": {
            "folder": os.fspath(folder / STUDENT_FOLDER), "save_interval": "1dur", "overwrite": True, "verify": False,
        },
    }  # fmt: skip
    written = replaced(run.written, {**own, **spec.fraction.settings})
    if "loggers" not in spec.fraction.settings:
        # Those of the final run are for that: files and projects of their own would be mixed up.
        written.pop("loggers", None)
    return written


def _shorter(spec: SweepSpec, run: Mapping[str, Any]) -> dict[str, Any]:
    """Length, evaluations, checkpoints and warm-up of a trial."""
    whole = _TIME.fullmatch(str(run.get("max_duration")))
    if whole is None:
        raise ValueError(f"max_duration: found {run.get('max_duration')!r}, expected a length such as 20000ba or 3ep")
    number, unit = float(whole[1]), whole[2]
    batches = spec.fraction.batches
    if isinstance(batches, str):
        given = _TIME.fullmatch(batches)
        if given is None or given[2] != unit or float(given[1]) > number:
            raise ValueError(
                f"trial.batches is {batches}, and the run's max_duration {run['max_duration']}: give a share, or a "
                f"length in {unit} that is no longer"
            )
        length = int(float(given[1]))
    else:
        length = max(1, round(number * batches))
    interval = f"{math.ceil(length / spec.fraction.evaluations)}{unit}"
    changed = {"max_duration": f"{length}{unit}", "eval_interval": interval, "save_interval": interval}
    warmup = _TIME.fullmatch(str((run.get("scheduler") or {}).get("t_warmup")))
    if warmup is not None and warmup[2] == unit:
        changed["scheduler.t_warmup"] = f"{int(float(warmup[1]) * length / number)}{unit}"
    return changed


def _fewer_cells(cells: float | int, run: Mapping[str, Any]) -> dict[str, Any]:
    """A fixed sample of the training cells, the same ones in each epoch; nothing where all are wanted."""
    if cells == 1:
        return {}
    dataset = (run.get("train_loader") or {}).get("dataset") or {}
    streams = [stream for stream in (dataset.get("streams") or {}).values() if stream]
    cache = cache_of(run)
    if cache is None and any("choose" in stream or "repeat" in stream for stream in streams):
        raise ValueError(
            "trial.cells cannot be a part of streams that have choose or repeat: set those to less under trial.settings"
        )
    if cells < 1:
        known = _samples(run)
        if known is None:
            raise ValueError(
                f"trial.cells is the share {cells:g}, and how many cells there are stands in no index on this disk: "
                "give their number, such as trial.cells=500000"
            )
        cells = round(known * cells)
    least = int(run.get("global_train_batch_size", 1))
    if cells < least:
        raise ValueError(f"trial.cells comes to {cells} cells, fewer than the {least} of a batch; give more of them")
    return {"train_loader.dataset.epoch_size": int(cells), "train_loader.dataset.sampling_method": "fixed"}


def cache_of(run: Mapping[str, Any]) -> str | None:
    """Folder of the training cells in a teacher cache; ``None`` where the run reads none."""
    teacher = (run.get("model") or {}).get("teacher")
    given = (run.get("train_loader") or {}).get("cache")
    folder = teacher.get("cache") if isinstance(teacher, Mapping) else None
    found = given or (f"{folder}/train" if folder else None)
    # Embeddings that were prepared with the cells are in the loader's own shards.
    return found if found and os.path.isfile(os.path.join(found, "index.json")) else None


def _samples(run: Mapping[str, Any]) -> int | None:
    """Training samples by the indexes on this disk."""
    dataset = (run.get("train_loader") or {}).get("dataset") or {}
    streams = [stream for stream in (dataset.get("streams") or {"": dataset}).values() if stream]
    cache = cache_of(run)
    folders = [cache] if cache else [os.path.join(s.get("local") or "", s.get("split") or "") for s in streams]
    total = 0
    for folder in folders:
        try:
            index = json.loads(Path(folder, "index.json").read_text(encoding="utf-8"))
            total += sum(int(shard["samples"]) for shard in index["shards"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    return total


def replaced(section: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a nested mapping with values put at dotted keys; sections on the way are made where there are none.

    Raises:
        ValueError: Where a key leads into something that is no section.
    """
    found: dict[str, Any] = copy.deepcopy(dict(section))
    for key, value in settings.items():
        *way, last = key.split(".")
        place = found
        for number, name in enumerate(way):
            if place.get(name) is None:
                place[name] = {}
            if not isinstance(place[name], dict):
                at = ".".join(way[: number + 1])
                raise ValueError(
                    f"{key} cannot be set: {at} is {place[name]!r} and no section; set {at} whole under run:"
                )
            place = place[name]
        place[last] = copy.deepcopy(value)
    return found


def fingerprint(spec: SweepSpec, base: Base, seeds: Sequence[int]) -> dict[str, Any]:
    """What makes a study the study that it is, by dotted key: its base, what is tried, how and by what."""
    about = {
        "metric": spec.metric, "mode": spec.mode, "sampler": spec.sampler, "sampler_seed": spec.sampler_seed,
        "seeds": list(seeds), "name": spec.name, "trial": vars(spec.fraction),
        "space": {dimension.name: _described(dimension) for dimension in spec.space},
    }  # fmt: skip
    return {**dict(flat(base.resolved)), **{f"sweep: {key}": value for key, value in flat(about)}}


def _described(dimension: Dimension) -> dict[str, Any]:
    return {key: value for key, value in vars(dimension).items() if value not in (None, (), {}) and key != "name"}


def flat(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of a nested mapping, and their values."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
