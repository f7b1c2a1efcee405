"""From ``model.objectives`` in the YAML to the objectives of a run."""

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from tahoe_distill.naming import Registry, unknown
from tahoe_distill.objectives.base import NEEDS, Objective, Shapes, one_of
from tahoe_distill.objectives.schedules import Scheduled
from tahoe_distill.objectives.weighted import ObjectiveSet

# The one key of model.objectives that names no objective, and what it may say.
_BALANCE, _BALANCES = "balance", ("none", "gradient_norm")


def _check_class(cls: type, origin: str) -> str:
    if not (isinstance(cls, type) and issubclass(cls, Objective)):
        raise ValueError(f"{origin} is {cls!r}; expected a subclass of tahoe_distill.objectives.Objective")
    if not cls.name:
        raise ValueError(f"{origin} has no name: set the class attribute name")
    if not cls.needs <= NEEDS:
        raise ValueError(f"{origin} needs {sorted(cls.needs - NEEDS)}; it may need {', '.join(sorted(NEEDS))}")
    return cls.name


OBJECTIVES: Registry[Objective] = Registry("objective", "tahoe_distill_objectives", _check_class)


def register_objective(cls: type[Objective]) -> type[Objective]:
    """Class decorator: make an objective known by its ``name``.

    Raises:
        ValueError: When it is not a proper objective, or another class has its name.
    """
    return OBJECTIVES.register(cls)


def objective_names() -> list[str]:
    """Every name that ``model.objectives`` can use, in order: built in, registered, or from an entry point."""
    return OBJECTIVES.names()


def find_objective(name: str) -> type[Objective]:
    """The class behind a name or behind ``module.path:ClassName``.

    Raises:
        ValueError: When there is none.
    """
    return OBJECTIVES.find(name)


def build_objectives(spec: Mapping, shapes: Shapes) -> ObjectiveSet:
    """Build the objectives of a run.

    Args:
        spec: ``model.objectives``: for each objective a weight, or its settings with a ``weight`` (1 by default). A key
            is the objective's name, with ``:anything`` behind it or a ``type:`` beside its settings when one
            objective is used twice. ``balance: gradient_norm`` makes the weights shares of the gradient.
        shapes: Sizes of the two models.

    Returns:
        The objectives, at the start of the run.

    Raises:
        ValueError: When a name, a setting or a weight is wrong, or an objective needs a teacher and there is none.

    Examples:
        >>> shapes = Shapes(student_width=8, student_embedding=8, student_layers=1, teacher_width=8,
        ...                 teacher_embedding=8, teacher_layers=2)
        >>> sorted(build_objectives({"cosine": 1.0, "mse": {"weight": 0.5, "normalize": True}}, shapes).objectives)
        ['cosine', 'mse']
    """
    if not isinstance(spec, Mapping) or not set(spec) - {_BALANCE}:
        raise ValueError(
            f"model.objectives must name at least one objective, such as {{cosine: 1.0}}; found {spec!r}. "
            f"Known: {', '.join(objective_names())}"
        )
    objectives, weights = {}, {}
    balance = one_of(spec.get(_BALANCE, "none"), _BALANCES, f"model.objectives.{_BALANCE}") != "none"
    named = {key: entry for key, entry in spec.items() if key != _BALANCE}
    for key, entry in named.items():
        try:
            objectives[key], weights[key] = _build_one(key, entry, shapes)
        except ValueError as error:
            raise ValueError(f"model.objectives.{key}: {error}") from error
    if all(weight.schedule.is_always(0.0) for weight in weights.values()):
        raise ValueError(f"all weights of model.objectives are zero ({', '.join(weights)}): nothing would be learned")
    return ObjectiveSet(objectives, weights, balance=balance)


def _build_one(key: object, entry: Any, shapes: Shapes) -> tuple[Objective, Scheduled]:
    if not isinstance(key, str) or not key or "." in key or hasattr(nn.ModuleDict, key):
        raise ValueError(f"{key!r} cannot name an objective: choose a key without dots, and name the class by type:")
    settings: dict[str, Any] = (
        dict(entry) if isinstance(entry, Mapping) else {"weight": 1.0 if entry is None else entry}
    )
    weight = Scheduled(settings.pop("weight", 1.0), "weight", minimum=0.0)
    cls = find_objective(settings.pop("type", key.split(":", 1)[0]))
    options = _options(cls)
    for name in settings:
        if name not in options:
            raise ValueError(unknown(f"setting of {cls.name}", name, {*options, "weight", "type"}))
    try:
        objective = cls(shapes=shapes, **settings)
    except TypeError as error:
        raise ValueError(f"{cls.name} could not be built from {settings}: {error}") from error
    if objective.needs_teacher and not shapes.has_teacher:
        raise ValueError(f"{cls.name} compares with a teacher and this run has none: set model.teacher or remove it")
    return objective, weight


def _options(cls: type[Objective]) -> set[str]:
    """Keyword arguments of a class, those that its parents take through ``**kwargs`` included."""
    names: set[str] = set()
    for owner in cls.__mro__:
        if "__init__" not in vars(owner):
            continue
        parameters = inspect.signature(vars(owner)["__init__"]).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return names - {"self", "shapes"}
