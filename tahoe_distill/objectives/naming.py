"""Error texts for names that nobody knows."""

import difflib
from collections.abc import Iterable


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
    closest = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
    hint = f"; did you mean {closest[0]!r}?" if closest else ";"
    return f"unknown {what} {name!r}{hint} Known: {', '.join(known) or 'none'}"
