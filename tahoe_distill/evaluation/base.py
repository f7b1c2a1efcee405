"""What an evaluator is: the numbers it gives, what it needs for them, and how it is found by name."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tahoe_distill.naming import Registry

if TYPE_CHECKING:
    from tahoe_distill.evaluation.bench import Bench
    from tahoe_distill.evaluation.subjects import Subject

# What an evaluator may need of the cells (the first ones) or of the subject, and what to do where it is not there.
NEEDS = {
    "labels": "the cells have no labels: name their obs column with --label-key",
    "batches": "the cells have no batches: name their obs column with --batch-key",
    "conditions": "the cells have no conditions: name their obs column with --condition-key and the control with "
    "--control",
    "teacher": "it compares with the teacher, and this is the teacher",
    "teacher_space": "its vectors do not lie in the teacher's space",
    "model": "it is no model of the Tahoe-x1 family, only vectors",
    "gene_embeddings": "the model or its teacher has no gene embeddings in context",
    "expression_head": "the model or its teacher has no expression head",
}


class NotEvaluable(ValueError):
    """Why an evaluator gives no numbers for these cells: one class, too few cells, and the like; no error of a run."""


@dataclass(frozen=True)
class Scores:
    """What one evaluator found for one subject.

    Args:
        values: Number by name.
        intervals: 95 % interval by the names of some of ``values``.
        cells: (n,) number or text for each cell, by name, for figures and paired comparisons.
        tables: Anything else that JSON can hold, by name, such as a confusion matrix.
        notes: What a reader of the numbers must know: cells left out and why.
    """

    values: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    cells: Mapping[str, np.ndarray] = field(default_factory=dict)
    tables: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Evaluator(ABC):
    """One way to judge vectors of cells. Built without arguments.

    Attributes:
        name: Its name on the command line and before the slash of each of its numbers.
        needs: Of :data:`NEEDS`, what it needs.
        primary: The number that stands for the others where one must.
        lower_is_better: Names of its numbers of which less is better; of all others more is.
        of_controls: Whether baselines and controls are judged too, or models under test only.
    """

    name: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()
    primary: ClassVar[str] = ""
    lower_is_better: ClassVar[frozenset[str]] = frozenset()
    of_controls: ClassVar[bool] = True

    @abstractmethod
    def evaluate(self, subject: "Subject", bench: "Bench") -> Scores | Mapping[str, float]:
        """Judge one subject.

        Args:
            subject: Its vectors, and its model where there is one.
            bench: The cells, the teacher, and what all evaluators share.

        Returns:
            Numbers by name, or :class:`Scores` with intervals and numbers of each cell beside them.

        Raises:
            NotEvaluable: With the reason, where the cells do not allow it.
        """

    def is_higher_better(self, name: str) -> bool:
        """Whether more of one of its numbers is better."""
        return name not in self.lower_is_better


def _check_class(cls: type, origin: str) -> str:
    if not (isinstance(cls, type) and issubclass(cls, Evaluator)):
        raise ValueError(f"{origin} is {cls!r}; expected a subclass of tahoe_distill.evaluation.Evaluator")
    if not cls.name or "/" in cls.name:
        raise ValueError(f"{origin} is named {cls.name!r}: set the class attribute name, without a slash")
    if not cls.needs <= NEEDS.keys():
        raise ValueError(f"{origin} needs {sorted(cls.needs - NEEDS.keys())}; it may need {', '.join(NEEDS)}")
    if not cls.primary:
        raise ValueError(f"{origin} names no primary number: set the class attribute primary")
    return cls.name


EVALUATORS: Registry[Evaluator] = Registry("evaluator", "tahoe_distill_evaluators", _check_class)


def register_evaluator(cls: type[Evaluator]) -> type[Evaluator]:
    """Class decorator: make an evaluator known by its ``name``; every evaluation that can, runs it.

    Raises:
        ValueError: When it is no proper evaluator, or another class has its name.
    """
    return EVALUATORS.register(cls)
