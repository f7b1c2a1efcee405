"""Work of one process for the others of its node: how often it is done, how long they wait, what they learn."""

import datetime
import functools
import os
import time

import pytest
import torch
import torch.distributed
import torch.multiprocessing as mp

from tahoe_distill.training.rank_zero import on_each_node

# Below what the work takes: a collective of the run's own group would give up.
DIST_TIMEOUT = datetime.timedelta(seconds=1)


def one_of_two(rank, works, folder, per_node):
    """A process of two, both on one node or each on its own; what it got of each work, or the error's text."""
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_RANK=str(rank % per_node), LOCAL_WORLD_SIZE=str(per_node))
    meet = f"file://{folder}/meet"
    torch.distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2, timeout=DIST_TIMEOUT)
    told = [answer(work, folder, rank) for work in works]
    torch.save(told, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def answer(work, folder, rank):
    try:
        return on_each_node(lambda: work(folder, rank), "the teacher could not be fetched")
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def slow(folder, rank):
    time.sleep(3)
    with open(f"{folder}/done-{rank}", "x", encoding="utf-8"):
        return f"place of {rank}"


def failing(folder, rank, which=0):
    if rank == which:
        raise FileNotFoundError("no such repository")
    return f"place of {rank}"


@pytest.mark.parametrize(("per_node", "expected", "which"), [(2, [0, 0], 0), (1, [0, 1], 1)])
def test_the_first_of_each_node_does_it_the_others_wait_and_all_learn_of_a_failure(tmp_path, per_node, expected, which):
    works = (slow, functools.partial(failing, which=which))
    mp.spawn(one_of_two, args=(works, str(tmp_path), per_node), nprocs=2)
    told = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert [done for done, _ in told] == [f"place of {rank}" for rank in expected]
    assert {path.name for path in tmp_path.glob("done-*")} == {f"done-{rank}" for rank in expected}
    assert told[which][1] == "FileNotFoundError: no such repository"
    reason = f"the teacher could not be fetched (process {which}): FileNotFoundError: no such repository"
    assert told[1 - which][1] == f"RuntimeError: {reason}"


def test_one_process_does_it_by_itself():
    assert on_each_node(lambda: 3, "no") == 3
