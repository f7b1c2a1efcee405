"""A batch of cells as microbatches of so many tokens at most, where cells are computed without padding."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from tahoe_distill.data.batch import LENGTHS


class TokenSplitter:
    """Splits a batch by tokens instead of by cells; Composer's ``split_batch``.

    A batch stays the same cells, so that resumption, which counts cells, is untouched; what differs is how many are
    computed at once. Which ones depends on their lengths alone.

    Args:
        tokens: Tokens of a microbatch at most.
        agree: From the number of microbatches that this process needs to the one that all make: sharded models have to
            be called equally often. By default its own.
    """

    def __init__(self, tokens: int, agree: Callable[[int], int] = int):
        self.tokens = tokens
        self._agree = agree

    def __call__(self, batch: Mapping[str, Any], microbatch_size: int | float = 0) -> list[dict[str, Any]]:
        """The microbatches; ``microbatch_size``, which counts cells, is not looked at.

        Raises:
            ValueError: When a cell alone has more tokens, or other processes need more microbatches than there are
                cells.
        """
        count = self._agree(len(plan_microbatches(batch[LENGTHS], self.tokens)))
        plan = plan_microbatches(batch[LENGTHS], self.tokens, at_least=count)
        return [{name: _take(value, cells) for name, value in batch.items()} for cells in plan]


def plan_microbatches(lengths: Sequence[int], tokens: int, *, at_least: int = 1) -> list[list[int]]:
    """Cells of each microbatch: as few of them as go, and of like size.

    The longest cells go first, each into the microbatch that has the fewest tokens so far.

    Args:
        lengths: Tokens of each cell.
        tokens: Tokens of a microbatch at most.
        at_least: How many microbatches there are to be.

    Returns:
        Numbers of cells, in their order, none of them empty.

    Raises:
        ValueError: When a cell alone has more tokens, or there are fewer cells than ``at_least``.
    """
    if max(lengths) > tokens:
        raise ValueError(f"a cell of {max(lengths):,} tokens does not fit into device_train_batch_tokens: {tokens:,}")
    if at_least > len(lengths):
        raise ValueError(
            f"another process needs {at_least} microbatches and this one has {len(lengths)} cells: raise "
            "device_train_batch_tokens"
        )
    longest_first = sorted(range(len(lengths)), key=lambda cell: -lengths[cell])
    count = max(at_least, -(-sum(lengths) // tokens))
    while True:
        plan: list[list[int]] = [[] for _ in range(count)]
        sums = [0] * count
        for cell in longest_first:
            least = sums.index(min(sums))
            plan[least].append(cell)
            sums[least] += lengths[cell]
        if max(sums) <= tokens:
            return [sorted(cells) for cells in plan]
        count += 1


def _take(value: Any, cells: list[int]) -> Any:
    return value[cells] if isinstance(value, Tensor) else [value[cell] for cell in cells]
