"""One source of shards: the index checked, shards fetched, and every failure told with the shard's name."""

import logging
import os

from streaming import Stream
from streaming.base.format.mds import MDSReader

from tahoe_distill.data.schema import INDEX_FILE
from tahoe_distill.data.shards.fetch import downloader
from tahoe_distill.data.shards.reader import CellReader, ShardError, remove

log = logging.getLogger(__name__)


class CellStream(Stream):
    """A ``streaming.Stream`` of Tahoe's or our shards; takes the same arguments.

    Shards in the ``pkl`` encoding are read without unpickling, so ``allow_unsafe_types`` is never needed.
    """

    def __init__(self, **options):
        super().__init__(**options)
        self._downloader = downloader(self.remote)

    @property
    def fetched(self):
        """Whether shards come from elsewhere."""
        return self.remote is not None and self.remote != self.local

    def get_shards(self, world, allow_unsafe_types):
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

    def _check_files(self, shards):
        problems = [problem for shard in shards if (problem := _file_problem(shard)) is not None]
        if problems:
            more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise ShardError(f"{len(problems)} of {len(shards)} shards cannot be used: {'; '.join(problems[:5])}{more}")

    def prepare_shard(self, shard):
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


def _check_names(shard, index):
    for info in filter(None, (shard.raw_data, shard.zip_data)):
        parts = info.basename.replace("\\", "/").split("/")
        if os.path.isabs(info.basename) or ".." in parts or "" in parts:
            raise ShardError(f"{index}: names {info.basename!r}, a file outside its folder; it cannot be trusted")


def _file_problem(shard):
    """What is wrong with the local files of a shard, by their presence and sizes, or None."""
    folder = os.path.join(shard.dirname, shard.split)
    for info in filter(None, (shard.raw_data, shard.zip_data)):
        path = os.path.join(folder, info.basename)
        if os.path.isfile(path):
            size = os.path.getsize(path)
            return None if size == info.bytes else f"{path} has {size} bytes where the index says {info.bytes}"
    info = shard.zip_data or shard.raw_data
    return f"{os.path.join(folder, info.basename)} is missing"
