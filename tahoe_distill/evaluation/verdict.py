"""What the numbers say in plain language, and whether the controls failed as they must."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tahoe_distill.evaluation.baselines import RIDGE
from tahoe_distill.evaluation.intervals import draws, interval, macro_f1_of
from tahoe_distill.evaluation.run import Evaluation
from tahoe_distill.evaluation.subjects import CONTROL, TEACHER, Subject

# Macro-F1 that a student may lose and still stand in for its teacher.
MARGIN = 0.02
_OVERLAP, _F1, _ACCURACY = "fidelity/knn_overlap_10", "annotation/knn_macro_f1", "annotation/knn_accuracy"


@dataclass(frozen=True)
class Verdict:
    """Whether a student may replace its teacher for annotation.

    Args:
        student: Its name.
        replaces_teacher: ``None`` where the cells have no labels to tell by.
        because: Why, in sentences.
        margin: Macro-F1 that may be lost.
        difference: Student's macro-F1 minus the teacher's, and its 95 % interval.
    """

    student: str
    replaces_teacher: bool | None
    because: str
    margin: float
    difference: tuple[float, float, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def judge(found: Evaluation, student: str, margin: float = MARGIN) -> Verdict:
    """Whether a student may replace its teacher for annotation at a margin.

    It may when the lower end of the paired bootstrap interval of its macro-F1 minus the teacher's is no less than
    ``-margin``, and the controls failed as they must.

    Args:
        found: The evaluation.
        student: Name of the student.
        margin: Macro-F1 that may be lost.
    """
    values, neighbors = found.values.get(student, {}), _neighbors(found, student)
    if _F1 not in values or _F1 not in found.values.get(TEACHER, {}):
        return Verdict(student, None, f"There are no labels that it could be told by. {neighbors}".strip(), margin)
    low, high = _difference(found, student)
    difference = values[_F1] - found.values[TEACHER][_F1]
    sound = [control for control in controls(found) if not control["failed_as_it_must"]]
    replaces = low >= -margin and not sound
    says = (
        f"Its macro-F1 is {values[_F1]:.3f} where the teacher's is {found.values[TEACHER][_F1]:.3f}: a difference of "
        f"{difference:+.3f} (95 % interval {low:+.3f} to {high:+.3f}), where {-margin:+.3f} would be allowed."
    )
    if sound:
        says += f" The control “{sound[0]['control']}” did not fail, so the numbers cannot be trusted."
    return Verdict(student, replaces, f"{says} {neighbors}".strip(), margin, (difference, low, high))


def _difference(found: Evaluation, student: str) -> tuple[float, float]:
    """Interval of the difference of the two macro-F1 over the same draws of cells."""
    judged = found.bench.judged
    truth = found.bench.labels[judged]
    statistics = [
        macro_f1_of(truth, found.cells[name]["predicted_label"][judged].astype(str)) for name in (student, TEACHER)
    ]
    drawn = [draws(statistic, len(truth), seed=found.bench.seed) for statistic in statistics]
    return interval(drawn[0] - drawn[1])


def _neighbors(found: Evaluation, student: str) -> str:
    mine = found.values.get(student, {}).get(_OVERLAP)
    if mine is None:
        return ""
    ridge = found.values.get(RIDGE, {}).get(_OVERLAP)
    beside = "" if ridge is None else f"; ridge regression from the counts keeps {ridge:.0%}"
    return f"It keeps {mine:.0%} of the teacher's ten nearest neighbours{beside}."


def controls(found: Evaluation) -> list[dict[str, Any]]:
    """Each control, whether it failed as it must, and why.

    Both are counted from what chance gives. Permuted genes must lose half the neighbours that the student keeps beyond
    it; a classifier that learned shuffled labels must lose three quarters of the teacher's accuracy beyond it.
    """
    checks = (_check(found, subject) for subject in found.subjects.values() if subject.role == CONTROL)
    return [check for check in checks if check is not None]


def _check(found: Evaluation, control: Subject) -> dict[str, Any] | None:
    measured = _ACCURACY if control.shuffled_labels else _OVERLAP
    here, there = (found.values.get(name, {}).get(measured) for name in (control.name, control.expects))
    if here is None or there is None:
        return None
    chance, share = _chance(found, control), 0.25 if control.shuffled_labels else 0.5
    limit = chance + share * max(there - chance, 0.0)
    return {
        "control": control.name,
        "number": measured,
        "value": here,
        "must_be_below": limit,
        "failed_as_it_must": bool(here < limit or here <= chance),
    }


def _chance(found: Evaluation, control: Subject) -> float:
    """What knowing nothing reaches: always the most frequent label, or ten neighbours drawn at random."""
    if not control.shuffled_labels:
        return min(10 / max(found.bench.query.n_obs - 1, 1), 1.0)
    labels = found.bench.labels[found.bench.judged]
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))
