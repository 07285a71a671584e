"""Every schedule against its formula at every update, alone, after a warm-up, and resumed."""

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from pipeline import schedules
from pipeline.schedules._schedule import Course, with_warm_up
from pipeline.schedules.constant import Constant
from pipeline.schedules.cosine import Cosine
from pipeline.schedules.cyclic_cosine import CyclicCosine
from pipeline.schedules.exponential import Exponential
from pipeline.schedules.inverse_sqrt import InverseSqrt
from pipeline.schedules.inverse_time import InverseTime
from pipeline.schedules.one_cycle import OneCycle
from pipeline.schedules.step import Step

RATE, UPDATES, PER_EPOCH = 0.2, 60, 6
COURSE = Course(UPDATES, PER_EPOCH, snapshots=3)


def optimizer_and_scheduler(schedule, warm_up=0.0, course=COURSE):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=RATE)
    return optimizer, with_warm_up(schedule, optimizer, course, warm_up)


def rates(schedule, warm_up=0.0, course=COURSE, resumed_at=None):
    """Return the learning rate of every update; a run may be resumed before one of them."""
    optimizer, scheduler = optimizer_and_scheduler(schedule, warm_up, course)
    seen = []
    for update in range(course.updates):
        if update == resumed_at:
            states = optimizer.state_dict(), scheduler.state_dict()
            optimizer, scheduler = optimizer_and_scheduler(schedule, warm_up, course)
            optimizer.load_state_dict(states[0])
            scheduler.load_state_dict(states[1])
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


FORMULAS = [  # schedule, multiplier of update t, and of the last update
    (Constant(), lambda t: 1, 1),
    (Step(), lambda t: 0.5 ** (t // 15), 0.125),
    (Step(factor=0.1, every=0.1), lambda t: 0.1 ** (t // 6), 1e-9),
    (Exponential(), lambda t: 0.95 ** (t // 6), 0.6302494),
    (InverseTime(), lambda t: 1 / (1 + t // 6), 0.1),
    (InverseTime(rate=0.5), lambda t: 1 / (1 + 0.5 * (t // 6)), 1 / 5.5),
    (InverseSqrt(), lambda t: (t // 6 + 1) ** -0.5, 0.3162278),
    (Cosine(), lambda t: 0.5 + 0.5 * math.cos(math.pi * t / 60), 6.852e-4),
    (CyclicCosine(), lambda t: 0.5 + 0.5 * math.cos(math.pi * (t % 20) / 20), 6.1558e-3),
]


@pytest.mark.parametrize(("schedule", "formula", "last"), FORMULAS)
def test_every_update_has_the_rate_of_the_formula(schedule, formula, last):
    course_rates = rates(schedule)
    assert course_rates == pytest.approx([RATE * formula(t) for t in range(UPDATES)], rel=1e-12)
    assert course_rates[-1] == pytest.approx(RATE * last, rel=1e-4)


def test_inverse_time_is_the_lecture_s_table():
    course_rates = rates(InverseTime(), course=Course(5, 1))
    assert [round(rate, 3) for rate in course_rates] == [0.2, 0.1, 0.067, 0.05, 0.04]


def test_steps_are_at_shares_of_training_whatever_their_rounding():
    """9 / 30 / 0.1 is 2.9999999999999996."""
    course_rates = rates(Step(factor=0.5, every=0.1), course=Course(30, 1))
    assert course_rates == [RATE * 0.5 ** (update // 3) for update in range(30)]


@pytest.mark.parametrize("updates", [1, 2, 3, 7, 60, 180])
def test_one_cycle_is_torch_s_to_the_last_bit(updates):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=RATE)
    theirs = OneCycleLR(optimizer, max_lr=RATE, total_steps=updates, cycle_momentum=False)
    expected = []
    for _ in range(updates):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert rates(OneCycle(), course=Course(updates, 1)) == expected


def test_every_update_of_one_cycle_has_the_rate_of_the_formula():
    """Half waves between rate / 25, the rate at update 17, and rate / 25e4 at update 59."""

    def wave(start, end, share):
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    first, last = RATE / 25, RATE / 25 / 1e4
    rising = [wave(first, RATE, t / 17) for t in range(17)]
    falling = [wave(RATE, last, (t - 17) / 42) for t in range(17, UPDATES)]
    assert rates(OneCycle()) == pytest.approx([*rising, *falling], rel=1e-9)


def test_the_ends_of_one_cycle():
    course_rates = rates(OneCycle(pct_start=0.5, div_factor=10, final_div_factor=100))
    assert course_rates[0] == pytest.approx(RATE / 10)
    assert course_rates.index(max(course_rates)) == 29
    assert max(course_rates) == pytest.approx(RATE)
    assert course_rates[-1] == pytest.approx(RATE / 1000)


@pytest.mark.parametrize("updates", [2, 10, 60])
def test_a_rise_that_ends_with_the_first_update(updates):
    course_rates = rates(OneCycle(pct_start=1 / updates), course=Course(updates, 1))
    assert course_rates[0] == pytest.approx(RATE)
    assert course_rates[-1] == pytest.approx(RATE / 25e4)
    assert sorted(course_rates, reverse=True) == course_rates


@pytest.mark.parametrize("schedule", [case[0] for case in FORMULAS] + [OneCycle()])
def test_a_warm_up_rises_to_the_first_rate_and_then_the_schedule_begins(schedule):
    """A fifth of 60 updates: 12, then the schedule of 48."""
    course_rates = rates(schedule, warm_up=0.2)
    after = rates(schedule, course=Course(48, PER_EPOCH, snapshots=3))
    assert course_rates[:12] == pytest.approx(
        [after[0] * (update + 1) / 13 for update in range(12)]
    )
    assert course_rates[12:] == after


@pytest.mark.parametrize("share", [0.0, 0.016, 0.99])
def test_a_warm_up_is_whole_updates_and_leaves_one(share):
    course_rates = rates(Constant(), warm_up=share)
    length = int(share * UPDATES)
    assert course_rates[length:] == [RATE] * (UPDATES - length)
    assert all(rate < RATE for rate in course_rates[:length])


@pytest.mark.parametrize("warm_up", [0.0, 0.2])
@pytest.mark.parametrize("name", schedules.names())
def test_resumed_it_goes_on_as_uninterrupted(name, warm_up):
    schedule = schedules.settings()[name]()
    whole = rates(schedule, warm_up)
    for update in (1, 11, 12, 13, 40):
        assert rates(schedule, warm_up, resumed_at=update) == whole
