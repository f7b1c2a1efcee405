"""The teacher's running mean: which mean, and when it moves."""

import pytest
import torch

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
