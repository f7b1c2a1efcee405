"""Work that one process does for all, and whose failure all of them must learn of."""

from collections.abc import Callable
from typing import Any, TypeVar

from composer.utils import dist

T = TypeVar("T")


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
