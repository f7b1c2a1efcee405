"""Sections of a YAML as plain Python values."""

from typing import Any


def plain(value: Any) -> Any:
    """OmegaConf containers, or anything mapping- or list-like, as plain dicts and lists."""
    if hasattr(value, "items"):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return value
    return [plain(item) for item in value]
