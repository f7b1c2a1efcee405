"""Whether what a sweep chose is better than the base, on cells that the sweep did not see."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.evaluation.intervals import draws, interval, mean_of
from tahoe_distill.evaluation.record import describe_file
from tahoe_distill.files import replace_text
from tahoe_distill.metrics.tables import names_of
from tahoe_distill.naming import unknown
from tahoe_distill.sweeps.study import Outcome, Study

CONFIRM_FILE = "confirm.json"
METRIC = "fidelity/knn_overlap_10"
# Folders of students, and the section `confirm`, to the record and the table of cells of their evaluation.
Judge = Callable[[Sequence[Path], Mapping[str, Any]], tuple[Mapping[str, Any], pd.DataFrame]]


@dataclass(frozen=True)
class Confirmation:
    """The best setting beside the base, at the trials' length, on other cells.

    Args:
        metric: By what.
        higher_is_better: Its direction.
        cells: How many cells.
        file: Name of their file.
        best: Of the best setting, by seed.
        base: Of the base, by seed.
        difference: Best minus base, means over the seeds.
        low: Lower end of its 95 % interval over draws of the same cells for both.
        high: Upper end.
    """

    metric: str
    higher_is_better: bool
    cells: int
    file: str
    best: dict[str, float]
    base: dict[str, float]
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``no different``, as far as these cells can tell."""
        low, high = (self.low, self.high) if self.higher_is_better else (-self.high, -self.low)
        return "better" if low > 0 else "worse" if high < 0 else "no different"

    def sentence(self) -> str:
        """What was found, in one sentence."""
        seeds = f"{len(self.best)} seeds" if len(self.best) > 1 else "one seed"
        means = [float(np.mean(list(values.values()))) for values in (self.best, self.base)]
        return (
            f"On {self.cells:,} cells of {self.file} that the sweep did not see, {self.metric} is {means[0]:.4f} with "
            f"the chosen settings and {means[1]:.4f} with the base's, {seeds} each: {self.difference:+.4f} (paired "
            f"95 % interval {self.low:+.4f} to {self.high:+.4f}), so they are {self.verdict}."
        )


def check_confirm(study: Study) -> None:
    """Refuse cells that the trials are judged by, which the sweep sees.

    Raises:
        ValueError: For such cells, and where the base's own students cannot stand beside others.
        FileNotFoundError: When there is no such file.
    """
    section = study.spec.confirm
    if section is None:
        return
    path = Path(section["adata"])
    if not path.exists():
        raise FileNotFoundError(f"confirm.adata: {path} does not exist")
    run = study.run_of(study.base_setting(), study.seeds[0])
    seen = ((run.get("callbacks") or {}).get("evaluate") or {}).get("adata")
    if seen is None or not os.path.exists(seen):
        return
    if os.path.samefile(seen, path) or describe_file(seen)["sha256"] == describe_file(path)["sha256"]:
        raise ValueError(
            f"confirm.adata is {path}, the cells that the trials are judged by (callbacks.evaluate.adata): what was "
            "chosen by them cannot be confirmed by them; give others"
        )


def confirm(study: Study, best: Outcome, judge: Judge) -> Confirmation:
    """Judge the students of the best setting and of the base on other cells, and keep what came out.

    Args:
        study: A study whose trials and whose base are settled.
        best: Its best setting.
        judge: Evaluates students.

    Raises:
        ValueError: When the base failed, or the number is not one of single cells.
    """
    section = dict(study.spec.confirm or {})
    base = study.outcome_of_base()
    if base.state != "complete":
        raise ValueError(f"the base as it stands failed, so there is nothing to confirm against: {base.error}")
    metric = section.pop("metric", METRIC)
    folders = [folder.student for outcome in (best, base) for folder in outcome.setting.runs.values()]
    record, cells = judge(folders, section)
    names = names_of(record, "student")
    values = {name: record["subjects"][name]["values"] for name in names}
    if metric not in values[names[0]]:
        raise ValueError(f"confirm.metric: {unknown('number', metric, values[names[0]])}")
    column = metric.partition("/")[2]
    if f"{names[0]}/{column}" not in cells:
        own = [name for name in values[names[0]] if f"{names[0]}/{name.partition('/')[2]}" in cells]
        raise ValueError(f"confirm.metric: {metric} is not made of single cells; expected one of {', '.join(own)}")
    count, seeds = len(study.seeds), [str(seed) for seed in study.seeds]
    one, other = (cells[[f"{name}/{column}" for name in part]].mean(axis=1) for part in (names[:count], names[count:]))
    difference = (one - other).to_numpy(dtype=float)
    low, high = interval(draws(mean_of(difference), len(difference), seed=0))
    found = Confirmation(
        metric, bool(record["higher_is_better"][metric]), len(difference), Path(section["adata"]).name,
        {seed: values[name][metric] for seed, name in zip(seeds, names[:count], strict=True)},
        {seed: values[name][metric] for seed, name in zip(seeds, names[count:], strict=True)},
        float(difference.mean()), low, high,
    )  # fmt: skip
    replace_text(study.folder / CONFIRM_FILE, json.dumps({**asdict(found), "verdict": found.verdict}, indent=2) + "\n")
    return found
