"""Batches split by tokens: nothing lost, nothing too large, the same for the same lengths."""

import pytest
import torch

from tahoe_distill.data.collating.microbatches import TokenSplitter, plan_microbatches


def test_as_few_as_go_and_of_like_size():
    lengths = torch.randint(1, 100, (64,)).tolist()
    plan = plan_microbatches(lengths, 250)
    sums = [sum(lengths[cell] for cell in cells) for cells in plan]
    assert sorted(cell for cells in plan for cell in cells) == list(range(64))
    assert max(sums) <= 250 and max(sums) - min(sums) < 100
    assert len(plan) <= -(-sum(lengths) // 250) + 1
    assert plan == plan_microbatches(lengths, 250) and all(cells == sorted(cells) for cells in plan)


def test_cells_that_do_not_share_a_microbatch():
    assert plan_microbatches([60, 60, 60], 100) == [[0], [1], [2]]
    assert plan_microbatches([5, 6], 100) == [[0, 1]]
    assert plan_microbatches([5, 6], 100, at_least=2) == [[1], [0]]


def test_a_batch_is_split_with_all_its_entries():
    batch = {"gene": torch.arange(8).view(4, 2), "lengths": [7, 2, 6, 3], "packed": [True] * 4}
    parts = TokenSplitter(10)(batch, 1)
    assert [part["lengths"] for part in parts] == [[7, 2], [6, 3]]
    assert torch.equal(torch.cat([part["gene"] for part in parts]), batch["gene"])
    assert all(part["packed"] == [True] * 2 for part in parts)


def test_processes_make_equally_many():
    parts = TokenSplitter(100, agree=lambda count: max(count, 3))({"lengths": [7, 2, 6, 3]})
    assert [part["lengths"] for part in parts] == [[7], [6], [2, 3]]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a cell of 11 tokens does not fit into device_train_batch_tokens: 10"):
        plan_microbatches([3, 11], 10)
    with pytest.raises(ValueError, match="needs 3 microbatches and this one has 2 cells"):
        plan_microbatches([3, 3], 10, at_least=3)
