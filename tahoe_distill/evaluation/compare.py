"""Students beside each other: one table, paired intervals of their differences, and a gate.

Each of a cell's numbers has a partner, and the draws of a bootstrap hold the same cells for both: what is hard for both
does not widen the interval of their difference.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tahoe_distill.evaluation.contenders import Contender, read_published, why_not_comparable
from tahoe_distill.evaluation.intervals import Statistic, draws, interval, macro_f1_of, mean_of
from tahoe_distill.naming import unknown

log = logging.getLogger(__name__)

PRIMARY = "fidelity/knn_overlap_10"
SCHEMA = "tahoe-distill/comparison/1"
_BY_LABELS = ("annotation/knn_macro_f1", "annotation/knn_accuracy")


@dataclass(frozen=True)
class Standing:
    """How one student stands.

    Args:
        name: Of the student.
        value: Its primary number.
        interval: 95 % interval of that.
        difference: Its number minus the first student's, and the ends of the paired 95 % interval; ``None`` for the
            first, and for a number that is not of single cells.
        costs: Parameters, bytes, cells per second, where they were measured.
    """

    name: str
    value: float
    interval: tuple[float, float] | None
    difference: tuple[float, float, float] | None
    costs: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Students by their primary number, the best on top.

    Args:
        metric: The number.
        higher_is_better: Its direction.
        first: Name of the student that differences are against: the one given first.
        standings: The students.
        cells: How many cells they were judged by.
    """

    metric: str
    higher_is_better: bool
    first: str
    standings: tuple[Standing, ...]
    cells: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"schema": SCHEMA, **asdict(self)}


@dataclass(frozen=True)
class Gate:
    """Whether the first student is no worse than every other one.

    Args:
        passed: Whether it is.
        because: A sentence on each of the others.
    """

    passed: bool
    because: tuple[str, ...]


def compare(contenders: Sequence[Contender], metric: str = PRIMARY) -> Comparison:
    """Students in the order of one number, with the paired differences against the first.

    Args:
        contenders: Comparable students.
        metric: The number.

    Raises:
        ValueError: When a student does not have the number.
    """
    first = contenders[0]
    for contender in contenders:
        if metric not in contender.values:
            raise ValueError(f"{contender.name}: {unknown('number', metric, contender.values)}")
    higher = bool(first.record["higher_is_better"][metric])
    standings = [
        Standing(
            contender.name,
            contender.values[metric],
            contender.ends(metric),
            None if contender is first else paired_difference(contender, first, metric),
            {name: value for name, value in contender.values.items() if name.startswith("cost/")},
        )
        for contender in contenders
    ]
    standings.sort(key=lambda standing: standing.value, reverse=higher)
    return Comparison(metric, higher, first.name, tuple(standings), int(first.record["cells"]["query"]))


def paired_difference(one: Contender, other: Contender, metric: str) -> tuple[float, float, float] | None:
    """One student's number minus another's, and the ends of its 95 % interval over draws of the same cells.

    Args:
        one: A student.
        other: Another one, judged by the same cells.
        metric: The number; ``None`` is given for one that is no mean over cells, nor of labels.
    """
    left, right = _statistic(one, metric), _statistic(other, metric)
    if left is None or right is None:
        return None
    (mine, cells), (theirs, others) = left, right
    if cells != others:
        raise ValueError(
            f"{one.source} judged {cells} cells by {metric} and {other.source} {others}: their labels differ; evaluate "
            "both with the same --label-key and --reference"
        )
    seed = int(other.record["seed"])
    low, high = interval(draws(mine, cells, seed=seed) - draws(theirs, cells, seed=seed))
    return one.values[metric] - other.values[metric], low, high


def _statistic(contender: Contender, metric: str) -> tuple[Statistic, int] | None:
    """A number as a statistic of draws of cells, and how many cells there are."""
    cells, column = contender.cells, f"{contender.subject}/{metric.partition('/')[2]}"
    if metric in _BY_LABELS and f"{contender.subject}/predicted_label" in cells:
        judged = cells[cells["judged"]]
        truth, found = judged["label"].to_numpy(str), judged[f"{contender.subject}/predicted_label"].to_numpy(str)
        right = (truth == found).astype(float)
        return (macro_f1_of(truth, found) if metric.endswith("f1") else mean_of(right)), len(truth)
    if column not in cells or not pd.api.types.is_numeric_dtype(cells[column]):
        return None
    values = cells[column].to_numpy(dtype=float)
    # What the mean of all cells does not give again is something else under the same name.
    same = np.isfinite(values).all() and np.isclose(values.mean(), contender.values[metric], rtol=1e-3, atol=1e-5)
    return (mean_of(values), len(values)) if same else None


def gate(contenders: Sequence[Contender], metric: str, margin: float) -> Gate:
    """Whether the first student is no worse than each other one, by the worse end of the paired 95 % interval.

    Args:
        contenders: Comparable students, at least two.
        metric: The number that decides.
        margin: What the first may lose of it.

    Raises:
        ValueError: For a number that has no paired interval, a margin below zero, or nothing to compare with.
    """
    if margin < 0:
        raise ValueError(f"the margin is what may be lost and cannot be negative; found {margin:g}")
    first, *others = contenders
    if not others:
        raise ValueError("a gate needs at least two students: the one to let through, and what it is held against")
    compare(contenders, metric)
    higher, passed, because = first.record["higher_is_better"][metric], True, []
    for other in others:
        difference = paired_difference(first, other, metric)
        if difference is None:
            known = [name for name in first.values if _statistic(first, name) is not None]
            raise ValueError(
                f"{metric} is not made of single cells' numbers, so its difference has no paired interval; expected "
                f"one of {', '.join(sorted(known))}"
            )
        value, low, high = difference
        lost = -low if higher else high
        passed &= lost <= margin
        because.append(
            f"{metric} of {first.name} is {first.values[metric]:.4g}, of {other.name} {other.values[metric]:.4g}: "
            f"{value:+.4g} (95 % interval {low:+.4g} to {high:+.4g}); {margin:g} may be lost, so it is "
            f"{'no worse' if lost <= margin else 'not shown to be no worse'}"
        )
    return Gate(passed, tuple(because))


def judge_by_evaluations(margin: float) -> Callable[[str, Path, Path], tuple[bool, str] | None]:
    """How a push decides where the new version and the published one carry an evaluation: by :func:`gate`.

    Args:
        margin: What the new version may lose.

    Returns:
        A function of a number and of the two folders: whether the new version is no worse, and why; ``None`` where one
        of them does not have the number, or they were not judged alike, of which a warning says why.
    """

    def judge(metric: str, new: Path, old: Path) -> tuple[bool, str] | None:
        given = [(name, read_published(folder)) for name, folder in (("this one", new), ("the published one", old))]
        sides = [replace(contender, name=name) for name, contender in given if contender is not None]
        if len(sides) < 2 or any(metric not in side.values for side in sides):
            return None
        if reason := why_not_comparable(*sides):
            log.warning("the evaluations cannot decide: of the published one, %s", reason)
            return None
        found = gate(sides, metric, margin)
        return found.passed, " ".join(found.because)

    return judge
