"""A sweep's YAML: the base, what is tried on it, by how much less than a whole run, and by which number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tahoe_distill.naming import check_keys, unknown
from tahoe_distill.sweeps.space import Dimension, grid, read_space

SAMPLERS = ("grid", "random", "tpe")
KEYS = (
    "base", "out", "name", "metric", "mode", "sampler", "trials", "seeds", "sampler_seed", "space", "run", "trial",
    "prune", "confirm",
)  # fmt: skip
_TRIAL = ("batches", "cells", "evaluations", "settings")
_PRUNE = ("startup", "warmup")
_CONFIRM = (
    "adata", "reference", "teacher", "teacher_key", "size", "label_key", "batch_key", "condition_key", "control",
    "layer", "gene_key", "symbols", "num_samples", "seed", "only", "metric",
)  # fmt: skip


@dataclass(frozen=True)
class Fraction:
    """How a trial is less than the run that it stands for.

    Args:
        batches: Share of the run's batches, in (0, 1]; or a length such as ``200ba``.
        cells: Share of the training cells, in (0, 1]; or a number of them above 1.
        evaluations: How often a trial is judged, evenly over its length.
        settings: What else trials have otherwise, by dotted key.
    """

    batches: float | str = 1.0
    cells: float | int = 1.0
    evaluations: int = 4
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pruning:
    """When a trial is ended early: its metric is worse than the median of those before it at the same evaluation.

    Args:
        startup: Settings that run to their end before any is ended early.
        warmup: Evaluations of a trial before it may be.
    """

    startup: int = 4
    warmup: int = 1


@dataclass(frozen=True)
class SweepSpec:
    """A sweep.

    Args:
        base: Path of the run's YAML.
        out: Folder of the study.
        name: What the names of its runs begin with.
        metric: By what they are judged, as ``callbacks.hf_student.best`` names it.
        mode: ``max`` or ``min``; ``None`` for what the metric itself says.
        space: The dimensions.
        sampler: ``grid``, ``random`` or ``tpe``.
        trials: How many settings to try.
        seeds: Seeds of each setting's runs; ``None`` with ``seed_count`` where the base's own seed is the first.
        seed_count: How many.
        sampler_seed: Of what the sampler draws.
        run: What every run has otherwise than the base, the final one too, by dotted key.
        fraction: How trials are less than the final run.
        pruning: When they are ended early; ``None`` for never.
        confirm: Cells that the sweep does not see, and how to judge by them; ``None`` for no such check.
    """

    base: str
    out: str
    name: str
    metric: str
    mode: str | None
    space: tuple[Dimension, ...]
    sampler: str
    trials: int
    seeds: tuple[int, ...] | None
    seed_count: int
    sampler_seed: int
    run: Mapping[str, Any]
    fraction: Fraction
    pruning: Pruning | None
    confirm: Mapping[str, Any] | None

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "SweepSpec":
        """From the YAML's content.

        Raises:
            ValueError: For what is missing, unknown or cannot be meant.
        """
        check_keys(content, KEYS, "the sweep")
        for key in ("base", "out", "metric"):
            if not isinstance(content.get(key), str) or not content[key]:
                raise ValueError(f"the sweep has no {key}; expected {_EXPECTED[key]}")
        space, sampler = read_space(content.get("space")), content.get("sampler", "grid")
        if sampler not in SAMPLERS:
            raise ValueError(unknown("sampler", sampler, SAMPLERS))
        if content.get("mode") not in (None, "max", "min"):
            raise ValueError(f"mode must be max or min; found {content['mode']!r}")
        seeds, count = _seeds(content.get("seeds", 1))
        run = content.get("run") or {}
        return cls(
            base=content["base"], out=content["out"], name=str(content.get("name", "tx1")),
            metric=content["metric"], mode=content.get("mode"), space=space, sampler=sampler,
            trials=_trials(content.get("trials"), sampler, space), seeds=seeds, seed_count=count,
            sampler_seed=_whole(content.get("sampler_seed", 17), "sampler_seed", least=0), run=dict(run),
            fraction=_fraction(content.get("trial") or {}), pruning=_pruning(content.get("prune", False)),
            confirm=_confirm(content.get("confirm")),
        )  # fmt: skip

    def seeds_from(self, first: int) -> tuple[int, ...]:
        """The seeds of each setting's runs.

        Args:
            first: The base's own.
        """
        return self.seeds if self.seeds is not None else tuple(range(first, first + self.seed_count))


_EXPECTED = {
    "base": "the YAML of a run, such as base: configs/quickstart.yaml",
    "out": "a folder for the study, such as out: sweeps/temperature",
    "metric": "a number that the runs report, such as metric: eval/knn_overlap",
}


def _seeds(given: object) -> tuple[tuple[int, ...] | None, int]:
    if isinstance(given, Sequence) and not isinstance(given, str):
        seeds = tuple(_whole(seed, "seeds", least=0) for seed in given)
        if not seeds:
            raise ValueError("seeds is empty; expected a number of seeds or a list of them")
        if (twice := next((seed for seed in seeds if seeds.count(seed) > 1), None)) is not None:
            raise ValueError(f"seeds has {twice} twice: two runs with one seed are one run; give other seeds")
        return seeds, len(seeds)
    return None, _whole(given, "seeds", least=1)


def _trials(given: object, sampler: str, space: Sequence[Dimension]) -> int:
    if sampler == "grid":
        count = sum(1 for _ in grid(space))
        if given is not None and given != count:
            raise ValueError(f"this grid has {count} settings and trials is {given!r}; remove trials, or sample")
        return count
    if given is None:
        raise ValueError(f"sampler: {sampler} needs trials, how many settings to try")
    return _whole(given, "trials", least=1)


def _fraction(section: Mapping[str, Any]) -> Fraction:
    check_keys(section, _TRIAL, "trial")
    found = Fraction(**section)
    share = isinstance(found.batches, (int, float)) and 0 < found.batches <= 1
    if not share and not (isinstance(found.batches, str) and found.batches[:1].isdigit()):
        raise ValueError(
            f"trial.batches: found {found.batches!r}, expected a share in (0, 1] or a length such as 200ba"
        )
    if not isinstance(found.cells, (int, float)) or found.cells <= 0 or (found.cells > 1 and found.cells % 1):
        raise ValueError(f"trial.cells: found {found.cells!r}, expected a share in (0, 1] or a number of cells")
    _whole(found.evaluations, "trial.evaluations", least=1)
    return found


def _pruning(section: object) -> Pruning | None:
    if not section:
        return None
    given = {} if section is True else section
    if not isinstance(given, Mapping):
        raise ValueError(f"prune: found {section!r}, expected true, false or {{startup: 4, warmup: 1}}")
    check_keys(given, _PRUNE, "prune")
    return Pruning(**{key: _whole(value, f"prune.{key}", least=0) for key, value in given.items()})


def _confirm(section: object) -> dict[str, Any] | None:
    if not section:
        return None
    if not isinstance(section, Mapping):
        raise ValueError(f"confirm: found {section!r}, expected a section such as {{adata: other_cells.h5ad}}")
    check_keys(section, _CONFIRM, "confirm")
    if not section.get("adata"):
        raise ValueError("confirm.adata is missing: cells that the sweep does not see")
    return dict(section)


def _whole(value: Any, where: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where}: found {value!r}, expected a whole number, {least} or more")
    return value
