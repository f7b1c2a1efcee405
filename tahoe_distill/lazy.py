"""What is imported when it is asked for: names that a package hands out (PEP 562), and packages of an extra."""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
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


def how_to_install(extra: str = "") -> str:
    """The command that installs this package, to be named in messages and cards.

    The one place to change when the name is registered on a package index: until then pip would find nothing by it, or
    what somebody else registered.

    Args:
        extra: One of the extras of ``setup.py``; none for the base.

    Examples:
        >>> how_to_install("fit")
        "pip install '.[fit]' in the folder of tahoe_distill's repository"
    """
    what = f"'.[{extra}]'" if extra else "."
    return f"pip install {what} in the folder of tahoe_distill's repository"


def needed(name: str, extra: str) -> ModuleType:
    """Import a package that an extra brings.

    Args:
        name: The module.
        extra: The extra.

    Raises:
        ImportError: Where it is not installed, with what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise ImportError(f"{package} is not installed: {how_to_install(extra)}") from error
