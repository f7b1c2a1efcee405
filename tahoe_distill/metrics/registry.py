"""The metrics by name, and for every number that is reported, whether more or less of it is better."""

from collections.abc import Collection, Iterable

from torchmetrics import Metric

from tahoe_distill.metrics.base import LossTerm
from tahoe_distill.naming import Registry, unknown

# What a metric may read of a run, and what its `update` is then called with.
READS = {
    "terms": "the batch's loss terms by name, each a mean, and its number of cells",
    "embeddings": "the cell embeddings (C, Es) of the student and (C, Et) of the teacher",
    "shared_space": "the cell embeddings (C, E) of student and teacher, where both lie in one space",
    "expression": "the student's predictions, the measured expression and the masked genes, (C, G) each",
}
MODES = ("max", "min")

_TOTAL, _TERM = "loss", "_loss"


def _check_class(cls: type, origin: str) -> str:
    if not (isinstance(cls, type) and issubclass(cls, Metric)):
        raise ValueError(f"{origin} is {cls!r}; expected a subclass of torchmetrics.Metric")
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not name:
        raise ValueError(f"{origin} has no name: set the class attribute name")
    if "/" in name or name == _TOTAL or name.endswith(_TERM):
        raise ValueError(
            f"{origin} cannot be called {name!r}: evaluations and loss terms have such names; choose one "
            f"without a slash that does not end with {_TERM}"
        )
    if not isinstance(cls.higher_is_better, bool):
        raise ValueError(
            f"{origin} does not say which values are better, found higher_is_better = {cls.higher_is_better!r}: set it "
            "to True or False"
        )
    reads = getattr(cls, "reads", None)
    if reads not in READS:
        raise ValueError(f"{origin} reads {reads!r}: set the class attribute reads to one of {', '.join(READS)}")
    return name


METRICS: Registry[Metric] = Registry("metric", "tahoe_distill_metrics", _check_class)


def register_metric(cls: type[Metric]) -> type[Metric]:
    """Class decorator: make a metric known by its ``name``; every evaluation that gives what it reads reports it.

    The class is built without arguments, and states three class attributes: ``name``, ``higher_is_better`` and
    ``reads``, one of :data:`READS`, which says what its ``update`` is called with.

    Raises:
        ValueError: When it is no such metric, or another class has its name.
    """
    return METRICS.register(cls)


def build_metrics(terms: Iterable[str], given: Collection[str]) -> dict[str, Metric]:
    """The metrics that a run's evaluations report, by name.

    Args:
        terms: Keys of the run's objectives.
        given: What the run gives metrics to read, of :data:`READS`.

    Raises:
        ValueError: When a registered metric cannot be built.
    """
    metrics: dict[str, Metric] = {_TOTAL: LossTerm("total"), **{f"{term}{_TERM}": LossTerm(term) for term in terms}}
    for name in METRICS.names():
        cls = METRICS.find(name)
        if getattr(cls, "reads", None) not in given:
            continue
        try:
            metrics[name] = cls()
        except TypeError as error:
            raise ValueError(f"the metric {name} could not be built without arguments: {error}") from error
    return metrics


def direction(name: str, mode: str | None = None, *, where: str = "metric") -> str:
    """Whether more or less of a reported number is better.

    Args:
        name: As it is reported: ``eval/centered_cosine``, ``eval/cosine_loss``; what stands
            before the last slash does not count.
        mode: ``max`` or ``min`` where the user has said it, which holds for any number.
        where: What the user calls the setting, for the message.

    Returns:
        ``max`` or ``min``.

    Raises:
        ValueError: For another mode, and without one for a name that is not known.
    """
    if mode is not None:
        if mode not in MODES:
            raise ValueError(f"{where}: mode must be max or min; found {mode!r}")
        return mode
    last = name.rpartition("/")[2]
    if last in METRICS.names():
        return _mode(METRICS.find(last))
    if last == _TOTAL or last.endswith(_TERM):
        return _mode(LossTerm)
    known = {*METRICS.names(), _TOTAL, f"<objective>{_TERM}"}
    raise ValueError(
        f"{where}: {unknown('metric', last, known)}. Register it (docs/training.md, Metrics), or say which values of "
        f"{name} are better with mode: max or min"
    )


def is_better(new: float, old: float, mode: str) -> bool:
    """Whether ``new`` is truly better than ``old`` in a mode of :data:`MODES`; NaN never is."""
    return new > old if mode == "max" else new < old


def _mode(cls: type[Metric]) -> str:
    return "max" if cls.higher_is_better else "min"
