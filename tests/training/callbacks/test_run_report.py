"""What a person reads of a run while it goes: plain lines, or a bar in a terminal."""

import functools
import io
import logging
import sys
from types import SimpleNamespace

import pytest
import torch

from tahoe_distill.training.callbacks import run_report
from tahoe_distill.training.callbacks.run_report import RunReport


class Terminal(io.StringIO):
    """What a program writes to a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def report(monkeypatch, caplog):
    """A report of a run of 40 batches of 8 cells, half a second each, resumed after the 10th."""
    clock = iter(0.5 * tick for tick in range(1000))
    monkeypatch.setattr(run_report, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(run_report, "start_line", lambda state, config: "a run")
    caplog.set_level(logging.INFO, "tahoe_distill.run")
    report = RunReport()
    report.start(state_at(10), {})
    return report


def state_at(batch):
    losses = {"total": torch.tensor(0.75), "cosine": torch.tensor(0.5), "mse": torch.tensor(0.25)}
    return SimpleNamespace(
        timestamp=SimpleNamespace(batch=SimpleNamespace(value=batch)),
        get_elapsed_duration=lambda: batch / 40,
        train_dataloader=SimpleNamespace(batch_size=8),
        loss=losses,
    )


def test_lines_tell_how_far_it_is_each_loss_and_the_neighbours(report, caplog, monkeypatch):
    monkeypatch.setattr(run_report, "read_metrics", lambda state: {"eval/knn_overlap": 0.5, "eval/loss": 1.0})
    for batch in range(11, 21):
        report.batch(state_at(batch))
    report.evaluation(state_at(20))
    for batch in range(21, 41):
        report.batch(state_at(batch))
    first, evaluation, *later = [record.getMessage() for record in caplog.records]
    assert first == "batch 20 of 40 (50 %), 10 s left: loss 0.75 (cosine 0.5, mse 0.25), 16 cells/s"
    assert later[0].endswith("16 cells/s, 50.0 % of neighbours kept at batch 20")
    assert len(later) == 1, "the second line comes after twice the time of the first"


def test_a_terminal_shows_a_bar_instead_and_is_left_clean(report, caplog, monkeypatch):
    screen = Terminal(newline="")
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(run_report, "tqdm", functools.partial(run_report.tqdm, mininterval=0, miniters=1, ncols=150))
    for batch in range(11, 41):
        report.batch(state_at(batch))
    report.end()
    assert not caplog.records, "lines beside the bar"
    assert "| 40/40 [" in screen.getvalue() and "loss 0.75 (cosine 0.5, mse 0.25), 16 cells/s" in screen.getvalue()
    assert screen.getvalue().rstrip("\r").endswith(" "), "the bar was not taken away"
