"""The guard: each rule at, just under and just over its limit."""

from __future__ import annotations

from math import inf, nan

import pytest

from daq.control.guard import (
    OFF_CURRENT_FRACTION,
    SETTLE_S,
    STALE_MIN_S,
    Charge,
    Freshness,
    Guard,
    Output,
    StepTime,
    valid,
)
from daq.model import ChannelRef, Limits, Reading, Sample, Setpoint, Trip

CYCLER = ChannelRef("aps1")
LIMITS = Limits((2.5, 4.2), (-5.0, 5.0), (0.0, 45.0), charge_Ah=2.0)
NOT_NUMBERS = (nan, inf, -inf, 9.9e37, -9.9e37, 9.91e37)


def sample(at: float = 0.0, volts: float = 3.7, amps: float = 0.0, degC: float = 25.0, **reading):
    """A sample whose two clocks agree."""
    return Sample(CYCLER, at, at, at, Reading(volts, amps, degC, **reading))


def guard(**changes) -> Guard:
    """A guard of a station with the limits above, in the middle of a long step."""
    given = {"range_A": 10.0, "slack_s": 5.0} | changes
    made = Guard(
        Limits((2.0, 4.35), (-10.0, 10.0), (-10.0, 60.0)),
        cycler=Freshness("aps1.1", 1.0),
        thermometer=Freshness("mk53.1", 1.0),
        **given,
    )
    made.enter(LIMITS, 0.0, 3600.0)
    made.output.command(Setpoint(4.2, 5.0, 5.0), -10.0)
    return made


def first_trip(made: Guard, *samples: Sample) -> Trip | None:
    """The first trip of a row of cycler samples."""
    return next((trip for item in samples if (trip := made.check_cycler(item))), None)


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_not_a_number_is_not_valid(value):
    assert not valid(value)


# V1, V2, I1, T1, T2: spans.


@pytest.mark.parametrize("volts", [2.5, 2.5001, 3.7, 4.1999, 4.2])
def test_a_voltage_at_its_limit_is_allowed_for_ever(volts):
    assert first_trip(guard(), *(sample(at, volts) for at in range(10))) is None


@pytest.mark.parametrize(("volts", "check"), [(4.2001, "V1"), (2.4999, "V2")])
def test_a_voltage_just_past_its_limit_trips_when_it_is_seen_twice_in_a_row(volts, check):
    made = guard()
    assert made.check_cycler(sample(0, volts)) is None
    trip = made.check_cycler(sample(1, volts))
    assert trip is not None
    assert trip.check == check


def test_one_noisy_sample_between_good_ones_never_trips():
    made = guard()
    for at in range(20):
        assert made.check_cycler(sample(at, 4.2001 if at % 2 else 4.1999)) is None


@pytest.mark.parametrize(
    ("volts", "trips"),
    [(4.2 * 1.01 - 1e-4, False), (4.2 * 1.01 + 1e-4, True)]
    + [(2.5 * 0.99 + 1e-4, False), (2.5 * 0.99 - 1e-4, True)],
)
def test_one_sample_is_enough_beyond_one_percent_past_the_limit(volts, trips):
    assert (guard().check_cycler(sample(0, volts)) is not None) is trips


@pytest.mark.parametrize(("amps", "check"), [(5.0001, "I1"), (-5.0001, "I1"), (5.0, None)])
def test_a_current_past_either_limit_trips(amps, check):
    trip = first_trip(guard(), sample(0, amps=amps), sample(1, amps=amps))
    assert (trip.check if trip else None) == check


@pytest.mark.parametrize(
    ("degC", "once", "twice"),
    [
        (45.0, None, None),
        (45.5, None, "T1"),
        (46.01, "T1", "T1"),
        (0.0, None, None),
        (-0.5, None, "T2"),
        (-1.01, "T2", "T2"),
    ],
)
def test_a_temperature_trips_twice_past_its_limit_or_once_a_kelvin_past_it(degC, once, twice):
    made = guard()
    first = made.check_temperature(sample(0, degC=degC))
    second = made.check_temperature(sample(1, degC=degC))
    assert (first.check if first else None) == once
    assert (second.check if second else None) == twice


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_not_a_number_is_never_compared_and_never_forgives(value):
    made = guard()
    assert made.check_cycler(sample(0, 4.2001)) is None
    assert made.check_cycler(sample(1, value)) is None
    assert made.check_cycler(sample(2, amps=value)) is None
    assert made.check_temperature(sample(3, degC=value)) is None
    made = guard()
    made.check_cycler(sample(0, 4.2001))
    made.check_cycler(sample(1, value))
    assert made.check_cycler(sample(2, 4.2001)) is not None


def test_an_empty_position_trips_nothing_while_nothing_runs_but_the_upper_limits_hold():
    made = guard()
    made.relax()
    made.output.command(None, -10.0)
    assert first_trip(made, *(sample(at, 0.0) for at in range(5))) is None
    assert made.check_temperature(sample(9, degC=-40.0)) is None
    assert first_trip(made, sample(10, 4.6)).check == "V1"
    assert made.check_temperature(sample(11, degC=70.0)).check == "T1"


# Output: I1, C2, K2.


def output(setpoint: Setpoint | None = None, since: float = 0.0) -> Output:
    made = Output(10.0)
    made.command(Setpoint(4.2, 1.0, 0.0), since - 1.0)
    made.command(setpoint, since)
    return made


def twice(rule: Output, at: float, **reading) -> Trip | None:
    rule.check(sample(at, **reading))
    return rule.check(sample(at + 0.1, **reading))


@pytest.mark.parametrize(
    ("amps", "trips"), [(0.05, False), (0.0501, True), (-0.05, False), (-0.0501, True)]
)
def test_more_than_half_a_percent_of_the_range_must_not_flow_while_off(amps, trips):
    trip = twice(output(), 2.0, amps=amps, output_on=False)
    assert (trip is not None) is trips
    assert OFF_CURRENT_FRACTION == 0.005


def test_the_range_that_the_instrument_tells_counts_unless_it_tells_none():
    rule = output()
    rule.set_range(100.0)
    assert twice(rule, 2.0, amps=0.4, output_on=False) is None
    rule.set_range(inf)
    assert twice(rule, 3.0, amps=0.4, output_on=False) is None
    rule.set_range(10.0)
    assert twice(rule, 4.0, amps=0.4, output_on=False).check == "I1"


@pytest.mark.parametrize(
    ("amps", "trips"),
    [(1.05 + 0.05, False), (1.05 + 0.051, True), (-0.05, False), (-0.051, True)],
)
def test_current_beyond_the_setpoint_or_of_the_wrong_sign_trips(amps, trips):
    rule = output(Setpoint(4.2, 1.0, 0.0), since=0.0)
    assert (twice(rule, 2.0, amps=amps, output_on=True) is not None) is trips


def test_nothing_is_judged_before_the_output_has_settled():
    rule = output()
    assert twice(rule, SETTLE_S - 0.2, amps=1.0, output_on=False) is None
    assert twice(rule, SETTLE_S, amps=1.0, output_on=False) is not None


def test_the_same_command_again_does_not_put_the_judgement_off():
    rule = output()
    rule.command(None, 5.0)
    assert twice(rule, 5.1, amps=1.0, output_on=False) is not None


@pytest.mark.parametrize(("setpoint", "seen"), [(None, True), (Setpoint(4.2, 1.0, 0.0), False)])
def test_an_output_that_is_not_as_commanded_trips(setpoint, seen):
    assert twice(output(setpoint), 2.0, output_on=seen).check == "C2"


def test_an_output_that_cannot_be_asked_is_judged_by_its_current_alone():
    assert twice(output(), 2.0, amps=0.0) is None
    assert twice(output(), 2.0, amps=1.0).check == "I1"
    assert twice(output(), 2.0, amps=nan) is None


def test_a_latched_protection_of_the_instrument_trips_while_energised_only():
    on = output(Setpoint(4.2, 1.0, 0.0))
    assert twice(on, 2.0, output_on=True, fault="over-voltage").check == "K2"
    assert twice(output(), 2.0, output_on=False, fault="over-voltage") is None


# S1: step time.


def test_a_step_may_last_its_time_and_the_slack_and_one_late_sample():
    rule = StepTime(5.0)
    assert rule.check(sample(1e9)) is None
    rule.enter(100.0, 60.0)
    assert rule.check(sample(165.0)) is None
    assert rule.check(sample(165.1)) is None
    assert rule.check(sample(165.2)).check == "S1"
    rule.leave()
    assert rule.check(sample(1e9)) is None


# Q1: charge.


def test_charge_is_counted_from_the_emptiest_point_of_the_run():
    rule = Charge()
    rule.limit_Ah = 1.0
    assert rule.check(sample(0.0, amps=-1.0)) is None
    assert rule.check(sample(3600.0, amps=-1.0)) is None  # an ampere-hour out
    assert rule.check(sample(3600.0, amps=1.0)) is None
    assert rule.check(sample(7199.0, amps=1.0)) is None  # and nearly one back in
    assert rule.check(sample(7200.0 + 0.001, amps=nan)) is None
    assert rule.check(sample(7202.0, amps=1.0)).check == "Q1"
    rule.reset()
    assert rule.check(sample(7203.0, amps=1.0)) is None


# P1: silence. Real time.


@pytest.mark.parametrize(("period_s", "allowed_s"), [(0.1, STALE_MIN_S), (1.0, 3.0), (5.0, 15.0)])
def test_silence_is_allowed_for_three_periods_and_at_least_two_seconds(period_s, allowed_s):
    source = Freshness("aps1.1", period_s)
    source.fresh(100.0)
    assert source.judge(100.0 + allowed_s) is None
    assert source.judge(100.0 + allowed_s + 0.001).check == "P1"


def test_a_source_that_has_never_spoken_is_stale():
    assert Freshness("aps1.1", 1.0).judge(0.0) is not None


@pytest.mark.parametrize("bad", [{"volts": nan}, {"amps": 9.91e37}])
def test_invalid_readings_of_the_cycler_count_as_silence(bad):
    made = guard()
    made.check_temperature(sample(9.0))
    made.check_cycler(sample(0.0))
    for at in range(1, 10):
        made.check_cycler(sample(at, **bad))
    assert made.check_silence(9.0).source == "aps1.1"


def test_a_silent_thermometer_trips_like_a_silent_cycler():
    made = guard()
    made.check_temperature(sample(0.0))
    made.check_cycler(sample(9.0))
    assert made.check_silence(3.0) is None
    assert made.check_silence(9.0).source == "mk53.1"
    made.check_temperature(sample(9.0, degC=nan))
    assert made.check_silence(9.0).source == "mk53.1"


def test_a_station_without_a_thermometer_is_judged_by_its_cycler_alone():
    made = Guard(LIMITS, range_A=1.0, slack_s=1.0, cycler=Freshness("a", 1.0), thermometer=None)
    made.check_cycler(sample(0.0))
    assert made.check_temperature(sample(0.0)) is None
    assert made.check_silence(1.0) is None


def test_the_limits_of_a_step_are_those_that_hold():
    made = guard()
    made.enter(Limits((3.0, 4.0), (-1.0, 1.0), (10.0, 30.0), 0.5), 0.0, 60.0)
    assert made.voltage.span == (3.0, 4.0)
    assert made.current.span == (-1.0, 1.0)
    assert made.temperature.span == (10.0, 30.0)
    assert made.charge.limit_Ah == 0.5
