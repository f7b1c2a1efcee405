"""A resumed run says when it divides its batches otherwise."""

from types import SimpleNamespace

import pytest

from tahoe_distill.training.resume.batch_shape import BatchShape


@pytest.fixture
def state():
    return SimpleNamespace(
        train_dataloader=SimpleNamespace(batch_size=8),
        device_train_microbatch_size=4,
        timestamp=SimpleNamespace(batch=SimpleNamespace(value=3)),
    )


def test_a_change_is_named(state, caplog):
    shape = BatchShape()
    shape.restore({"processes": 2, "cells a process and batch": 8, "cells a microbatch": 4})
    shape.start(state)
    assert [record.getMessage() for record in caplog.records] == [
        "resumed at batch 3 with 1 processes instead of 2: it carries on, but will not end with the same student"
    ]


def test_the_same_shape_is_no_news(state, caplog):
    first, second = BatchShape(), BatchShape()
    first.start(state)
    second.restore(first.record())
    second.start(state)
    assert not caplog.records
