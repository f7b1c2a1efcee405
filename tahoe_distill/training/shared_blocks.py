"""Shared memory that killed runs left behind, which must not stop the next run."""

import logging
import re
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)

SHARED_MEMORY = Path("/dev/shm")
_LOCALS = re.compile(r"(\d{6})_locals")


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
    names = (_LOCALS.fullmatch(path.name) for path in blocks.iterdir())
    numbers = sorted(name[1] for name in names if name)
    for number in numbers:
        # Created and never locked: a data set that holds this number shares the folder, and goes on with its file.
        Path(tempfile.gettempdir(), f"{number}_barrier_filelock").touch()
    log.debug("passing over the shared memory of %d data sets", len(numbers))
    return numbers
