"""The weighted objectives of a run."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tahoe_distill.objectives.balancing import GradientBalance, views_of
from tahoe_distill.objectives.base import Objective, Outputs
from tahoe_distill.objectives.schedules import Scheduled


class ObjectiveSet(nn.Module):
    """Weighted sum of objectives.

    An objective whose weight is zero, for now or for good, is still computed and reported.

    Args:
        objectives: Each by its key in the YAML.
        weights: Weight of each, by the same keys.
        balance: Whether weights are shares of the gradient: see :class:`~.balancing.GradientBalance`.

    Attributes:
        needs: What the objectives read of the batch and of the models' outputs, all together.
        teacher_needs: What they read of the teacher's outputs, all together.
    """

    def __init__(self, objectives: Mapping[str, Objective], weights: Mapping[str, Scheduled], *, balance: bool = False):
        super().__init__()
        self.objectives = nn.ModuleDict(objectives)
        self.weights = nn.ModuleDict(weights)
        self.balance = GradientBalance(len(objectives)) if balance else None
        self.needs = frozenset().union(*(objective.needs for objective in objectives.values()))
        self.teacher_needs = frozenset().union(*(objective.teacher_needs for objective in objectives.values()))

    def forward(self, student: Outputs, teacher: Outputs | None, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """Compare two models on a batch.

        Args:
            student: The student's outputs.
            teacher: The teacher's outputs, ``None`` without a teacher.
            batch: The batch as collated.

        Returns:
            The scalar to minimise, and each objective's own scalar before weighting.

        Raises:
            ValueError: When an objective returns something else than a scalar.
        """
        views: list[Tensor] | None = None
        if self.balance is not None and self.training and torch.is_grad_enabled():
            student, views = views_of(student)
        terms = {key: objective(student, teacher, batch) for key, objective in self.objectives.items()}
        for key, term in terms.items():
            if term.dim():
                raise ValueError(f"objective {key!r} must return a scalar, found the shape {tuple(term.shape)}")
        if self.balance is not None and views is not None:
            self.balance.update(list(terms.values()), views)
        weights = self._weights()
        return sum(weights[key] * term for key, term in terms.items()), terms

    def _weights(self) -> dict[str, Tensor]:
        """What each term counts with."""
        plain = {key: weight.value for key, weight in self.weights.items()}
        if self.balance is None:
            return plain
        return dict(zip(plain, self.balance(torch.stack(list(plain.values())))))

    def step(self, progress: float) -> None:
        """Set every schedule to ``progress``, the part of the run that is done (0 … 1)."""
        for module in self.modules():
            if isinstance(module, Scheduled):
                module.step(progress)

    def scheduled_values(self) -> dict[str, float]:
        """The numbers in force, such as ``{"weight/cosine": 1.0, "tau/relational": 2.25}``.

        With balanced weights, also ``balanced/cosine``, what the term counts with; these are read off the device.
        """
        values = {name: scheduled.current() for name, scheduled in self._scheduled().items()}
        if self.balance is not None:
            values |= {f"balanced/{key}": float(weight) for key, weight in self._weights().items()}
        return values

    def stages_ended(self, before: float, now: float) -> list[str]:
        """Names of the scheduled numbers, as in :meth:`scheduled_values`, that have left a stage on the way.

        Args:
            before: Progress of the run (0 … 1) at the beginning of a batch.
            now: Progress at its end; the end of the run ends no stage.
        """
        schedules = {name: scheduled.schedule for name, scheduled in self._scheduled().items()}
        return [name for name, schedule in schedules.items() if schedule.stage(before) != schedule.stage(now)]

    def _scheduled(self) -> dict[str, Scheduled]:
        found: dict[str, Scheduled] = {f"weight/{key}": weight for key, weight in self.weights.items()}
        for key, objective in self.objectives.items():
            modules = objective.named_modules()
            found |= {f"{name}/{key}": module for name, module in modules if isinstance(module, Scheduled)}
        return found
