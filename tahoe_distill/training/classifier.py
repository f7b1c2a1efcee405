"""A run that trains a classifier beside its student: whose probe it learns from, and the head that the export gets."""

from typing import Any

from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from tahoe_distill.objectives import ObjectiveSet
from tahoe_distill.objectives.kl import KullbackLeibler
from tahoe_distill.probes import Probe


def check_teacher(objectives: ObjectiveSet, fingerprint: str) -> None:
    """Refuse a probe of another teacher, and two heads for one student.

    Args:
        objectives: The run's.
        fingerprint: Of its teacher.

    Raises:
        ValueError: With the objective and the way out.
    """
    for key, objective in objectives.objectives.items():
        wanted = objective.teacher_fingerprint
        if wanted is not None and wanted != fingerprint:
            raise ValueError(
                f"model.objectives.{key}: the probe was fitted on the teacher {wanted[:12]}, this run has "
                f"{fingerprint[:12]}; fit one on this teacher with `tahoe-distill probe`, or name the other teacher"
            )
    heads = _heads(objectives)
    if len(heads) > 1:
        raise ValueError(
            f"model.objectives: {' and '.join(heads)} train a head each, and a student has one: remove all "
            "but one of them"
        )


def gather_head(objectives: ObjectiveSet) -> Probe | None:
    """The student's head, on the CPU of the first process; ``None`` without one. Every process must call this."""
    heads = _heads(objectives)
    if not heads:
        return None
    (objective,) = heads.values()
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: Any = get_model_state_dict(objective, options=options)
    # Only the first process is given them.
    return objective.trained_head(weights) if weights else None


def _heads(objectives: ObjectiveSet) -> dict[str, KullbackLeibler]:
    return {
        key: objective
        for key, objective in objectives.objectives.items()
        if isinstance(objective, KullbackLeibler) and objective.probe is not None
    }
