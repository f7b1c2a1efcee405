"""Names that a package hands out when they are asked for, so that importing it costs nothing (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def hand_out(package: str, names: Mapping[str, str | None]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: The package, its ``__name__``.
        names: Each name that it hands out, and the module that defines it; ``None`` for a module of the package.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(names[name] or f"{package}.{name}")
        value = module if names[name] is None else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return get, listed
