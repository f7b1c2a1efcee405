"""The callback that runs schedules, seeds batches and stops hopeless runs."""

import pytest
import torch
from composer.core import Callback

from tahoe_distill.training.model import TahoeDistillModel
from tests.helpers.fits import fit


class Recorder(Callback):
    def __init__(self):
        self.values = []

    def batch_end(self, state, logger):
        self.values.append((state.model.objectives.scheduled_values()["weight/cosine"], torch.rand(1).item()))


def test_schedules_follow_the_run_and_batches_are_seeded(small_teacher, student_spec, batch):
    records = []
    for _ in range(2):
        torch.manual_seed(0)
        weight = {"schedule": "linear", "start": 1.0, "end": 0.0}
        model = TahoeDistillModel(student_spec, str(small_teacher), {"cosine": {"weight": weight}, "mse": 1.0})
        recorder = Recorder()
        fit(model, [batch] * 4, recorder, seed=3)
        records.append(recorder.values)
    assert [weight for weight, _ in records[0]] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert records[0] == records[1]
    assert len({number for _, number in records[0]}) == 4


def test_a_loss_that_is_not_a_number_stops_the_run_by_name(small_teacher, student_spec, batch):
    model = TahoeDistillModel(student_spec, str(small_teacher), {"cosine": 1.0, "mse": 1.0})
    with torch.no_grad():
        model.student.projection.bias.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="the loss is nan at batch 0, by cosine, mse"):
        fit(model, [batch])


def test_a_parameter_without_gradient_stops_the_run_by_name(small_teacher, student_spec, batch):
    model = TahoeDistillModel(student_spec, str(small_teacher))
    model.student.flag_encoder.requires_grad_(True)
    with pytest.raises(RuntimeError, match="got no gradient in the first batch \\(student.flag_encoder.weight"):
        fit(model, [batch])
