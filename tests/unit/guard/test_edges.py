"""Exactly at an edge: where limit and reading are the same number, to the last bit.

The numbers are chosen so that their differences and products are exact: a chamber at 0 degC, a
module of 100 V, currents of whole amperes.
"""

from __future__ import annotations

from statistics import linear_regression

import pytest

from daq.control.guard import (
    Attached,
    BackCheck,
    Charge,
    Current,
    Jump,
    Output,
    Rise,
    Stuck,
    Temperature,
    Tracking,
    Trail,
    Voltage,
)
from daq.control.guard.sensors import MEMORY
from daq.model import Limits, Setpoint
from tests.unit.guard.samples import CHARGE, DISCHARGE, first, output, sample

# V1, V2, I1, T1, T2.


def test_exactly_one_percent_past_a_limit_is_not_far():
    rule = Voltage()
    rule.span = (100.0, 200.0)
    assert rule.check(sample(voltage_V=202.0)) is None
    rule = Current()
    rule.span = (-100.0, 100.0)
    assert rule.check(sample(current_A=-101.0)) is None


@pytest.mark.parametrize(
    ("degC", "check", "message"),
    [
        (46.0, "T1", "temperature 46 degC is above the limit of 45 degC"),
        (4.0, "T2", "temperature 4 degC is below the limit of 5 degC"),
    ],
)
def test_exactly_one_kelvin_past_a_limit_is_not_far(degC, check, message):
    rule = Temperature()
    rule.set(Limits(temperature_degC=(5.0, 45.0)))
    assert rule.check(sample(temperature_degC=degC)) is None
    trip = rule.check(sample(temperature_degC=degC))
    assert (trip.check, trip.message) == (check, message)


def test_where_the_tiers_leave_nothing_every_value_trips_and_the_nearer_limit_is_not_named():
    rule = Voltage()
    rule.span = (4.0, 3.0)
    assert rule.check(sample(voltage_V=3.0)).check == "V2"
    assert rule.check(sample(voltage_V=4.0)).check == "V1"


# I1, I2, and what the output is doing.


def test_the_current_of_a_discharge_has_a_second_to_go_as_well():
    rule = output(DISCHARGE)
    rule.command(Setpoint(2.49, 0.0, 1.0), 10.0)
    for tenth in range(10):
        assert rule.check(sample(10.0 + tenth / 10, current_A=-2.5)) is None
    assert rule.check(sample(11.0, current_A=-2.5)) is None
    assert rule.check(sample(11.1, current_A=-2.5)) is not None


def test_a_switching_forgets_that_an_earlier_current_was_given_a_second():
    rule = output(CHARGE)
    rule.command(Setpoint(4.21, 1.0, 0.0), 9.9)
    rule.command(None, 10.0)
    assert rule.check(sample(11.0, current_A=2.5)) is None
    trip = rule.check(sample(11.1, current_A=2.5))
    assert trip.message == "2.5 A flow; commanded OFF, (0.0, 0.0) A allowed"


def test_a_setpoint_without_a_current_is_switched_on_like_any_other():
    rule = Output(10.0)
    rule.command(Setpoint(4.2, 0.0, 0.0), 5.0)
    assert (rule.edge_s, rule.commanded_on) == (5.0, True)
    rule.command(None, 6.0)
    assert rule.edge_s == 6.0


def test_half_a_percent_from_its_setpoint_a_voltage_is_held():
    assert output(Setpoint(200.0, 1.0, 0.0)).regulates(201.0)
    assert output(Setpoint(0.0, 1.0, 0.0)).regulates(0.010)


def test_a_current_that_misses_by_exactly_what_is_allowed_tracks():
    out = Output(100.0)
    out.command(Setpoint(60.0, 10.0, 0.0), -100.0)  # 0.5 A are 5 %, 0.5 A the range's error
    assert first(Tracking(out, 2.0), [sample(n, current_A=9.0) for n in range(10)]) is None


# V3, R1, P2.


@pytest.mark.parametrize("other_V", [3.5, 2.5])
def test_an_independent_reading_at_the_end_of_what_is_allowed_agrees(other_V):
    rule = BackCheck(0.5)
    for second in range(5):
        assert rule.check(sample(second, voltage_V=3.0)) is None
        rule.see(sample(second + 0.5, voltage_V=other_V))


def jump(before, after_V, factor=20.0, **kept):
    """What R1 says of a voltage that moved like this before, and then reads that."""
    rule = Jump(output(**kept))
    rule.factor = factor
    assert first(rule, before) is None
    at_s = before[-1].time_s
    return first(rule, [sample(at_s + 1.0 + n, voltage_V=v) for n, v in enumerate(after_V)])


def swing(low_V, high_V, count=41, from_s=0.0):
    """Ends at the low one."""
    return [sample(from_s + n, voltage_V=high_V if n % 2 else low_V) for n in range(count)]


def test_exactly_fifty_millivolts_or_one_percent_are_no_jump():
    assert jump(swing(0.0, 0.001), [0.05, 0.05]) is None
    assert jump(swing(100.0, 100.001), [101.0, 101.0]) is None


def test_exactly_twenty_times_the_usual_rate_is_no_jump():
    assert jump(swing(40.0, 40.25), [45.0, 45.0]) is None
    assert jump(swing(40.0, 40.25), [45.25, 45.25]) is not None


def test_a_jump_of_which_exactly_four_fifths_stay_has_stayed():
    assert jump(swing(40.0, 40.25), [50.0, 48.0]) is not None


def test_the_sample_exactly_a_second_after_an_edge_is_the_first_that_counts():
    for count, trips in ((10, False), (11, True)):  # ten differences make a usual rate
        before = swing(3.7, 3.701, count, from_s=1.0)
        found = jump(before, [3.9, 3.9], at_s=0.0)
        assert (found is not None) is trips, count


def test_a_first_reading_is_not_lively_and_one_that_moves_by_two_steps_is():
    trail = Trail("voltage")
    trail.see(0.0, 0.0)
    assert trail.liveliness == 0.0
    trail.see(1.0, 1.0)
    assert trail.liveliness == 0.0
    trail.see(3.0, 2.0)
    assert trail.liveliness == MEMORY


@pytest.mark.parametrize(("repeats", "faded_by"), [(0, 1), (5, 6), (39, 40), (40, 40), (500, 40)])
def test_liveliness_fades_by_a_thirtieth_a_sample_and_by_no_more_than_forty(repeats, faded_by):
    trail = Trail("voltage")
    for n, value in enumerate((0.0, 1.0, 3.0, 6.0)):
        trail.see(value, float(n))
    before = trail.liveliness
    for n in range(repeats):
        trail.see(6.0, 4.0 + n)
    assert trail.liveliness == before
    trail.see(7.0, 1000.0)  # one step is not lively
    assert trail.liveliness == pytest.approx(before * (29.0 / 30.0) ** faded_by, rel=1e-12)


LIVELY = [0.01 * step for step in (0, 1, 5, 2, 9, 3, 7)] * 15
"""Moves by its smallest step now and then, and mostly by more."""


def beside(other_values):
    """A lively voltage that stands from 100 s on, beside these readings of another quantity."""
    own, other = Trail("voltage"), Trail("current")
    rule = Stuck(own, [other])
    rule.patience_s = 60.0
    for n, value in enumerate(other_values):
        if value is not None:
            other.see(value, float(n))
        volts = 3.7 + (LIVELY[n] if n < 100 else 0.0)
        if rule.judge(volts, float(n), expected_still=False):
            return float(n)
    assert own.lively
    return None


def test_a_coarse_reading_that_stands_as_well_is_no_witness():
    assert beside([2.5] * 400) is None


def test_a_witness_stands_after_exactly_twenty_repeats():
    assert beside(LIVELY[:100] + [50.0] * 21 + [None] * 80) == 160.0
    assert beside(LIVELY[:100] + [50.0] * 20 + [None] * 80) is None


# Q1, Q2.


def test_exactly_what_may_be_charged_and_drawn_may_be():
    rule = Charge()
    rule.limit_Ah = rule.window_Ah = 1.0
    assert first(rule, [sample(3600.0 * n, current_A=1.0) for n in range(2)]) is None
    rule.reset()
    assert first(rule, [sample(3600.0 * n, current_A=-1.0) for n in range(2)]) is None


# T3.


def rise(limit_K_min, chamber_degC=25.0):
    rule = Rise(lambda: chamber_degC)
    rule.limit_K_min = limit_K_min
    return rule


def ramp(K_per_s, from_s=0.0, seconds=60):
    return [sample(from_s + n, temperature_degC=25.0 + K_per_s * n) for n in range(seconds)]


def test_exactly_the_allowed_rate_is_allowed_and_half_of_it_does_not_warn():
    assert first(rise(1.875), ramp(1 / 32)) is None
    rule = rise(3.75)
    for one in ramp(1 / 32):
        assert rule.check(one) is None
        assert rule.caution is None


def test_a_rate_needs_half_a_minute_whatever_the_time_of_the_lab():
    found = first(rise(2.0), ramp(20.0 / 60.0, from_s=1e6))
    assert found is not None
    assert found[1] == 1e6 + 30.0


def test_a_rate_is_the_slope_of_the_line_through_exactly_the_last_half_minute():
    kelvins = [0.0] * 100 + [0.0005 * n**2 for n in range(1, 60)]
    row = [sample(n, temperature_degC=30.0 + K) for n, K in enumerate(kelvins)]
    slopes = {
        n: 60.0 * linear_regression(range(n - 30, n + 1), kelvins[n - 30 : n + 1]).slope
        for n in range(30, len(kelvins))
    }
    expected_s = next(n for n, rate in slopes.items() if rate > 1.0)
    found = first(rise(1.0), row)
    assert found == (
        "T3", expected_s, f"the cell warms by {slopes[expected_s]:.3g} K/min, the limit is 1"
    )  # fmt: skip


def test_a_chamber_that_cools_below_a_warm_cell_takes_nothing_from_its_rate():
    chamber = [40.0]
    rule = Rise(lambda: chamber[0])
    rule.limit_K_min = 2.0
    for second in range(60):
        chamber[0] = 40.0 - 3.0 * second / 60.0
        assert rule.check(sample(second, temperature_degC=50.0 + 1.9 * second / 60.0)) is None


# P4.


def attached(readings, current_A=10.0, nominal_Ah=100.0, patience_s=600.0):
    """When P4 trips: (lab time, K above a chamber at 0 degC[, A]) in turn."""
    now = {"A": current_A}
    rule = Attached(output(Setpoint(4.2, 20.0, 0.0)), lambda: 0.0, lambda: now["A"])
    rule.patience_s, rule.nominal_Ah = patience_s, nominal_Ah
    for time_s, degC, *amps in readings:
        now["A"] = amps[0] if amps else current_A
        if rule.check(sample(time_s, temperature_degC=degC)):
            return time_s
    return None


def test_a_warmth_of_exactly_one_and_a_half_kelvin_can_be_missed():
    # Of 6 K half are left after 150 s of five minutes, and half of those after 150 s more.
    assert attached([(0.0, 6.0), (150.0, 0.0), (300.0, 0.0)]) == 300.0
    assert attached([(0.0, 5.999), (150.0, 0.0), (300.0, 0.0)]) is None


def test_exactly_a_fifth_of_the_warmth_has_fallen_off():
    assert attached([(0.0, 10.0), (150.0, 1.0), (300.0, 0.5)]) == 300.0
    assert attached([(0.0, 10.0), (150.0, 1.0), (300.0, 0.501)]) is None


def test_exactly_nine_tenths_of_the_current_keep_a_cell_warm():
    assert attached([(0.0, 6.0), (150.0, 0.0, 9.0), (180.0, 0.0, 9.0)]) == 180.0
    assert attached([(0.0, 6.0), (150.0, 0.0, 8.999), (180.0, 0.0, 8.999)]) is None


def test_of_two_samples_that_are_equally_warm_the_later_one_tells_the_current():
    # Three kelvins, of which three quarters are remembered 75 s later, and read.
    assert attached([(0.0, 3.0), (75.0, 2.25, 15.0), (80.0, 0.0), (115.0, 0.0)]) is None
    assert attached([(0.0, 3.0), (75.0, 2.249, 15.0), (80.0, 0.0), (115.0, 0.0)]) == 115.0


@pytest.mark.parametrize("excess_K", [0.3, -0.3])
def test_exactly_three_tenths_of_a_kelvin_are_the_chambers_temperature(excess_K):
    row = [(10.0 * n, excess_K) for n in range(70)]
    assert attached(row, nominal_Ah=10.0) == 600.0


def test_a_chamber_that_has_moved_by_exactly_three_tenths_of_a_kelvin_stands():
    chamber = [0.0]
    rule = Attached(output(), lambda: chamber[0], lambda: 2.5)
    rule.patience_s, rule.nominal_Ah = 600.0, 10.0
    assert first(rule, [sample(5.0 * n, temperature_degC=4.0) for n in range(20)]) is None
    chamber[0] = 0.3
    found = first(rule, [sample(100.0 + 5.0 * n, temperature_degC=0.3) for n in range(20)])
    assert found is not None
    assert found[1] == 130.0
