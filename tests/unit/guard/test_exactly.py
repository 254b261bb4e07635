"""What the rules say, word for word, and where exactly an edge lies: a person acts on both."""

from __future__ import annotations

import pytest

from daq.control.guard import Current, Freshness, Output, StepTime
from daq.control.guard.silence import Polls
from daq.model import ChannelRef, Reading, Sample, Setpoint
from tests.unit.guard.test_first_rules import guard, sample

CHARGE = Setpoint(4.2, 2.0, 0.0)
DISCHARGE = Setpoint(3.0, 0.0, 2.0)


def output(setpoint=None, range_A=10.0):
    rule = Output(range_A)
    if setpoint:
        rule.command(setpoint, 0.0)
    return rule


def twice(rule, at_s=10.0, **reading):
    """What a rule says when it sees the same twice; the first time it says nothing."""
    assert rule.check(sample(at_s, **reading)) is None
    return rule.check(sample(at_s + 0.1, **reading))


def test_a_current_beyond_the_limits():
    rule = Current()
    rule.span = (-5.0, 5.0)
    trip = rule.check(sample(0.0, current_A=6.0))
    assert (trip.check, trip.message) == ("I1", "current 6 A is above the limit of 5 A")
    trip = rule.check(sample(0.1, current_A=-6.0))
    assert trip.message == "current -6 A is below the limit of -5 A"


@pytest.mark.parametrize(
    ("setpoint", "reading", "check", "message"),
    [
        (None, {"output_on": False, "current_A": 0.5}, "I1",
         "0.5 A flow; commanded OFF, (0.0, 0.0) A allowed"),
        (CHARGE, {"output_on": True, "current_A": 3.0}, "I1",
         "3 A flow; commanded ON, (-0.0, 2.0) A allowed"),
        (CHARGE, {"output_on": False}, "C2", "the output is OFF although it was commanded ON"),
        (None, {"output_on": True}, "C2", "the output is ON although it was commanded OFF"),
        (CHARGE, {"output_on": True, "fault": "overvoltage"}, "K2",
         "the instrument's own protection has latched: overvoltage"),
    ],
)  # fmt: skip
def test_what_flows_and_should_not(setpoint, reading, check, message):
    trip = twice(output(setpoint), **reading)
    assert (trip.check, trip.message) == (check, message)


@pytest.mark.parametrize("setpoint", [None, CHARGE, DISCHARGE])
def test_exactly_as_much_as_may_flow_flows_by_right(setpoint):
    rule = output(setpoint, range_A=100.0)  # its error is 0.5 A
    low = -2.1 if setpoint is DISCHARGE else 0.0
    high = 2.1 if setpoint is CHARGE else 0.0
    on = setpoint is not None
    for amps in (low - rule.error_A, high + rule.error_A):
        assert twice(rule, output_on=on, current_A=amps) is None
        assert rule.check(sample(20.0, output_on=on, current_A=amps)) is None
    assert twice(rule, 30.0, output_on=on, current_A=high + rule.error_A + 1e-9) is not None


def test_silence_is_counted_from_when_it_was_on_in_the_whole_guard_too():
    watched = guard()
    watched.check_cycler(sample(0.0))
    watched.check_temperature(sample(2.4))
    assert watched.check_silence(2.5) is not None
    assert watched.check_silence(2.5, 0.6) is None


def test_a_step_that_goes_on_is_told_at_the_second_sample_with_its_time():
    rule = StepTime(0.5)
    assert rule.check(sample(1e12)) is None  # no step, no time
    rule.enter(0.0, 10.0)
    assert rule.check(sample(10.6)) is None
    trip = rule.check(sample(10.7))
    assert (trip.check, trip.message) == ("S1", "the step went on for more than its 10 s")
    rule.enter(20.0, 10.0)
    assert rule.check(sample(30.6)) is None  # it counts anew


def test_polls_say_so_once_for_each_silence():
    polls = Polls(0.1)
    assert polls.judge(100.0) == ""  # nothing was ever answered: there is nothing to miss
    polls.answered(100.0)
    assert polls.judge(100.27) == ""
    assert polls.judge(100.28) == "three polls of the cycler were not answered"
    assert polls.judge(100.3) == ""
    polls.answered(101.0)
    assert polls.judge(101.3) == "three polls of the cycler were not answered"


def test_a_silent_source_is_named_with_its_age():
    source = Freshness("aps1.1", 0.1)
    source.fresh(100.0)
    trip = source.judge(102.5)
    assert trip.message == "no valid sample of aps1.1 for 2.5 s"


def test_a_sample_of_another_channel_is_as_good():
    rule = Current()
    rule.span = (-5.0, 5.0)
    far = Sample(ChannelRef("aps9", 3), 0.0, 0.0, 0.0, Reading(3.7, 9.0))
    assert rule.check(far).check == "I1"
