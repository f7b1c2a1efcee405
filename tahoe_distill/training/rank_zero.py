"""Work that one process does for others, and whose failure all of them must learn of."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed
from composer.utils import dist

T = TypeVar("T")
# A download takes as long as it takes. A process that dies is told by its connection, and not by a clock.
_PATIENCE = timedelta(days=30)

# Each group of a run, and ours beside it.
_groups: list[tuple[Any, Any]] = []


def on_rank_zero(work: Callable[[], T], failing: str) -> T:
    """Do something in the first process of all; the others wait for it.

    Args:
        work: Called without arguments; what it returns must be picklable.
        failing: What failed, such as ``process 0 could not write the cache``, for the other processes' message.

    Returns:
        Its result, in every process.

    Raises:
        Exception: What ``work`` raises, in the first process.
        RuntimeError: In the others, with its reason: they would wait for ever otherwise.
    """
    outcome: list[Any] = [None, None]
    problem = None
    if dist.get_global_rank() == 0:
        try:
            outcome[0] = work()
        # Whatever it is, it is raised below, once the others know.
        except Exception as error:
            problem, outcome[1] = error, f"{type(error).__name__}: {error}"
    dist.broadcast_object_list(outcome, src=0)
    if problem is not None:
        raise problem
    if outcome[1] is not None:
        raise RuntimeError(f"{failing}: {outcome[1]}")
    return outcome[0]


def _patient_group() -> Any:
    """A group of its own, met before the work: that of the run gives up after dist_timeout, which is minutes.

    One for each group of the run, and never let go of: freeing one can wait for its thread for ever, while that waits
    for Python's lock.
    """
    world = torch.distributed.group.WORLD
    if not _groups or _groups[-1][0] is not world:
        _groups.append((world, torch.distributed.new_group(backend="gloo", timeout=_PATIENCE)))
    return _groups[-1][1]


def on_each_node(work: Callable[[], T], failing: str) -> T:
    """Do something in the first process of each node; all wait, however long it takes.

    Where no process group has been joined, such as in a check, each process does it by itself.

    Args:
        work: Called without arguments; what it returns must be picklable.
        failing: What failed, such as ``the teacher could not be fetched``, for the other processes' message.

    Returns:
        Its result on this node.

    Raises:
        Exception: What ``work`` raises, in the process where it does.
        RuntimeError: In all others, on whichever node it failed.
    """
    if not torch.distributed.is_initialized() or dist.get_world_size() == 1:
        return work()
    group = _patient_group()
    outcome: tuple[T | None, str | None] = (None, None)
    problem = None
    if dist.get_local_rank() == 0:
        try:
            outcome = (work(), None)
        # Whatever it is, it is raised below, once the others know.
        except Exception as error:
            problem, outcome = error, (None, f"{type(error).__name__}: {error}")
    outcomes: list[Any] = [None] * dist.get_world_size()
    torch.distributed.all_gather_object(outcomes, outcome, group=group)
    if problem is not None:
        raise problem
    failed = [f"{failing} (process {rank}): {reason}" for rank, (_, reason) in enumerate(outcomes) if reason]
    if failed:
        raise RuntimeError(failed[0])
    return outcomes[dist.get_global_rank() - dist.get_local_rank()][0]
