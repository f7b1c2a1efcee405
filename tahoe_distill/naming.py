"""Names that users write: the class behind one, and which known name was meant by one that nobody knows."""

import difflib
import importlib
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


def closest(name: object, known: Iterable[str]) -> str | None:
    """The known name that is most like ``name``, or ``None`` where none is."""
    found = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """Say that ``name`` is unknown, which known name is closest, and which names there are.

    Args:
        what: What was being named, such as ``objective``.
        name: What was found.
        known: The names that would have worked.

    Returns:
        One sentence for an error message.
    """
    known = sorted(known)
    near = closest(name, known)
    hint = f"; did you mean {near!r}?" if near else ";"
    return f"unknown {what} {name!r}{hint} Known: {', '.join(known) or 'none'}"


def check_keys(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse keys of ``given`` that are not in ``known``.

    Args:
        given: Mapping from the user's configuration, or its keys.
        known: Names that mean something there.
        where: Name of the section, for the message.

    Raises:
        ValueError: For the first unknown key, with the closest known one.
    """
    known = sorted(known)
    for key in given:
        if key in known:
            continue
        near = closest(key, known)
        hint = f"did you mean {near!r}?" if near else f"expected one of {', '.join(known)}"
        raise ValueError(f"{where} has no option {key!r}: {hint}")


class Registry(Generic[T]):
    """The classes of one kind.

    Args:
        kind: What they are, for messages, such as ``objective``.
        group: Entry-point group by which a package offers one.
        check: Called with a class and where it comes from; raises a :class:`ValueError` where it is none of the kind.

    Attributes:
        registered: Class by name; those of entry points are not among them until they are found.
    """

    def __init__(self, kind: str, group: str, check: Callable[[type[T], str], None]):
        self.kind, self.group, self.check = kind, group, check
        self.registered: dict[str, type[T]] = {}

    def register(self, cls: type[T]) -> type[T]:
        """Class decorator: make a class known by its ``name``.

        Raises:
            ValueError: When it is none of the kind, or another class has its name.
        """
        self.check(cls, cls.__name__)
        other = self.registered.get(cls.name)
        if other is not None and _path(other) != _path(cls):
            raise ValueError(
                f"the {self.kind} name {cls.name!r} of {_path(cls)} is taken by {_path(other)}: choose another"
            )
        self.registered[cls.name] = cls
        return cls

    def names(self) -> list[str]:
        """Every known name in order: of this project, registered, or from an entry point."""
        return sorted({*self.registered, *self._entry_points()})

    def find(self, name: str) -> type[T]:
        """The class behind a name or behind ``module.path:ClassName``.

        Raises:
            ValueError: When there is none.
        """
        if name in self.registered:
            return self.registered[name]
        points = self._entry_points()
        if name in points:
            return self._checked(points[name].load(), name)
        if ":" in name:
            return self._imported(name)
        raise ValueError(unknown(self.kind, name, self.names()))

    def _imported(self, path: str) -> type[T]:
        module, _, name = path.partition(":")
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"cannot import the {self.kind} {path!r} ({error}): expected module.path:ClassName on the Python path, "
                f"or one of {', '.join(self.names())}"
            ) from error
        return self._checked(cls, path)

    def _checked(self, cls: type[T], origin: str) -> type[T]:
        self.check(cls, origin)
        return cls

    def _entry_points(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self.group)}


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"
