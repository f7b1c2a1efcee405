"""What a teacher cache was made of: kept beside its shards, and compared before anything is learned from them."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tahoe_distill.files import replace_text

CACHE_FILE = "cache.json"
# There while a cache is being written; renamed when it is whole.
PARTIAL_FILE = "cache.partial.json"
# What a cache may keep beside the cell embedding, and in which number formats.
STORABLE = ("expression", "mvc", "pooled")
PRECISIONS = ("float16", "float32")
_VERSION = 1


@dataclass(frozen=True)
class CacheRecord:
    """The teacher, the collator and the vocabulary behind a cache, and what it holds.

    Args:
        teacher: ``fingerprint`` of its tensors and vocabulary, ``source``, ``options``, ``dtype`` and its ``config``.
        collator: The collator's settings that decide which genes and values the teacher saw, by split.
        vocabulary: Digest of the vocabulary's tokens and their numbers.
        stored: What is kept of each output: ``cell``, and of ``expression``, ``mvc`` and ``pooled`` what was wanted.
        sees_masks: Whether the teacher saw masked cells; the masks are then kept too.
        precision: Number format of the kept outputs, ``float16`` or ``float32``.
        splits: By the name of the split, its ``cells``, the ``views`` of each, and ``data``, a digest of its shards.
    """

    teacher: dict[str, Any]
    collator: dict[str, dict[str, Any]]
    vocabulary: str
    stored: tuple[str, ...]
    sees_masks: bool
    precision: str
    splits: dict[str, dict[str, Any]]

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, over everything that decides what an output is."""
        parts = {**dataclasses.asdict(self), "splits": None}
        # Where the teacher came from does not change its outputs.
        parts["teacher"] = {name: self.teacher[name] for name in ("fingerprint", "dtype", "config")}
        return digest(parts)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON; the file appears whole or not at all."""
        content = {"version": _VERSION, "fingerprint": self.fingerprint, **dataclasses.asdict(self)}
        replace_text(path, json.dumps(content, indent=2) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "CacheRecord":
        """Read one.

        Raises:
            FileNotFoundError: When there is none.
            ValueError: When it is not one, or of another version.
        """
        path = Path(path)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content.pop("version") != _VERSION:
                raise ValueError(f"expected version {_VERSION}")
            fingerprint = content.pop("fingerprint")
            record = cls(**{**content, "stored": tuple(content["stored"])})
        except FileNotFoundError:
            raise FileNotFoundError(_no_cache(path.parent)) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not the record of a teacher cache ({error}); write the cache anew") from error
        if fingerprint != record.fingerprint:
            raise ValueError(f"{path} was altered: its fingerprint does not fit its content; write the cache anew")
        return record


def _no_cache(folder: Path) -> str:
    unfinished = (folder / PARTIAL_FILE).is_file()
    return (
        f"{folder} holds no {'finished ' if unfinished else ''}teacher cache; "
        f"{'go on with' if unfinished else 'write one with'} `tahoe-distill cache -f CONFIG --out {folder}`"
    )


def digest(content: Any) -> str:
    """SHA-256, in hexadecimal, over a value that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
