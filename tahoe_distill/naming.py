"""Names that nobody knows: which known name was meant, and which names there are."""

import difflib
from collections.abc import Iterable


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
