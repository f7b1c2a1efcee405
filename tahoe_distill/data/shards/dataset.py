"""A StreamingDataset whose epochs are whole or end with an error, and whose samples know their number and epoch."""

import logging

from streaming import StreamingDataset
from streaming.base.dataset import _ShardState

from tahoe_distill.data.schema import EPOCH, SAMPLE
from tahoe_distill.data.shards.reader import ShardError
from tahoe_distill.data.shards.shared_blocks import taking_a_number
from tahoe_distill.data.shards.stream import CellStream

log = logging.getLogger(__name__)


class CellDataset(StreamingDataset):
    """Cells of one or several :class:`CellStream`.

    Streaming notes the failure of a background thread and ends the epoch as if it were over; other workers then wait
    for the failed shard for ever. Here the failure is kept and raised, and the shard is handed to the others, who fail
    on it in turn.

    Args:
        streams: The streams.
        **options: As for ``StreamingDataset``.
    """

    def __init__(self, *, streams, **options):
        self._failure = None
        self._epoch = 0
        with taking_a_number():
            super().__init__(streams=streams, **options)

    @classmethod
    def from_options(cls, options):
        """From a plain mapping: ``streams`` of stream options by name, or one stream's options among the others."""
        options = dict(options)
        sections = options.pop("streams", None)
        if sections:
            streams = [CellStream(**section) for section in sections.values()]
        else:
            own = ("remote", "local", "split")
            streams = [CellStream(**{name: options.pop(name) for name in own if name in options})]
        return cls(streams=streams, **options)

    def get_item(self, sample_id, retry=7):
        """Columns of a sample, and its number and epoch."""
        try:
            sample = super().get_item(sample_id, retry)
        except ShardError as error:
            self._fail(error)
            raise
        except RuntimeError as error:
            raise self._failure or error from error
        return {**sample, SAMPLE: int(sample_id), EPOCH: self._epoch}

    def prepare_shard(self, shard_id, blocking=True):
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

    def _fail(self, error):
        """Keep the reason and stop the background threads, which nobody would stop otherwise."""
        self._failure = self._failure or error
        if hasattr(self, "_event"):
            self._event.set()

    def _get_work(self, epoch, sample_in_epoch):
        self._epoch = int(epoch)
        return super()._get_work(epoch, sample_in_epoch)

    def _prepare_thread(self, it):
        self._leaving(it, super()._prepare_thread)

    def _ready_thread(self, it):
        self._leaving(it, super()._ready_thread)

    def _leaving(self, it, loop):
        """Run a background loop; count it as gone when it fails too, or stopping the epoch waits for it for ever."""
        try:
            loop(it)
        except Exception as error:
            self._failure = self._failure or error
            it.on_exit()
            raise

    def _each_sample_id(self, it):
        yield from super()._each_sample_id(it)
        if self._event.is_set():
            raise self._failure or ShardError("a background thread failed while reading shards; see the log")
        if it.yield_index < it.total and not it.should_exit():
            raise ShardError(f"the epoch ended after {it.yield_index} of {it.total} samples without a reason")
