"""Checks of configuration keys: an unknown one is an error that names the closest known one."""

import difflib


def check_keys(given, known, where):
    """Refuse keys of ``given`` that are not in ``known``.

    Args:
        given: Mapping from the user's configuration.
        known: Names that mean something there.
        where: Name of the section, for the message.

    Raises:
        ValueError: For the first unknown key, with the closest known one.
    """
    known = sorted(known)
    for key in given:
        if key in known:
            continue
        close = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
        raise ValueError(f"{where} has no option {key!r}: {hint}")


def plain(value):
    """OmegaConf containers, or anything mapping- or list-like, as plain dicts and lists."""
    if hasattr(value, "items"):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return value
    return [plain(item) for item in value]
