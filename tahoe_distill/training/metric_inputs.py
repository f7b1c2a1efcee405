"""What a run gives its evaluation metrics to read: of its models at all, and of one batch."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from tahoe_distill.objectives import Expression, ObjectiveSet


def given_to_metrics(objectives: ObjectiveSet, student_embedding: int, teacher_embedding: int | None) -> frozenset[str]:
    """What the metrics of a run may read, of :data:`tahoe_distill.metrics.READS`.

    Args:
        objectives: The run's objectives.
        student_embedding: E of the student.
        teacher_embedding: E of the teacher, ``None`` without a teacher.
    """
    conditions = {
        "terms": True,
        "embeddings": teacher_embedding is not None,
        "shared_space": teacher_embedding == student_embedding,
        "expression": _expression(objectives) is not None,
    }
    return frozenset(name for name, given in conditions.items() if given)


def metric_inputs(
    reads: str, outputs: Mapping[str, Any], batch: Mapping[str, Tensor], *, objectives: ObjectiveSet
) -> tuple:
    """Arguments of the ``update`` of a metric.

    Args:
        reads: What the metric reads, of :data:`tahoe_distill.metrics.READS`.
        outputs: What ``eval_forward`` returned: ``student``, ``teacher`` and ``losses``.
        batch: The batch as the student sees it.
        objectives: The run's objectives.
    """
    return _INPUTS[reads](outputs, batch, objectives)


def _terms(outputs, batch, objectives):
    return outputs["losses"], len(batch["gene"])


def _embeddings(outputs, batch, objectives):
    return outputs["student"].cell.float(), outputs["teacher"].cell.float()


def _predictions(outputs, batch, objectives):
    return _expression(objectives).measured(outputs["student"], batch)


def _expression(objectives):
    return next((o for o in objectives.objectives.values() if isinstance(o, Expression)), None)


_INPUTS: dict[str, Callable[..., tuple]] = {
    "terms": _terms,
    "embeddings": _embeddings,
    "shared_space": _embeddings,
    "expression": _predictions,
}
