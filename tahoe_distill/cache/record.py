"""What a teacher cache was made of: kept beside its shards, and compared before anything is learned from them."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass

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
        teacher: ``fingerprint`` of its tensors and vocabulary, ``source``, ``size``, ``dtype`` and its ``config``.
        collator: What decides which genes and values the teacher saw, as :func:`seen_by_teacher` tells, by split.
        vocabulary: Digest of the tokens, as :func:`vocabulary_digest` tells.
        stored: What is kept of each output: ``cell``, and of ``expression``, ``mvc`` and ``pooled`` what was wanted.
        sees_masks: Whether the teacher saw masked cells; the masks are then kept too.
        precision: Number format of the kept outputs, ``float16`` or ``float32``.
        splits: By the name of the split, its ``cells``, the ``views`` of each, and ``data``, a digest of its shards.
    """

    teacher: dict
    collator: dict
    vocabulary: str
    stored: tuple
    sees_masks: bool
    precision: str
    splits: dict

    @property
    def fingerprint(self):
        """SHA-256, in hexadecimal, over everything that decides what an output is."""
        parts = {**dataclasses.asdict(self), "splits": None}
        # Where the teacher came from does not change what it said.
        parts["teacher"] = {name: self.teacher[name] for name in ("fingerprint", "dtype", "config")}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def save(self, path):
        """Write it as JSON, under a temporary name first."""
        content = {"version": _VERSION, "fingerprint": self.fingerprint, **dataclasses.asdict(self)}
        with open(f"{path}.tmp", "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        os.replace(f"{path}.tmp", path)

    @classmethod
    def load(cls, path):
        """Read one.

        Raises:
            FileNotFoundError: When there is none.
            ValueError: When it is not one, or of another version.
        """
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            if content.pop("version") != _VERSION:
                raise ValueError(f"expected version {_VERSION}")
            fingerprint = content.pop("fingerprint")
            record = cls(**{**content, "stored": tuple(content["stored"])})
        except FileNotFoundError:
            folder = os.path.dirname(path)
            unfinished = os.path.isfile(os.path.join(folder, PARTIAL_FILE))
            raise FileNotFoundError(
                f"{folder} holds no {'finished ' if unfinished else ''}teacher cache; "
                f"{'go on with' if unfinished else 'write one with'} `tahoe-distill cache -f CONFIG --out {folder}`"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not the record of a teacher cache ({error}); write the cache anew") from error
        if fingerprint != record.fingerprint:
            raise ValueError(f"{path} was altered: its fingerprint does not fit its content; write the cache anew")
        return record


def seen_by_teacher(collator):
    """The settings of a :class:`Tx1Collator` that decide which genes and values a teacher sees, by name.

    The seed is not among them: a cache keeps the genes themselves.
    """
    names = (
        "max_length",
        "unexp_padding",
        "pad_value",
        "do_mlm",
        "do_binning",
        "log_transform",
        "target_sum",
        "mlm_probability",
        "mask_value",
        "keep_first_n_tokens",
        "num_bins",
        "right_binning",
        "use_chem_token",
    )
    augment = None if collator.augment is None else dataclasses.asdict(collator.augment)
    return {**{name: getattr(collator, name) for name in names}, "augment": augment}


def shards_digest(dataset):
    """SHA-256, in hexadecimal, over the files of a data set as their index names them, and their order."""
    files = [
        (shard.raw_data.basename, shard.samples, shard.raw_data.bytes, shard.raw_data.hashes)
        for shard in dataset.shards
    ]
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def vocabulary_digest(vocab):
    """SHA-256, in hexadecimal, over a vocabulary's tokens and their numbers."""
    return hashlib.sha256(json.dumps(vocab.tokens, sort_keys=True).encode()).hexdigest()
