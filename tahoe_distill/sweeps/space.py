"""What a sweep tries: dimensions over keys of a run's YAML, the grid they span, and names that carry a setting."""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tahoe_distill.naming import check_keys, closest

Value = bool | int | float | str | None
_KEYS = ("key", "complement", "values", "choices", "low", "high", "log", "step")
# What a folder's name may hold; `+` joins objectives.
_ODD = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True)
class Dimension:
    """One thing that is swept.

    Args:
        name: Short, since names of runs carry it: ``tau``, ``alpha``, ``d``.
        keys: Dotted keys of the run's YAML that it sets; of named choices, all that any of them sets.
        values: What is tried, of listed values or by the names of choices; empty for a range.
        choices: What a named choice sets, by dotted key.
        complement: A key that gets one minus the value; ``None`` for none.
        low: Lower end of a range.
        high: Upper end of a range.
        log: Whether a range is drawn from evenly in its logarithm.
        step: Distance between the values of a range; a range of whole numbers has 1.
    """

    name: str
    keys: tuple[str, ...]
    values: tuple[Value, ...] = ()
    choices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    complement: str | None = None
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None

    @classmethod
    def read(cls, name: str, section: object) -> "Dimension":
        """From the YAML: ``{key, values}``, ``{key, low, high}`` or ``{choices: {name: {key: value}}}``.

        Raises:
            ValueError: When it says nothing to try, or too much.
        """
        where = f"space.{name}"
        if not isinstance(section, Mapping):
            raise ValueError(
                f"{where}: found {section!r}, expected a section such as {{key: optimizer.lr, values: […]}}"
            )
        check_keys(section, _KEYS, where)
        kinds = [kind for kind in ("values", "choices", "low") if kind in section]
        if len(kinds) != 1:
            raise ValueError(f"{where}: expected one of values, choices, or low and high; found {kinds or 'none'}")
        if kinds == ["choices"]:
            return cls._of_choices(name, section, where)
        if not isinstance(section.get("key"), str):
            raise ValueError(f"{where}: key is missing, the dotted key of the run's YAML that it sets")
        found = cls(name, (section["key"],), complement=section.get("complement"))
        if kinds == ["low"]:
            return found._with_range(section, where)
        return found._with_values(section["values"], where)

    @classmethod
    def _of_choices(cls, name: str, section: Mapping[str, Any], where: str) -> "Dimension":
        choices = section["choices"]
        if not isinstance(choices, Mapping) or not all(isinstance(keys, Mapping) for keys in choices.values()):
            raise ValueError(f"{where}.choices: expected names, each with the keys it sets; found {choices!r}")
        if not choices:
            raise ValueError(f"{where}.choices is empty: there is nothing to try")
        if "key" in section or "complement" in section:
            raise ValueError(f"{where}: each of the choices names its own keys; remove key and complement")
        keys = tuple(dict.fromkeys(key for one in choices.values() for key in one))
        return cls(name, keys, tuple(map(str, choices)), {str(label): dict(one) for label, one in choices.items()})

    def _with_values(self, values: object, where: str) -> "Dimension":
        if not isinstance(values, Sequence) or isinstance(values, str):
            raise ValueError(f"{where}.values: expected a list, found {values!r}")
        if not values:
            raise ValueError(f"{where}.values is empty: there is nothing to try")
        if any(isinstance(value, (list, Mapping)) for value in values):
            raise ValueError(f"{where}.values: expected numbers or words; give lists and sections names under choices")
        shown = [_shown(value) for value in values]
        if twice := next((text for text in shown if shown.count(text) > 1), None):
            raise ValueError(f"{where}.values has {twice} twice: give each once")
        self._check_complement(values, where)
        return Dimension(self.name, self.keys, tuple(values), complement=self.complement)

    def _with_range(self, section: Mapping[str, Any], where: str) -> "Dimension":
        low, high, step = section["low"], section.get("high"), section.get("step")
        if not all(_is_number(end) for end in (low, high)) or not low < high:
            raise ValueError(f"{where}: expected two numbers, low below high; found {low!r} and {high!r}")
        if section.get("log") and (low <= 0 or step is not None):
            raise ValueError(f"{where}: with log the range must be above zero and has no step; found low {low!r}")
        if step is None and isinstance(low, int) and isinstance(high, int):
            step = 1
        self._check_complement((low, high), where)
        log = bool(section.get("log"))
        return Dimension(self.name, self.keys, (), {}, self.complement, low=low, high=high, log=log, step=step)

    def _check_complement(self, values: Iterable[object], where: str) -> None:
        if self.complement is not None and not all(_is_number(value) and 0 <= value <= 1 for value in values):  # type: ignore[operator]
            raise ValueError(f"{where}: complement gets one minus the value, so values must lie in 0 … 1")

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Every key of the run that it sets."""
        return (*self.keys, *([self.complement] if self.complement else []))

    @property
    def is_whole(self) -> bool:
        """Whether a range is of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def settings(self, value: Any) -> dict[str, Any]:
        """What the run is given for a value, by dotted key."""
        if self.choices:
            return dict(self.choices[value])
        return {self.keys[0]: value} | ({self.complement: round(1 - value, 12)} if self.complement else {})

    def part(self, value: Any) -> str:
        """What the name of a run says of a value: ``tau2``; of a named choice its name."""
        return _ODD.sub("_", _shown(value) if self.choices else f"{self.name}{_shown(value)}")


def read_space(section: object) -> tuple[Dimension, ...]:
    """The dimensions of a sweep.

    Raises:
        ValueError: When there are none, one is wrong, or two set the same key.
    """
    if not isinstance(section, Mapping) or not section:
        raise ValueError("space is empty: expected what to sweep, such as tau: {key: …, values: [1, 2, 4]}")
    found = tuple(Dimension.read(str(name), one) for name, one in section.items())
    owner: dict[str, str] = {}
    for dimension in found:
        for key in dimension.all_keys:
            if key in owner:
                raise ValueError(f"space.{owner[key]} and space.{dimension.name} both set {key}: sweep it once")
            owner[key] = dimension.name
    return found


def grid(space: Sequence[Dimension]) -> Iterator[dict[str, Value]]:
    """Every setting of a grid.

    Raises:
        ValueError: For a range, which has no grid.
    """
    for dimension in space:
        if not dimension.values:
            raise ValueError(
                f"space.{dimension.name} is a range, of which there is no grid: list its values, or take "
                "sampler: random or tpe with a number of trials"
            )
    names = [dimension.name for dimension in space]
    for values in itertools.product(*(dimension.values for dimension in space)):
        yield dict(zip(names, values, strict=True))


def settings_of(space: Sequence[Dimension], params: Mapping[str, Any]) -> dict[str, Any]:
    """What a run is given for a setting, by dotted key."""
    return {
        key: value
        for dimension in space
        for key, value in dimension.settings(params[dimension.name]).items()
    }  # fmt: skip


def run_name(prefix: str, space: Sequence[Dimension], params: Mapping[str, Any]) -> str:
    """The name of a setting's runs, such as ``tx1-tau2-alpha0.5-d256-l4``."""
    return "-".join([prefix, *(dimension.part(params[dimension.name]) for dimension in space)])


def check_swept_keys(space: Sequence[Dimension], run: Mapping[str, Any]) -> None:
    """Refuse a key that the run's YAML does not have.

    Args:
        space: The dimensions.
        run: The run, nested.

    Raises:
        ValueError: With the closest key that there is.
    """
    known = list(all_keys(run))
    for dimension in space:
        for key in dimension.all_keys:
            if key in known:
                continue
            near = closest(key, known)
            raise ValueError(
                f"space.{dimension.name} sets {key}, which the run's YAML does not have"
                f"{f'; did you mean {near}?' if near else ''} Where the run leaves it to a default, say so under run:, "
                f"as {key}: its value"
            )


def all_keys(section: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a nested mapping, of sections too."""
    for key, value in section.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from all_keys(value, f"{prefix}{key}.")


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
