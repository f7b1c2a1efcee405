"""The cells of an evaluation: what is known of each, which are left out, and what evaluators share."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData

from tahoe_distill.evaluation.base import NotEvaluable

if TYPE_CHECKING:
    from tahoe_distill.evaluation.subjects import Subject

log = logging.getLogger(__name__)

# Folds where cells are judged by other cells of the same file.
FOLDS = 5
_MISSING = ("", "nan", "NaN", "None", "<NA>")


@dataclass(frozen=True)
class Columns:
    """Columns of ``obs`` that say something about each cell; ``None`` where there is none.

    Args:
        label: Its type.
        batch: Its batch: donor, plate, sample.
        condition: What was done to it, such as a drug.
        control: The condition that is none, such as ``DMSO``.
        group: Cells that must not be told apart by folds, such as a donor's.
    """

    label: str | None = None
    batch: str | None = None
    condition: str | None = None
    control: str | None = None
    group: str | None = None

    def check(self, cells: AnnData, where: str, *, only: Iterable[str] | None = None) -> None:
        """Refuse names that ``obs`` does not have, and a control that is no condition.

        Raises:
            ValueError: With the columns there are.
        """
        names = {"label": self.label, "batch": self.batch, "condition": self.condition, "group": self.group}
        for kind, name in names.items():
            if name is not None and (only is None or kind in only) and name not in cells.obs:
                found = ", ".join(map(str, cells.obs.columns)) or "none"
                raise ValueError(f"the {where} cells have no obs column {name!r} (--{kind}-key); found {found}")
        if (self.condition is None) != (self.control is None):
            raise ValueError(
                "conditions need a control to be compared with: give --condition-key and --control, or none"
            )
        if self.condition is not None and (only is None or "condition" in only):
            found = np.unique(text(cells.obs[self.condition]))
            if self.control not in found:
                raise ValueError(
                    f"no cell has {self.condition} = {self.control!r}, the control; found {', '.join(found[:10])}"
                )


def text(column: pd.Series) -> np.ndarray:
    """(n,) values of a column as text, ``""`` where one is missing."""
    values = column.astype(object).where(column.notna(), "").astype(str).to_numpy(dtype=object)
    return np.where(np.isin(values, _MISSING), "", values).astype(str)


@dataclass(frozen=True)
class Bench:
    """Cells to judge by, and the teacher.

    Args:
        query: Cells that are judged, with the matrix that models read as ``X``.
        reference: Cells that classifiers and baselines may learn from; ``None`` to judge by folds of ``query``.
        columns: What is known of a cell.
        seed: Of all that is drawn.
    """

    query: AnnData
    reference: AnnData | None = None
    columns: Columns = field(default_factory=Columns)
    seed: int = 0
    # All that is judged, the teacher from the first, and what evaluators keep between subjects.
    subjects: "dict[str, Subject]" = field(default_factory=dict)
    memory: dict[tuple[str, str], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns.check(self.query, "query")
        if self.reference is not None:
            self.columns.check(self.reference, "reference", only=("label",))

    @property
    def teacher(self) -> "Subject":
        """The teacher's vectors."""
        return self.subjects["teacher"]

    @property
    def available(self) -> set[str]:
        """What the cells give of :data:`~tahoe_distill.evaluation.base.NEEDS`."""
        columns = {"labels": self.columns.label, "batches": self.columns.batch, "conditions": self.columns.condition}
        return {need for need, column in columns.items() if column is not None}

    @cached_property
    def labels(self) -> np.ndarray:
        """(n,) labels of the query cells, ``""`` where one is missing."""
        return self._column(self.columns.label)

    @cached_property
    def batches(self) -> np.ndarray:
        """(n,) batches of the query cells, ``""`` where one is missing."""
        return self._column(self.columns.batch)

    @cached_property
    def conditions(self) -> np.ndarray:
        """(n,) conditions of the query cells, ``""`` where one is missing."""
        return self._column(self.columns.condition)

    @cached_property
    def reference_labels(self) -> np.ndarray:
        """(m,) labels of the reference cells, ``""`` where one is missing."""
        if self.reference is None or self.columns.label is None:
            return np.zeros(0, dtype=str)
        return text(self.reference.obs[self.columns.label])

    @cached_property
    def folds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Numbers of the cells to learn from and to judge, where there is no reference: every labelled cell once.

        Labels are spread evenly over the folds, and groups are kept together.

        Raises:
            NotEvaluable: When there are fewer cells or groups than folds, or no label has enough cells.
        """
        from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

        cells = self.judged
        if len(cells) < 2 * FOLDS:
            raise NotEvaluable(f"{len(cells)} cells are too few for {FOLDS} folds; give more, or a reference")
        labels = self.labels[cells] if self.columns.label else None
        groups = None if self.columns.group is None else self._column(self.columns.group)[cells]
        if groups is not None and len(np.unique(groups)) < FOLDS:
            raise NotEvaluable(f"{len(np.unique(groups))} groups are too few for {FOLDS} folds; give a reference")
        kind = {
            (False, False): KFold,
            (True, False): StratifiedKFold,
            (False, True): GroupKFold,
            (True, True): StratifiedGroupKFold,
        }[labels is not None, groups is not None]
        options = {} if kind is GroupKFold else {"shuffle": True, "random_state": self.seed}
        return [(cells[a], cells[b]) for a, b in kind(FOLDS, **options).split(cells, labels, groups)]

    @cached_property
    def judged(self) -> np.ndarray:
        """Numbers of the query cells that labels can be judged by: labelled, and of a label that can be learned.

        With a reference the label must occur there; without, in as many cells as there are folds.
        """
        if self.columns.label is None:
            return np.arange(self.query.n_obs)
        if self.reference is not None:
            known = np.setdiff1d(self.reference_labels, [""])
        else:
            names, counts = np.unique(self.labels[self.labels != ""], return_counts=True)
            known = names[counts >= FOLDS]
        return np.flatnonzero(np.isin(self.labels, known))

    def notes(self) -> tuple[str, ...]:
        """What was left out of judging by labels, and why."""
        missing = int((self.labels == "").sum())
        left = np.setdiff1d(np.unique(self.labels), [*np.unique(self.labels[self.judged]), ""])
        where = "not in the reference" if self.reference is not None else f"of fewer than {FOLDS} cells"
        found = [f"{missing} cells have no label and were left out"] if missing else []
        return (*found, *([f"labels {where} were left out: {', '.join(left)}"] if left.size else []))

    def _column(self, name):
        if name is None:
            raise NotEvaluable("the cells have no such column")
        return text(self.query.obs[name])


def sample(obs: pd.DataFrame, columns: Columns, count: int, *, seed: int) -> np.ndarray:
    """Numbers of ``count`` cells in their order, each label in its share where there are labels; all when fewer.

    Raises:
        ValueError: When ``count`` is not positive.
    """
    if count < 1:
        raise ValueError(f"--num-samples must be at least 1, found {count}")
    if count >= len(obs):
        return np.arange(len(obs))
    labels = text(obs[columns.label]) if columns.label in obs else np.zeros(len(obs), dtype=str)
    order = np.random.default_rng(seed).permutation(len(obs))
    # A cell's place among its label's: the smallest places over all labels are a sample in proportion.
    shuffled = pd.Series(labels[order])
    place = (shuffled.groupby(shuffled).cumcount() + 0.5) / shuffled.groupby(shuffled).transform("size")
    return np.sort(order[np.argsort(place.to_numpy(), kind="stable")[:count]])
