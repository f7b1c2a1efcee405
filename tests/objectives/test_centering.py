"""The teacher's running mean: which mean, when it moves, and that all processes hold the same one."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tahoe_distill.objectives.centering import TeacherCenter

FIRST, SECOND = torch.tensor([[4.0, 3.0], [0.0, 1.0]]), torch.tensor([[5.0, 5.0]])


@pytest.mark.parametrize(("momentum", "expected"), [(None, 3.0), (0.5, 3.5), (1.0, 5.0)])
def test_mean(momentum, expected):
    center = TeacherCenter(2, momentum)
    for batch in (FIRST, torch.zeros(0, 2), SECOND):
        center(batch, batch)
    torch.testing.assert_close(center.mean, torch.full((2,), expected))
    assert center.count == 3


def test_evaluation_does_not_move_it():
    center = TeacherCenter(2)
    center(FIRST, FIRST)
    center.eval()
    student, teacher = center(SECOND, SECOND + 1)
    assert center.mean.tolist() == [2, 2] and center.count == 2
    assert student.tolist() == [[3, 3]] and teacher.tolist() == [[4, 4]]


def test_it_is_part_of_the_checkpoint():
    center, other = TeacherCenter(2), TeacherCenter(2)
    center(FIRST, FIRST)
    other.load_state_dict(center.state_dict())
    assert torch.equal(center.mean, other.mean) and other.count == 2


@pytest.mark.parametrize("momentum", [0, 1.5, -0.1])
def test_bad_momentum(momentum):
    with pytest.raises(ValueError, match="center_momentum"):
        TeacherCenter(2, momentum)


def _one_of_two(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    center = TeacherCenter(2)
    part = (FIRST, SECOND)[rank]
    center(part, part)
    torch.save((center.mean, center.count), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_hold_the_mean_of_all_cells(tmp_path):
    mp.spawn(_one_of_two, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        mean, count = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(mean, torch.full((2,), 3.0))
        assert count == 3
