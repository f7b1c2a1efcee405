"""Samples out of shard files that have been checked: size, structure and hash, before the first sample is used."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from streaming.base.format.base.reader import FileInfo
from streaming.base.format.mds import MDSReader
from streaming.base.format.mds.encodings import mds_decode
from streaming.base.hashing import get_hash

from tahoe_distill.data.batch import EXPRESSIONS, GENES
from tahoe_distill.data.shards.safe_pickle import UnsafePickleError, safe_loads
from tahoe_distill.errors import from_worker

# Fastest first.
_HASHES = ("xxh3_64", "xxh64", "xxh128", "xxh32", "blake2b", "blake2s", "sha1", "md5", "sha256", "sha512")

log = logging.getLogger(__name__)


class ShardError(RuntimeError):
    """A shard that is missing, damaged, or holds what may not be read.

    Takes one message, so that it crosses from a worker process whole. There PyTorch puts the worker's traceback around
    it: here the shard comes first again, and the traceback is kept beside it.

    Args:
        message: Shard, what was found, what to do.

    Attributes:
        worker_traceback: What PyTorch made of it, or ``None`` where it arose in this process.
    """

    def __init__(self, message: str):
        own = from_worker(message)
        super().__init__(message if own is None else own)
        self.worker_traceback = None if own is None else message


class CellReader(MDSReader):
    """Reads one shard. Made by :meth:`adopt` from the reader that streaming built from the index.

    Streaming itself uses whatever bytes it finds in the local folder: it hashes a file only in the moment of its
    download. Here each process checks a shard when it first opens it, so that a damaged cache or copy is found too.
    """

    fetched: bool
    checked: bool
    # Numbers of genes lie below it; ``None`` where no vocabulary is known.
    vocab_size: int | None

    @classmethod
    def adopt(cls, reader: Any, fetched: bool) -> "CellReader":
        """Turn a plain reader into one of this class.

        Args:
            reader: An ``MDSReader``.
            fetched: Whether the file comes from a remote, and can be fetched again when it is bad.
        """
        reader.__class__ = cls
        reader.fetched = fetched
        reader.checked = False
        reader.vocab_size = None
        return reader

    @property
    def filename(self) -> str:
        """Path of the uncompressed file."""
        return os.path.join(self.dirname, self.split, self.raw_data.basename)

    def validate(self, allow_unsafe_types: bool) -> None:
        """Nothing to refuse: the one unsafe encoding, ``pkl``, is never unpickled here."""

    def get_item(self, idx: int) -> dict[str, Any]:
        """A cell, looked at: what is wrong with it is named here, and not deep inside the model.

        Raises:
            ShardError: With the shard, the sample, the column and the value.
        """
        sample = self.decode_sample(self.get_sample_data(idx))
        problem = cell_problem(sample, self.vocab_size)
        if problem is not None:
            raise ShardError(
                f"{self.filename}, sample {idx}: {problem}; prepare the cells again, with the vocabulary of this run"
            )
        return sample

    def get_sample_data(self, idx: int) -> bytes:
        """Bytes of a sample.

        Raises:
            FileNotFoundError: When the shard is not there yet; streaming then prepares it.
            ShardError: When it is damaged.
        """
        self.check()
        return super().get_sample_data(idx)

    def decode_sample(self, data: bytes) -> dict[str, Any]:
        """Columns of a sample, pickled ones through :func:`safe_loads`.

        Raises:
            ShardError: For a pickle of anything but numbers, and for bytes that are no sample.
        """
        try:
            return dict(self._columns(data))
        except UnsafePickleError as error:
            raise ShardError(f"{self.filename}: refused {error}") from error
        except (ValueError, IndexError, UnicodeDecodeError) as error:
            raise ShardError(f"{self.filename}: a sample cannot be decoded ({error}); the shard is damaged") from error

    def _columns(self, data: bytes) -> Iterator[tuple[str, Any]]:
        sizes, place = [], 0
        for size in self.column_sizes:
            if not size:
                size = int.from_bytes(data[place : place + 4], "little")
                place += 4
            sizes.append(size)
        for name, encoding, size in zip(self.column_names, self.column_encodings, sizes):
            part = data[place : place + size]
            yield name, safe_loads(part) if encoding == "pkl" else mds_decode(encoding, part)
            place += size

    def check(self) -> None:
        """Read the file and compare it with the index, once for each process.

        Raises:
            ShardError: When it is damaged; a copy of something that can be had again is removed.
        """
        if self.checked:
            return
        with open(self.filename, "rb") as file:
            data = file.read()
        problem = damage(data, self.raw_data, self.samples)
        if problem is None:
            self.checked = True
            return
        again = self.fetched or self.zip_data is not None
        if again:
            # Left in place, the next run would trust it.
            remove(self)
        source = "its copy was removed, so the next run fetches it anew" if again else "copy or prepare it again"
        raise ShardError(f"{self.filename}: the shard is damaged: {problem}; {source}")


def cell_problem(sample: Mapping[str, Any], vocab_size: int | None) -> str | None:
    """What is wrong with the genes and expressions of a sample, or ``None``.

    Args:
        sample: Its columns.
        vocab_size: Tokens of the vocabulary, ``None`` where it is not known.
    """
    missing = [name for name in (GENES, EXPRESSIONS) if name not in sample]
    if missing:
        return f"has no column {missing[0]!r}, found {', '.join(sample) or 'none'}"
    genes, expressions = np.asarray(sample[GENES]), np.asarray(sample[EXPRESSIONS])
    if genes.size != expressions.size:
        return f"{GENES} has {genes.size} values and {EXPRESSIONS} {expressions.size}, expected as many"
    if genes.size and (genes.min() < 0 or (vocab_size is not None and genes.max() >= vocab_size)):
        wrong = genes[(genes < 0) | (genes >= (vocab_size or np.inf))][0]
        limit = "0 or more" if vocab_size is None else f"0 to {vocab_size - 1}"
        return f"{GENES} holds {wrong}, expected numbers of the vocabulary, {limit}"
    return None


def damage(data: bytes, info: FileInfo, samples: int) -> str | None:
    """What is wrong with the bytes of a shard, or ``None``.

    Args:
        data: The uncompressed file.
        info: Its entry in the index.
        samples: Number of its samples by the index.
    """
    if len(data) != info.bytes:
        return f"{len(data)} bytes where the index says {info.bytes}"
    algorithm = next((name for name in _HASHES if name in info.hashes), None)
    if algorithm is not None:
        found = get_hash(algorithm, data)
        return (
            None if found == info.hashes[algorithm] else f"{algorithm} {found}, the index says {info.hashes[algorithm]}"
        )
    if len(data) < 8 + 4 * samples or int.from_bytes(data[:4], "little") != samples:
        return f"its header does not name the {samples} samples of the index"
    offsets = np.frombuffer(data, np.uint32, samples + 1, 4).astype(np.int64)
    if (np.diff(offsets) <= 0).any() or offsets[-1] != len(data):
        return "its table of samples does not fit its length"
    return None


def remove(shard: CellReader) -> None:
    """Remove what is on disk of a shard that can be had again: the uncompressed file, and a fetched compressed one."""
    infos = [shard.raw_data, shard.zip_data if shard.fetched else None]
    for info in filter(None, infos):
        # Another worker may have been faster.
        with suppress(FileNotFoundError):
            os.remove(os.path.join(shard.dirname, shard.split, info.basename))
