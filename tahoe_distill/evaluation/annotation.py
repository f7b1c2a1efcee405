"""Cell types learned from vectors: by neighbours and by logistic regression."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tahoe_distill.evaluation.base import Evaluator, NotEvaluable, Scores, register_evaluator
from tahoe_distill.evaluation.bench import Bench
from tahoe_distill.evaluation.intervals import bootstrap, macro_f1_of, mean_of
from tahoe_distill.evaluation.subjects import CONTROL, STUDENT, TEACHER, Subject

NEIGHBORS = 10
# Pseudo-count of a cell in the proportions of cell types, so that a type nobody predicted costs a finite amount.
_SMOOTHING = 0.5


@dataclass(frozen=True)
class _Task:
    """Vectors to learn from with their labels, and vectors to label."""

    known: np.ndarray
    labels: np.ndarray
    cells: np.ndarray
    judged: np.ndarray


def _by_neighbors(task: _Task) -> np.ndarray:
    votes = min(NEIGHBORS, len(task.known))
    return KNeighborsClassifier(votes).fit(task.known, task.labels).predict(task.judged)


def _by_regression(task: _Task) -> np.ndarray:
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        # Not converged to the last digit is good enough for a label.
        warnings.filterwarnings("ignore", category=UserWarning)
        warnings.filterwarnings("ignore", message="lbfgs failed to converge")
        return classifier.fit(task.known, task.labels).predict(task.judged)


METHODS: dict[str, Callable[[_Task], np.ndarray]] = {"knn": _by_neighbors, "logistic": _by_regression}


@register_evaluator
class Annotation(Evaluator):
    """Macro-F1 and accuracy of labels, learned from the reference or, without one, from the other folds.

    ``knn`` is the vote of the ten nearest cells (Euclidean), ``logistic`` a logistic regression on standardised
    vectors. ``swap_`` learns from the teacher's vectors and labels the subject's: whether it may stand in for the
    teacher where a classifier already exists. ``proportions_kl`` is the divergence of the predicted proportions of cell
    types from the true ones, in nats.
    """

    name = "annotation"
    needs = frozenset({"labels"})
    primary = "knn_macro_f1"
    lower_is_better = frozenset({"proportions_kl"})

    def evaluate(self, subject: Subject, bench: Bench) -> Scores:
        """See the class."""
        truth = bench.labels[bench.judged]
        _check(truth, bench)
        found = {method: _predict(subject, subject, bench, method) for method in METHODS}
        if subject.shared_space and subject.role not in (TEACHER, CONTROL):
            found |= {f"swap_{method}": _predict(bench.teacher, subject, bench, method) for method in METHODS}
        values, intervals = {}, {}
        for name, labels in found.items():
            right = (labels == truth).astype(float)
            values[f"{name}_accuracy"] = float(accuracy_score(truth, labels))
            values[f"{name}_macro_f1"] = float(f1_score(truth, labels, average="macro", zero_division=0))
            intervals[f"{name}_accuracy"] = bootstrap(mean_of(right), len(truth), seed=bench.seed)
            intervals[f"{name}_macro_f1"] = bootstrap(macro_f1_of(truth, labels), len(truth), seed=bench.seed)
        values["proportions_kl"] = proportions_divergence(truth, found["knn"])
        cells, tables = {}, {}
        if subject.role in (TEACHER, STUDENT):
            cells["predicted_label"] = _spread(found["knn"], bench)
            names = np.unique(np.concatenate([truth, found["knn"]]))
            matrix = confusion_matrix(truth, found["knn"], labels=names)
            tables["confusion"] = {"labels": names.tolist(), "counts": matrix.tolist()}
        return Scores(values, intervals, cells, tables, bench.notes())


def _check(truth: np.ndarray, bench: Bench) -> None:
    if len(np.unique(truth)) < 2:
        found = ", ".join(np.unique(truth)) or "none"
        raise NotEvaluable(f"labels need at least two classes with enough cells, found {found}")
    if bench.reference is not None and (bench.reference_labels != "").sum() < NEIGHBORS:
        known = int((bench.reference_labels != "").sum())
        raise NotEvaluable(f"{known} labelled reference cells are too few for {NEIGHBORS} neighbours")


def _predict(learner: Subject, judged: Subject, bench: Bench, method: str) -> np.ndarray:
    """(judged,) labels of the cells that are judged: learned from one subject's vectors, given to another's."""
    found = np.empty(bench.query.n_obs, dtype=object)
    rng = np.random.default_rng(bench.seed)
    for task in _tasks(learner, judged, bench):
        labels = rng.permutation(task.labels) if judged.shuffled_labels else task.labels
        found[task.cells] = METHODS[method](_Task(task.known, labels, task.cells, task.judged))
    return found[bench.judged].astype(str)


def _tasks(learner: Subject, judged: Subject, bench: Bench) -> Iterator[_Task]:
    """One with a reference, one a fold without."""
    if bench.reference is not None and learner.reference is not None:
        known = np.flatnonzero(bench.reference_labels != "")
        labels = bench.reference_labels[known]
        yield _Task(learner.reference[known], labels, bench.judged, judged.query[bench.judged])
        return
    for learn, judge in bench.folds:
        yield _Task(learner.query[learn], bench.labels[learn], judge, judged.query[judge])


def _spread(labels: np.ndarray, bench: Bench) -> np.ndarray:
    """(n,) labels of all query cells, ``""`` for those that were not judged."""
    spread = np.full(bench.query.n_obs, "", dtype=object)
    spread[bench.judged] = labels
    return spread.astype(str)


def proportions_divergence(truth: np.ndarray, found: np.ndarray) -> float:
    """``KL(true || predicted)`` of the proportions of labels, each with a pseudo-count of half a cell; in nats."""
    names = np.unique(np.concatenate([truth, found]))
    p, q = ((np.array([(labels == name).sum() for name in names]) + _SMOOTHING) for labels in (truth, found))
    p, q = p / p.sum(), q / q.sum()
    return float((p * np.log(p / q)).sum())
