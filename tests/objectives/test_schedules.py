"""Schedules: exact tables, exact ends, functions of progress alone."""

import math

import pytest

from tahoe_distill.objectives import Schedule, Scheduled, parse_schedule, stage_table
from tahoe_distill.objectives.schedules import CURVES


def test_the_linear_table_is_exact():
    assert stage_table(Schedule(4.0, 0.5, stages=5)) == (4.0, 3.125, 2.25, 1.375, 0.5)


@pytest.mark.parametrize("curve", list(CURVES))
@pytest.mark.parametrize("stages", [None, 2, 3, 7])
def test_both_ends_are_exact(curve, stages):
    schedule = Schedule(0.1, 0.7, curve, stages)
    assert schedule(0.0) == 0.1 and schedule(1.0) == 0.7
    assert schedule(-1.0) == 0.1 and schedule(2.0) == 0.7
    assert stage_table(schedule)[0] == 0.1 and stage_table(schedule)[-1] == 0.7


@pytest.mark.parametrize(
    ("curve", "expected"),
    [("linear", 2.5), ("exponential", 2.0), ("cosine", 1 + 3 * (1 + math.cos(math.pi / 2)) / 2)],
)
def test_the_middle(curve, expected):
    assert Schedule(4.0, 1.0, curve)(0.5) == pytest.approx(expected)


def test_exponential_stages_have_one_ratio():
    assert stage_table(Schedule(8.0, 1.0, "exponential", 4)) == pytest.approx((8, 4, 2, 1))


def test_each_stage_holds_its_value_for_its_part_of_the_run():
    schedule = Schedule(4.0, 0.5, stages=5)
    values = [schedule(batch / 100) for batch in range(100)]
    assert values == [v for v in stage_table(schedule) for _ in range(20)]


def test_a_number_never_changes():
    schedule = parse_schedule(3, "tau")
    assert schedule(0.0) == schedule(0.3) == schedule(1.0) == 3.0
    assert schedule.is_always(3.0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"start": 1, "end": 2, "stages": 0}, "tau: stages must be .* at least 1, found 0"),
        ({"start": 1, "end": 2, "stages": 2.5}, "found 2.5"),
        ({"start": 1, "end": 2, "stages": True}, "found True"),
        ({"start": 1, "end": 2, "stages": 1}, "one stage cannot hold both 1 and 2"),
        ({"schedule": "exponential", "start": 1, "end": 0}, "from 1 to 0, through zero"),
        ({"schedule": "exponential", "start": -1, "end": 1}, "through zero"),
        ({"schedule": "linaer", "start": 1, "end": 2}, "unknown schedule 'linaer'; did you mean 'linear'"),
        ({"start": 1, "end": 2, "stage": 3}, "'stage'; did you mean 'stages'"),
        ({"start": 1}, "no 'end'"),
        ({"start": 1, "end": "x"}, "tau.end must be a finite number"),
        ("1e-3", "write 1.0e-3"),
        (True, "found True"),
        (float("nan"), "finite"),
        ([1, 2], r"found \[1, 2\]"),
    ],
)
def test_bad_schedules_are_refused_by_value(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_schedule(spec, "tau")


def test_progress_must_be_a_number():
    with pytest.raises(ValueError, match="progress"):
        Schedule(0.0, 1.0)(float("nan"))


@pytest.mark.parametrize("spec", [0, -1.0, {"start": 1, "end": -0.5}, {"start": 1, "end": 0}])
def test_a_range_is_checked_at_both_ends(spec):
    with pytest.raises(ValueError, match="tau must be above 0, found"):
        Scheduled(spec, "tau", minimum=0.0, exclusive=True)


def test_scheduled_value_follows_progress_and_is_not_saved():
    tau = Scheduled({"start": 4.0, "end": 0.5, "stages": 5}, "tau")
    assert tau.value.item() == tau.current() == 4.0 and not tau.state_dict()
    tau.step(0.45)
    assert tau.value.item() == tau.current() == 2.25
    tau.value.fill_(float("nan"))
    tau.reset_parameters()
    assert tau.value.item() == 2.25
