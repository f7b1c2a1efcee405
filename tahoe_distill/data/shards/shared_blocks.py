"""Numbers of streaming's shared memory: of live runs, and of killed ones, which must not stop the next run."""

import contextlib
import fcntl
import logging
import os
import re
import tempfile
import time
from pathlib import Path

from streaming.base.world import World
from torch import distributed

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
_BLOCK = re.compile(r"(\d{6})_\w+")
# Making a data set takes a second or the time to fetch an index.
_PATIENCE_SECONDS = 60.0


@contextlib.contextmanager
def taking_a_number():
    """Let the runs of a user on a machine make their data sets one after the other, each under a number of its own.

    Streaming looks for a free number and takes it a moment later, so of two runs that start together one may find it
    taken and die; and where some blocks of a number are gone and others are not, it takes it for free and dies too.
    After a minute of waiting a run goes on all the same: one that hangs must not hold up the others.
    """
    with contextlib.ExitStack() as stack:
        if World.detect().is_local_leader:
            folder = SHARED_MEMORY if SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())
            lock = stack.enter_context(open(folder / f"tahoe-distill-{os.getuid()}.lock", "w", encoding="utf-8"))
            _wait_for(lock)
            pass_over_taken_numbers()
        # The other ranks look for the number themselves, and must find the leader's.
        if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
            distributed.barrier()
        yield


def _wait_for(lock):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.05)
    log.warning("another run has been making a data set for %.0f seconds; going on without waiting", _PATIENCE_SECONDS)


def pass_over_taken_numbers(blocks=SHARED_MEMORY):
    """Make streaming take numbers for its shared memory that no run uses or has left behind.

    A data set numbers its blocks. It refuses to start where it finds blocks of its own local folder and has a remote,
    and cannot tell those of a live run from those of a run that was killed with all its processes, which stay until a
    reboot. It passes over a number without looking when a lock file for it lies in the temporary folder, and after a
    kill one does, unless that folder went with the container. This lays the lock files there again.

    Nothing is removed: which blocks are dead cannot be told from outside, least of all between containers that share
    ``/dev/shm``, and they take a few pages each.

    Args:
        blocks: Where blocks of shared memory are files.

    Returns:
        The numbers passed over, six digits each; empty where there is no such folder.
    """
    if not blocks.is_dir():
        return []
    names = (_BLOCK.fullmatch(path.name) for path in blocks.iterdir())
    numbers = sorted({name[1] for name in names if name})
    for number in numbers:
        # Created and never locked: a data set that holds this number shares the folder, and goes on with its file.
        Path(tempfile.gettempdir(), f"{number}_barrier_filelock").touch()
    log.debug("passing over the shared memory of %d data sets", len(numbers))
    return numbers
