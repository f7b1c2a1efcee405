"""The data set that training reads: streams of checked shards, epochs that are whole or end with an error.

Every failure is raised with the shard's name, and samples know their number and epoch.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from streaming import Stream, StreamingDataset
from streaming.base.dataset import _Iterator, _ShardState
from streaming.base.format.base.reader import Reader
from streaming.base.format.mds import MDSReader
from streaming.base.world import World

from tahoe_distill.data.batch import EPOCH, SAMPLE
from tahoe_distill.data.shards.fetch import downloader
from tahoe_distill.data.shards.reader import CellReader, ShardError, remove
from tahoe_distill.data.shards.shared_blocks import taking_a_number
from tahoe_distill.data.shards.writer import INDEX_FILE

log = logging.getLogger(__name__)


class CellStream(Stream):
    """A ``streaming.Stream`` of Tahoe's or our shards; takes the same arguments.

    Shards in the ``pkl`` encoding are read without unpickling, so ``allow_unsafe_types`` is never needed.
    """

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._downloader = downloader(self.remote)

    @property
    def fetched(self) -> bool:
        """Whether shards come from elsewhere."""
        return self.remote is not None and self.remote != self.local

    def get_shards(self, world: World, allow_unsafe_types: bool) -> list[Reader]:
        """Readers of all shards.

        Raises:
            ShardError: When the index is missing, damaged or names files outside its folder, or when local shards are
                missing or of another size.
        """
        index = os.path.join(self.local, self.split, INDEX_FILE)
        try:
            # Nothing is decoded while shards are listed, and our readers never unpickle.
            shards = super().get_shards(world, True)
        # Whatever a store or a damaged index raises, its reason goes on with the name of the index.
        except Exception as error:
            where = f"{os.path.join(self.remote, self.split, INDEX_FILE)} -> {index}" if self.remote else index
            raise ShardError(
                f"{where}: the index of the shards cannot be used ({type(error).__name__}: {error}); expected the "
                "index.json of a finished MDS set"
            ) from error
        for shard in shards:
            if type(shard) is not MDSReader:
                raise ShardError(f"{index}: expected MDS shards, found {type(shard).__name__}")
            CellReader.adopt(shard, self.fetched)
            _check_names(shard, index)
        if shards and not shards[0].hashes:
            log.warning("%s: the shards carry no hashes, so a flipped byte in one cannot be noticed", index)
        if not self.fetched:
            self._check_files(shards)
        return shards

    def _check_files(self, shards: list[Any]) -> None:
        problems = [problem for shard in shards if (problem := _file_problem(shard)) is not None]
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise ShardError(f"{len(problems)} of {len(shards)} shards cannot be used: {'; '.join(problems[:5])}{more}")

    def prepare_shard(self, shard: Any) -> int:
        """Fetch and decompress a shard.

        Raises:
            ShardError: When that fails; what was fetched is removed, so that no later run trusts it.
        """
        try:
            change = super().prepare_shard(shard)
        # Stores raise errors of their own libraries; each must end the epoch with the shard's name.
        except Exception as error:
            remove(shard)
            source = os.path.join(self.remote, self.split) if self.remote else "no remote"
            raise ShardError(
                f"{shard.filename}: the shard cannot be prepared from {source} ({type(error).__name__}: {error})"
            ) from error
        # At once, or a process that fetches ahead leaves a bad copy behind when another one ends the run.
        shard.check()
        return change


class CellDataset(StreamingDataset):
    """Cells of one or several :class:`CellStream`.

    Streaming notes the failure of a background thread and ends the epoch as if it were over; other workers then wait
    for the failed shard for ever. Here the failure is kept and raised, and the shard is handed to the others, who fail
    on it in turn.

    Args:
        streams: The streams.
        **options: As for ``StreamingDataset``.
    """

    def __init__(self, *, streams: list[CellStream], **options: Any):
        self._failure: Exception | None = None
        self._epoch = 0
        with taking_a_number():
            super().__init__(streams=streams, **options)

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> "CellDataset":
        """From a plain mapping: ``streams`` of stream options by name, or one stream's options among the others."""
        options = dict(options)
        sections = options.pop("streams", None)
        if sections:
            streams = [CellStream(**section) for section in sections.values()]
        else:
            own = ("remote", "local", "split")
            streams = [CellStream(**{name: options.pop(name) for name in own if name in options})]
        return cls(streams=streams, **options)

    def get_item(self, sample_id: int, retry: int = 7) -> dict[str, Any]:
        """Columns of a sample, and its number and epoch."""
        try:
            sample = super().get_item(sample_id, retry)
        except ShardError as error:
            self._fail(error)
            raise
        except RuntimeError as error:
            raise self._failure or error from error
        return {**sample, SAMPLE: int(sample_id), EPOCH: self._epoch}

    def prepare_shard(self, shard_id: int, blocking: bool = True) -> None:
        """Fetch a shard; on failure keep the reason and free those who wait for it."""
        try:
            super().prepare_shard(shard_id, blocking)
        # Not only ShardError: a cache limit that is too small raises inside streaming.
        except Exception as error:
            self._failure = self._failure or error
            if self._cache_filelock.is_locked:
                # Streaming raises with the lock in hand when nothing can be evicted.
                self._cache_filelock.release(force=True)
            self._shard_states[shard_id] = _ShardState.LOCAL
            raise

    def _fail(self, error: Exception) -> None:
        """Keep the reason and stop the background threads, which nobody would stop otherwise."""
        self._failure = self._failure or error
        if hasattr(self, "_event"):
            self._event.set()

    def _get_work(self, epoch: int, sample_in_epoch: int) -> np.ndarray:
        self._epoch = int(epoch)
        return super()._get_work(epoch, sample_in_epoch)

    def _prepare_thread(self, it: _Iterator) -> None:
        self._leaving(it, super()._prepare_thread)

    def _ready_thread(self, it: _Iterator) -> None:
        self._leaving(it, super()._ready_thread)

    def _leaving(self, it: _Iterator, loop: Callable[[_Iterator], None]) -> None:
        """Run a background loop; count it as gone when it fails too, or stopping the epoch waits for it for ever."""
        try:
            loop(it)
        except Exception as error:
            self._failure = self._failure or error
            it.on_exit()
            raise

    def _each_sample_id(self, it: _Iterator) -> Iterator[int]:
        yield from super()._each_sample_id(it)
        if self._event.is_set():
            raise self._failure or ShardError("a background thread failed while reading shards; see the log")
        if it.yield_index < it.total and not it.should_exit():
            raise ShardError(f"the epoch ended after {it.yield_index} of {it.total} samples without a reason")


def _check_names(shard: MDSReader, index: str) -> None:
    for info in filter(None, (shard.raw_data, shard.zip_data)):
        parts = info.basename.replace("\\", "/").split("/")
        if os.path.isabs(info.basename) or ".." in parts or "" in parts:
            raise ShardError(f"{index}: names {info.basename!r}, a file outside its folder; it cannot be trusted")


def _file_problem(shard: CellReader) -> str | None:
    """What is wrong with the local files of a shard, by their presence and sizes, or None."""
    folder = os.path.join(shard.dirname, shard.split)
    for info in filter(None, (shard.raw_data, shard.zip_data)):
        path = os.path.join(folder, info.basename)
        if os.path.isfile(path):
            size = os.path.getsize(path)
            return None if size == info.bytes else f"{path} has {size} bytes where the index says {info.bytes}"
    info = shard.zip_data or shard.raw_data
    return f"{os.path.join(folder, info.basename)} is missing"
