"""Numbers that change over a run: pure functions of its progress, so exact after a resume."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tahoe_distill.naming import unknown


def _linear(start: float, end: float, fraction: float) -> float:
    return start + (end - start) * fraction


def _exponential(start: float, end: float, fraction: float) -> float:
    return start * (end / start) ** fraction


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


CURVES: dict[str, Callable[[float, float, float], float]] = {
    "linear": _linear,
    "exponential": _exponential,
    "cosine": _cosine,
}
_KEYS = ("schedule", "start", "end", "stages")


@dataclass(frozen=True)
class Schedule:
    """A value for each moment of a run.

    Args:
        start: Value at the beginning.
        end: Value at the end.
        curve: How it gets from one to the other: a key of ``CURVES``.
        stages: Split the run into this many equal parts and hold the value within each, the first part at ``start``
            and the last at ``end``; ``None`` for a value that changes with every batch.

    Raises:
        ValueError: When no such curve exists, the curve cannot join the two ends, or there are too few stages.

    Examples:
        >>> Schedule(4.0, 0.5, stages=5)(0.45)
        2.25
    """

    start: float
    end: float
    curve: str = "linear"
    stages: int | None = None

    def __post_init__(self) -> None:
        if self.curve not in CURVES:
            raise ValueError(unknown("schedule", self.curve, CURVES))
        if self.curve == "exponential" and self.start * self.end <= 0:
            raise ValueError(
                f"an exponential schedule cannot go from {self.start:g} to {self.end:g}, through zero: give two "
                "positive ends, or use schedule: linear"
            )
        self._check_stages()

    def _check_stages(self) -> None:
        if self.stages is None:
            return
        if isinstance(self.stages, bool) or not isinstance(self.stages, int) or self.stages < 1:
            raise ValueError(
                f"stages must be a whole number of at least 1, found {self.stages!r}; leave it out for a value that "
                "changes with every batch"
            )
        if self.stages == 1 and self.start != self.end:
            raise ValueError(
                f"one stage cannot hold both {self.start:g} and {self.end:g}: use at least 2 stages, or one number"
            )

    def __call__(self, progress: float) -> float:
        """The value at ``progress``, the part of the run that is done: 0 … 1, clipped."""
        if math.isnan(progress):
            raise ValueError("the progress of the run is NaN; expected a number in 0 … 1")
        if self.stages is not None:
            return self._at(self.stage(progress) / max(self.stages - 1, 1))
        return self._at(_clipped(progress))

    def stage(self, progress: float) -> int:
        """Which of the stages ``progress`` lies in, the first being 0; always 0 without stages."""
        if self.stages is None:
            return 0
        # The small number keeps a boundary such as 0.29 * 100 = 28.999… in the stage it opens.
        return min(int(_clipped(progress) * self.stages + 1e-9), self.stages - 1)

    def _at(self, fraction: float) -> float:
        # The ends are returned as written: rounding would miss them by an ulp.
        if fraction == 0.0:
            return self.start
        return self.end if fraction == 1.0 else CURVES[self.curve](self.start, self.end, fraction)

    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value; every curve is monotonic, so they are the ends."""
        return min(self.start, self.end), max(self.start, self.end)

    def is_always(self, value: float) -> bool:
        """Whether the schedule never leaves ``value``."""
        return self.bounds() == (value, value)


def _clipped(progress: float) -> float:
    return min(max(float(progress), 0.0), 1.0)


def stage_table(schedule: Schedule) -> tuple[float, ...]:
    """The value of each stage in order, or the two ends of a schedule without stages.

    Examples:
        >>> stage_table(Schedule(4.0, 0.5, stages=5))
        (4.0, 3.125, 2.25, 1.375, 0.5)
    """
    if schedule.stages is None:
        return schedule.start, schedule.end
    return tuple(schedule(stage / schedule.stages) for stage in range(schedule.stages))


def parse_schedule(spec: object, name: str) -> Schedule:
    """A schedule from YAML.

    Args:
        spec: A number, or ``{schedule, start, end}`` with ``stages`` if wanted.
        name: Name of the setting, for errors.

    Returns:
        The schedule; a number becomes one that never changes.

    Raises:
        ValueError: When the setting is neither, or a key is unknown or missing.
    """
    if isinstance(spec, Schedule):
        return spec
    if not isinstance(spec, Mapping):
        number = _number(spec, name)
        return Schedule(number, number)
    for key in spec:
        if key not in _KEYS:
            raise ValueError(unknown(f"key of the schedule {name}", key, _KEYS))
    for key in ("start", "end"):
        if key not in spec:
            raise ValueError(f"the schedule {name} has no {key!r}: it needs schedule, start and end")
    start, end = (_number(spec[key], f"{name}.{key}") for key in ("start", "end"))
    try:
        return Schedule(start, end, spec.get("schedule", "linear"), spec.get("stages"))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _number(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(
            f"{name} must be a finite number or a schedule {{schedule, start, end, stages}}, found {value!r} "
            "(YAML reads 1e-3 as text: write 1.0e-3)"
        )
    return float(value)


class Scheduled(nn.Module):
    """A scheduled value that a traced graph reads as a tensor, so that a change does not trace it anew.

    The buffer is not saved: ``step`` restores it from the progress of the run.

    Args:
        spec: A number or a schedule, as in YAML.
        name: Name of the setting, for errors.
        minimum: Lowest value allowed.
        maximum: Highest value allowed.
        exclusive: Whether ``minimum`` itself is refused.

    Raises:
        ValueError: When the specification is wrong or leaves its range.
    """

    def __init__(
        self,
        spec: object,
        name: str,
        *,
        minimum: float = -math.inf,
        maximum: float = math.inf,
        exclusive: bool = False,
    ):
        super().__init__()
        self.value: Tensor
        self.schedule = parse_schedule(spec, name)
        self.progress = 0.0
        low, high = self.schedule.bounds()
        if low < minimum or high > maximum or (exclusive and low == minimum):
            expected = f"{'above' if exclusive else 'at least'} {minimum:g}"
            if maximum < math.inf:
                expected += f" and at most {maximum:g}"
            found = f"{low:g}" if low == high else f"{self.schedule.start:g} to {self.schedule.end:g}"
            raise ValueError(f"{name} must be {expected}, found {found}")
        self.register_buffer("value", torch.zeros(()), persistent=False)
        self.step(0.0)

    def step(self, progress: float) -> None:
        """Move to ``progress`` (0 … 1) of the run."""
        self.progress = progress
        self.value.fill_(self.schedule(progress))

    def reset_parameters(self) -> None:
        """Restore the buffer after the module was materialised from the meta device."""
        self.step(self.progress)

    def current(self) -> float:
        """The value as a float, without reading the device."""
        return self.schedule(self.progress)

    def extra_repr(self) -> str:
        return repr(self.schedule)
