"""I2: a current that is to be constant flows; what the rules know of the output."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest

from daq.control.guard import Output, Tracking
from daq.model import Setpoint
from tests.unit.guard.samples import (
    CHARGE,
    DISCHARGE,
    ERROR_A,
    HOLD,
    NOT_NUMBERS,
    first,
    output,
    sample,
)

ALLOWED_A = 0.05 * 2.5 + ERROR_A


def row(current_A, seconds=6.0, voltage_V=3.7, from_s=0.0, step_s=0.5):
    """A row of samples."""
    count = round(seconds / step_s)
    return [
        sample(from_s + n * step_s, current_A=current_A, voltage_V=voltage_V)
        for n in range(count + 1)
    ]


@pytest.mark.parametrize(("setpoint", "way"), [(CHARGE, 1.0), (DISCHARGE, -1.0)])
def test_a_current_that_misses_by_what_is_allowed_never_trips_and_a_little_more_does(setpoint, way):
    for more in (-0.001, 0.0):
        rule = Tracking(output(setpoint), 2.0)
        assert first(rule, row(way * (2.5 - ALLOWED_A - more))) is None
    rule = Tracking(output(setpoint), 2.0)
    low = way * (2.5 - ALLOWED_A - 0.001)
    assert first(rule, row(low)) == (
        "I2", 2.5, f"{low:.6g} A flow where {way * 2.5:.6g} A were set"
    )  # fmt: skip
    rule = Tracking(output(setpoint), 2.0)
    assert first(rule, row(way * (2.5 + ALLOWED_A + 0.001))) is not None


def test_it_may_miss_for_two_seconds_and_not_longer():
    rule = Tracking(output(), 2.0)
    assert first(rule, row(1.5, 2.0)) is None
    assert first(rule, row(2.5, 0.0, from_s=2.5)) is None
    assert first(rule, row(1.5, 2.0, from_s=3.0)) is None  # it had tracked in between
    found = rule.check(sample(5.001, current_A=1.5))
    assert found is not None
    assert found.check == "I2"


def test_a_voltage_that_is_held_lets_the_current_be_anything():
    for volts, trips in ((4.21, False), (4.21 * 0.995, False), (4.21 * 0.9949, True)):
        rule = Tracking(output(), 2.0)
        assert (first(rule, row(1.5, voltage_V=volts)) is not None) is trips, volts
    rule = Tracking(output(Setpoint(1.0, 2.5, 0.0)), 2.0)  # 10 mV is more than 0.5 % of 1 V
    assert first(rule, row(1.5, voltage_V=0.9901)) is None
    rule = Tracking(output(Setpoint(1.0, 2.5, 0.0)), 2.0)
    assert first(rule, row(1.5, voltage_V=0.9899)) is not None


def test_the_voltage_that_was_held_a_while_forgives_the_misses_before():
    rule = Tracking(output(), 2.0)
    assert first(rule, row(1.5, 2.0)) is None
    assert first(rule, row(1.5, 1.0, voltage_V=4.21, from_s=2.5)) is None
    assert first(rule, row(1.5, 2.0, from_s=4.0)) is None


@pytest.mark.parametrize("setpoint", [None, HOLD, Setpoint(4.21, 2 * ERROR_A, 0.0)])
def test_nothing_is_judged_where_no_current_is_asked_for_that_could_be_told_from_noise(setpoint):
    rule = Tracking(output(setpoint), 2.0)
    assert first(rule, row(9.9)) is None


def test_a_current_just_large_enough_to_be_told_from_noise_is_judged():
    rule = Tracking(output(Setpoint(4.21, 2 * ERROR_A + 1e-6, 0.0)), 2.0)
    assert first(rule, row(9.9)) is not None


def test_nothing_is_judged_in_the_first_second_after_an_edge():
    rule = Tracking(output(at_s=0.0), 0.4)
    assert first(rule, row(1.0, 0.9, step_s=0.1)) is None
    assert rule.check(sample(1.0, current_A=1.0)) is None
    assert rule.check(sample(1.5, current_A=1.0)) is not None


def test_what_is_no_number_is_not_judged_and_forgives_nothing():
    for quantity in ("voltage_V", "current_A"):
        for value in NOT_NUMBERS:
            rule = Tracking(output(), 2.0)
            assert rule.check(sample(0.0, current_A=1.0)) is None
            assert rule.check(sample(2.5, **{"current_A": 1.0, quantity: value})) is None
            assert rule.check(sample(2.6, current_A=1.0)) is not None


def test_a_contact_that_opens_is_seen_with_the_first_sample():
    rule = Tracking(output(), 2.0)
    assert first(rule, row(2.5, 3.0)) is None
    trip = rule.check(sample(3.5, current_A=ERROR_A, voltage_V=4.21))
    assert trip is not None
    assert (trip.check, trip.message) == ("I2", "contact lost: 2.5 A flowed, now none, at 4.21 V")


def test_a_discharge_whose_contact_opens_is_seen_as_well():
    rule = Tracking(output(DISCHARGE), 2.0)
    rule.check(sample(0.0, current_A=-1.25))
    trip = rule.check(sample(1.0, current_A=0.0, voltage_V=2.49))
    assert trip is not None
    assert trip.message.startswith("contact lost: -2.5 A")


@pytest.mark.parametrize(
    ("before_A", "current_A", "voltage_V", "gap_s"),
    [
        (1.249, 0.0, 4.21, 1.0),  # it had tapered
        (2.5, ERROR_A + 0.001, 4.21, 1.0),  # it still flows
        (2.5, 0.0, 3.7, 1.0),  # the voltage is not held: that takes its two seconds
        (2.5, 0.0, 4.21, 2.001),  # in accelerated time a cell fills up between two samples
    ],
)
def test_what_is_no_lost_contact(before_A, current_A, voltage_V, gap_s):
    rule = Tracking(output(), 2.0)
    rule.check(sample(0.0, current_A=before_A, voltage_V=4.21))
    assert rule.check(sample(gap_s, current_A=current_A, voltage_V=voltage_V)) is None


@pytest.mark.parametrize(("before_A", "gap_s"), [(1.25, 1.0), (2.5, 2.0), (-1.25, 1.0)])
def test_what_is_just_a_lost_contact(before_A, gap_s):
    rule = Tracking(output(), 2.0)
    rule.check(sample(0.0, current_A=before_A, voltage_V=4.21))
    assert rule.check(sample(gap_s, current_A=0.0, voltage_V=4.21)) is not None


def test_a_contact_is_lost_once_and_not_by_what_flowed_before_an_edge():
    rule = Tracking(output(), 2.0)
    rule.check(sample(0.0, current_A=2.5))
    assert rule.check(sample(0.5, current_A=1.0, voltage_V=4.21)) is None  # it tapers
    assert rule.check(sample(1.0, current_A=0.0, voltage_V=4.21)) is None
    out = output()
    rule = Tracking(out, 2.0)
    rule.check(sample(0.0, current_A=2.5))
    out.command(None, 0.1)
    rule.check(sample(0.2))
    out.command(CHARGE, 0.3)
    assert rule.check(sample(1.3, current_A=0.0, voltage_V=4.21)) is None


def test_switched_off_it_says_nothing():
    rule = Tracking(output(), inf)
    rule.check(sample(0.0, current_A=2.5))
    assert first(rule, row(0.0, 100.0, voltage_V=4.21, from_s=0.5)) is None
    assert first(rule, row(0.0, 100.0, from_s=200.0)) is None


# What others ask the output.


def test_the_output_says_which_way_current_may_flow():
    assert (output(CHARGE).may_charge, output(CHARGE).may_discharge) == (True, False)
    assert (output(DISCHARGE).may_charge, output(DISCHARGE).may_discharge) == (False, True)
    assert (output(HOLD).may_charge, output(HOLD).may_discharge) == (True, True)
    assert (output(None).may_charge, output(None).may_discharge) == (False, False)


def test_the_output_says_which_current_was_asked_for():
    assert output(CHARGE).wanted_A == 2.5
    assert output(DISCHARGE).wanted_A == -2.5
    assert isnan(output(HOLD).wanted_A)
    assert not output(None).wanted_A


def test_an_output_that_is_off_regulates_nothing():
    assert not output(None).regulates(0.0)
    assert output(CHARGE).regulates(4.21)
    assert not output(CHARGE).regulates(nan)


def test_a_step_edge_is_a_switching_a_new_voltage_or_a_current_that_moves_by_five_percent():
    rule = Output(10.0)
    assert rule.edge_s == -inf
    edges = [
        (Setpoint(4.2, 2.0, 0.0), 1.0, 1.0),
        (Setpoint(4.2, 2.09, 0.0), 2.0, 1.0),  # as at constant power
        (Setpoint(4.2, 2.19, 0.0), 3.0, 1.0),
        (Setpoint(4.2, 2.30, 0.0), 4.0, 4.0),
        (Setpoint(4.2, 2.0, 0.0), 5.0, 5.0),
        (Setpoint(4.3, 2.0, 0.0), 6.0, 6.0),
        (Setpoint(4.3, 2.0, 0.1), 7.0, 7.0),
        (Setpoint(4.3, 2.0, 0.1), 8.0, 7.0),
        (None, 9.0, 9.0),
        (None, 10.0, 9.0),
        (Setpoint(4.2, 2.0, 0.0), 11.0, 11.0),
    ]
    for setpoint, at_s, edge_s in edges:
        rule.command(setpoint, at_s)
        assert rule.edge_s == edge_s, at_s
