"""The weighted objectives of a run, as one module."""

from collections.abc import Mapping

from torch import Tensor, nn

from tahoe_distill.objectives.base import Objective, Outputs
from tahoe_distill.objectives.schedules import Scheduled


class ObjectiveSet(nn.Module):
    """Weighted sum of objectives.

    An objective whose weight is zero, for now or for good, is still computed and reported.

    Args:
        objectives: Each by its key in the YAML.
        weights: Weight of each, by the same keys.

    Attributes:
        needs: What the objectives read of the batch and of the models' outputs, all together.
        needs_teacher: Whether any of them compares with a teacher.
        teacher_needs: What they read of the teacher's outputs, all together.
        columns: Batch keys that they read beside the usual ones.
    """

    def __init__(self, objectives: Mapping[str, Objective], weights: Mapping[str, Scheduled]):
        super().__init__()
        self.objectives = nn.ModuleDict(objectives)
        self.weights = nn.ModuleDict(weights)
        self.needs = frozenset().union(*(objective.needs for objective in objectives.values()))
        self.needs_teacher = any(objective.needs_teacher for objective in objectives.values())
        self.teacher_needs = frozenset().union(*(objective.teacher_needs for objective in objectives.values()))
        self.columns = frozenset(o.column for o in objectives.values() if o.column is not None)

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare two models on a batch.

        Args:
            student: What the student saw and said.
            teacher: What the teacher saw and said, ``None`` without a teacher.
            batch: The batch as collated.

        Returns:
            The scalar to minimise, and each objective's own scalar before weighting.

        Raises:
            ValueError: When an objective returns something else than a scalar.
        """
        terms = {key: objective(student, teacher, batch) for key, objective in self.objectives.items()}
        for key, term in terms.items():
            if term.dim():
                raise ValueError(f"objective {key!r} must return a scalar, found the shape {tuple(term.shape)}")
        return sum(self.weights[key].value * term for key, term in terms.items()), terms

    def step(self, progress: float) -> None:
        """Set every schedule to ``progress``, the part of the run that is done (0 … 1)."""
        for module in self.modules():
            if isinstance(module, Scheduled):
                module.step(progress)

    def scheduled_values(self) -> dict[str, float]:
        """The numbers in force, such as ``{"weight/cosine": 1.0, "tau/relational": 2.25}``."""
        values = {f"weight/{key}": weight.current() for key, weight in self.weights.items()}
        for key, objective in self.objectives.items():
            for name, module in objective.named_modules():
                if isinstance(module, Scheduled):
                    values[f"{name}/{key}"] = module.current()
        return values
