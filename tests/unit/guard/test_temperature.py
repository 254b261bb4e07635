"""T1 and T2 by direction, T3, T4, P4: at, under and over their limits; what must not trip."""

from __future__ import annotations

import random
from math import inf, nan

import pytest

from daq.control.guard import Attached, Excess, Rise, Temperature
from daq.model import Limits
from tests.unit.guard.samples import CHARGE, DISCHARGE, HOLD, NOT_NUMBERS, first, output, sample


class Place:
    """A chamber and a cell whose numbers a test sets."""

    def __init__(self, chamber_degC: float = 25.0, current_A: float = 2.5) -> None:
        self.chamber_degC = chamber_degC
        self.current_A = current_A


def rise(limit_K_min: float = 2.0) -> tuple[Rise, Place]:
    place = Place()
    rule = Rise(lambda: place.chamber_degC)
    rule.limit_K_min = limit_K_min
    return rule, place


def ramp(K_per_min, seconds=60.0, step_s=1.0, from_degC=25.0):
    count = round(seconds / step_s)
    return [
        sample(n * step_s, temperature_degC=from_degC + K_per_min * n * step_s / 60.0)
        for n in range(count + 1)
    ]


# T1, T2: each direction has a span of its own.


@pytest.mark.parametrize(
    ("setpoint", "degC", "check"),
    [
        (CHARGE, 0.0, ""),
        (CHARGE, -0.1, "T2"),
        (CHARGE, 40.0, ""),
        (CHARGE, 40.1, "T1"),
        (DISCHARGE, -10.0, ""),
        (DISCHARGE, -10.1, "T2"),
        (DISCHARGE, 50.0, ""),
        (DISCHARGE, 50.1, "T1"),
        (HOLD, -0.1, "T2"),
        (HOLD, 40.1, "T1"),
        (None, -20.0, ""),
        (None, -20.1, "T2"),
        (None, 60.0, ""),
        (None, 60.1, "T1"),
    ],
)
def test_each_direction_has_its_own_limits(setpoint, degC, check):
    rule = Temperature(output(setpoint))
    rule.set(
        Limits(
            temperature_degC=(-20.0, 60.0),
            charging_degC=(-30.0, 40.0),  # nobody can allow less than 0 degC
            discharging_degC=(-10.0, 50.0),
        )
    )
    found = first(rule, [sample(n, temperature_degC=degC) for n in range(2)])
    assert (found[0] if found else "") == check


@pytest.mark.parametrize("degC", [-100.1, 1000.1, *NOT_NUMBERS])
def test_what_no_cell_can_have_is_no_temperature(degC):
    rule = Temperature()
    rule.set(Limits(temperature_degC=(0.0, 60.0)))
    assert first(rule, [sample(n, temperature_degC=degC) for n in range(5)]) is None


@pytest.mark.parametrize(("degC", "check"), [(-100.0, "T2"), (1000.0, "T1")])
def test_what_a_burning_cell_can_have_is_one(degC, check):
    rule = Temperature()
    rule.set(Limits(temperature_degC=(0.0, 60.0)))
    trip = rule.check(sample(temperature_degC=degC))
    assert trip is not None
    assert trip.check == check


# T3.


@pytest.mark.parametrize(("K_per_min", "trips"), [(1.98, False), (2.02, True), (-5.0, False)])
def test_two_kelvin_a_minute_over_half_a_minute_trip(K_per_min, trips):
    rule, _ = rise()
    found = first(rule, ramp(K_per_min))
    assert (found is not None) is trips
    if found:
        assert found == ("T3", 30.0, "the cell warms by 2.02 K/min, the limit is 2")


@pytest.mark.parametrize(("K_per_min", "warns"), [(0.99, 0), (1.01, 1)])
def test_half_of_it_warns_once(K_per_min, warns):
    rule, _ = rise()
    said = []
    for one in ramp(K_per_min, 120.0):
        assert rule.check(one) is None
        if rule.caution:
            said.append((rule.caution.check, rule.caution.message))
    assert said == [("T3", "the cell warms by 1.01 K/min")] * warns


def test_a_rise_that_ends_and_begins_again_warns_again():
    rule, _ = rise()
    said, degC = 0, 25.0
    for second in range(300):
        degC += 1.5 / 60 if second < 100 or second > 200 else 0.0
        assert rule.check(sample(second, temperature_degC=degC)) is None
        said += rule.caution is not None
    assert said == 2


def test_a_caution_is_told_once_and_forgotten_with_the_next_sample():
    rule, _ = rise()
    for one in ramp(1.5, 30.0):
        rule.check(one)
    assert rule.caution is not None
    rule.check(sample(30.2, temperature_degC=25.8))
    assert rule.caution is None


def test_less_than_thirty_seconds_and_fewer_than_five_points_say_nothing():
    rule, _ = rise()
    assert first(rule, ramp(20.0, 29.0)) is None
    rule, _ = rise()
    assert first(rule, ramp(20.0, 30.0, step_s=10.0)) is None
    rule, _ = rise()
    assert first(rule, ramp(20.0, 40.0, step_s=10.0)) is not None


def test_only_the_last_half_minute_counts():
    rule, _ = rise()
    calm = [sample(n, temperature_degC=25.0) for n in range(600)]
    assert first(rule, calm) is None
    warm = [sample(600 + n, temperature_degC=25.0 + 4.0 * (n + 1) / 60) for n in range(40)]
    found = first(rule, warm)
    assert found is not None
    assert found[1] < 630.0


@pytest.mark.parametrize("chamber_degC", [25.0, nan])
def test_half_a_kelvin_a_second_over_three_seconds_trips_at_the_second_sight(chamber_degC):
    rule, place = rise()
    place.chamber_degC = chamber_degC
    found = first(rule, ramp(30.0, 10.0))
    assert found == ("T3", 4.0, "the cell warms by 0.5 K/s")
    rule, place = rise()
    assert first(rule, ramp(29.9, 10.0)) is None


def test_one_reading_that_jumps_is_no_runaway():
    rule, _ = rise()
    calm = [sample(n, temperature_degC=25.0) for n in range(10)]
    assert first(rule, calm) is None
    assert rule.check(sample(10, temperature_degC=45.0)) is None
    assert first(rule, [sample(11 + n, temperature_degC=25.0) for n in range(3)]) is None


def test_a_slow_sensor_is_compared_over_five_seconds_and_not_over_six():
    rule, _ = rise()
    found = first(rule, ramp(60.0, 20.0, step_s=5.0))
    assert found is not None
    assert found[1] == 10.0
    rule, _ = rise()
    assert first(rule, ramp(60.0, 18.0, step_s=6.0)) is None


def test_a_fast_sensor_is_looked_at_once_a_second():
    rule, _ = rise()
    assert first(rule, ramp(1.98, 90.0, step_s=0.1)) is None
    rule, _ = rise()
    found = first(rule, ramp(2.02, 90.0, step_s=0.1))
    assert found is not None
    assert found[1] == pytest.approx(30.0, abs=1.5)
    assert len(rule._points) <= 32


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_no_number_is_no_rise(value):
    rule, _ = rise()
    samples = ramp(1.9)
    samples.insert(20, sample(19.5, temperature_degC=value))
    assert first(rule, samples) is None


def test_switched_off_it_says_nothing():
    rule, _ = rise(inf)
    assert first(rule, ramp(600.0)) is None
    assert rule.caution is None


@pytest.mark.parametrize("lag_s", [3.0, 8.0, 15.0, 20.0, 30.0, 60.0, 300.0, 1200.0])
def test_a_cell_that_follows_its_chambers_ramp_never_trips(lag_s):
    rule, place = rise()
    cell = place.chamber_degC = 10.0
    for second in range(900):
        place.chamber_degC = min(45.0, 10.0 + 5.0 * second / 60.0)
        cell += (place.chamber_degC - cell) / lag_s
        assert rule.check(sample(second, temperature_degC=cell)) is None, second
        assert rule.caution is None, second


def test_a_runaway_during_a_ramp_trips_all_the_same():
    rule, place = rise()
    samples = []
    for second in range(120):
        place.chamber_degC = 25.0 + 2.0 * second / 60.0
        samples.append(sample(second, temperature_degC=30.0 + 4.7 * second / 60.0))
        if rule.check(samples[-1]):
            break
    else:
        raise AssertionError("2.6 K/min are the chamber's, 2.1 K/min the cell's")


@pytest.mark.parametrize(("K_per_min", "trips"), [(21.4, False), (21.6, True)])
def test_a_colder_cell_may_be_warmed_as_if_it_followed_within_twenty_seconds(K_per_min, trips):
    rule, _ = rise()  # 5 K colder at first: 1.3 times 15 K/min are the chamber's
    assert (first(rule, ramp(K_per_min, 30.0, from_degC=20.0)) is not None) is trips


@pytest.mark.parametrize(("K_per_min", "trips"), [(3.9, False), (4.0, True)])
def test_the_chambers_own_rate_is_no_alarm(K_per_min, trips):
    rule, place = rise()
    seen = []
    for one in ramp(K_per_min, 30.0, from_degC=40.0):
        place.chamber_degC = 25.0 + 1.5 * one.time_s / 60.0
        seen.append(rule.check(one))
    assert any(seen) is trips


@pytest.mark.parametrize("noise_K", [0.05, 0.2])
def test_hours_of_noise_never_trip_nor_warn(noise_K):
    rule, place = rise()
    dice = random.Random(f"noise {noise_K}")
    for second in range(5_000):
        one = sample(second, temperature_degC=25.0 + dice.gauss(0.0, noise_K))
        assert rule.check(one) is None


# T4.


def excess(limit_K: float = 15.0, setpoint=CHARGE) -> tuple[Excess, Place]:
    place = Place()
    rule = Excess(output(setpoint), lambda: place.chamber_degC)
    rule.limit_K = limit_K
    return rule, place


@pytest.mark.parametrize(("degC", "trips"), [(39.9, False), (40.0, False), (40.1, True)])
def test_fifteen_kelvin_above_the_chamber_trip_at_the_second_sample(degC, trips):
    rule, _ = excess()
    found = first(rule, [sample(n, temperature_degC=degC) for n in range(3)])
    assert (found is not None) is trips
    if found:
        assert found == ("T4", 1, "the cell is 15.1 K warmer than its chamber")


def test_one_warm_reading_between_two_is_no_trip():
    rule, _ = excess()
    row = [25.0, 50.0, 25.0, 50.0, 25.0]
    assert first(rule, [sample(n, temperature_degC=d) for n, d in enumerate(row)]) is None


def test_nothing_is_judged_while_it_is_off_or_not_measured():
    rule, _ = excess(setpoint=None)
    assert first(rule, [sample(n, temperature_degC=60.0) for n in range(5)]) is None
    rule, place = excess()
    place.chamber_degC = nan
    assert first(rule, [sample(n, temperature_degC=60.0) for n in range(5)]) is None
    rule, place = excess()
    for value in NOT_NUMBERS:
        assert first(rule, [sample(n, temperature_degC=value) for n in range(5)]) is None


def test_a_reading_that_is_missing_forgives_nothing():
    rule, place = excess()
    assert rule.check(sample(0, temperature_degC=60.0)) is None
    assert rule.check(sample(1, temperature_degC=nan)) is None
    assert rule.check(sample(2, temperature_degC=60.0)) is not None


def test_a_chamber_that_was_cooled_down_leaves_its_heat_in_the_cell():
    rule, place = excess()
    cell = place.chamber_degC = 60.0
    for second in range(0, 3600, 10):
        place.chamber_degC = max(10.0, 60.0 - 5.0 * second / 60.0)
        cell += (place.chamber_degC - cell) * 10.0 / 900.0
        assert rule.check(sample(second, temperature_degC=cell)) is None, second


def test_an_hour_later_an_earlier_setpoint_is_no_excuse():
    rule, place = excess()
    place.chamber_degC = 60.0
    rule.check(sample(0.0, temperature_degC=60.0))
    place.chamber_degC = 25.0
    found = first(rule, [sample(n * 60.0, temperature_degC=50.0) for n in range(1, 90)])
    assert found is not None
    assert 2100.0 < found[1] < 2400.0


# P4.


def attached(current_A=2.5, setpoint=CHARGE, patience_s=600.0, nominal_Ah=2.5):
    place = Place(current_A=current_A)
    out = output(setpoint)
    rule = Attached(out, lambda: place.chamber_degC, lambda: place.current_A)
    rule.patience_s, rule.nominal_Ah = patience_s, nominal_Ah
    return rule, place, out


def hours(rule, degC, seconds, from_s=0.0, step_s=5.0):
    """Samples of a sensor; the time of the trip, if any."""
    found = first(
        rule,
        [
            sample(from_s + n * step_s, temperature_degC=degC)
            for n in range(round(seconds / step_s) + 1)
        ],
    )
    return found


def test_a_sensor_that_falls_off_is_missed_after_half_a_minute():
    rule, _, _ = attached(current_A=2.0)
    assert hours(rule, 28.0, 300.0) is None
    found = hours(rule, 25.0, 60.0, from_s=305.0)
    assert found is not None
    assert found[0] == "P4"
    assert found[1] == 335.0
    assert "above the chamber and reads it now" in found[2]
    assert "2.6" in found[2]


@pytest.mark.parametrize(("warm_K", "trips"), [(1.7, True), (1.4, False)])
def test_only_what_was_warm_can_be_missed(warm_K, trips):
    rule, _, _ = attached(current_A=2.0)
    hours(rule, 25.0 + warm_K, 300.0)
    assert (hours(rule, 25.0, 100.0, from_s=305.0) is not None) is trips


@pytest.mark.parametrize(("left_K", "trips"), [(0.5, True), (0.7, False)])
def test_what_keeps_a_fifth_of_its_warmth_has_not_fallen_off(left_K, trips):
    rule, _, _ = attached(current_A=2.0)
    hours(rule, 28.0, 300.0)
    assert (hours(rule, 25.0 + left_K, 45.0, from_s=305.0) is not None) is trips


def test_a_cell_that_cools_because_its_current_tapers_keeps_its_sensor():
    rule, place, _ = attached()
    excess_K = 0.0
    for second in range(0, 7200, 5):
        place.current_A = 2.5 if second < 3000 else 2.5 * 0.998 ** ((second - 3000) / 5)
        heat_K = 4.0 * (place.current_A / 2.5) ** 2
        excess_K += (heat_K - excess_K) * 5.0 / 200.0
        assert rule.check(sample(second, temperature_degC=25.0 + excess_K)) is None, second


@pytest.mark.parametrize(("amps", "trips"), [(1.81, True), (1.79, False)])
def test_nine_tenths_of_the_current_make_the_warmth_that_is_missed(amps, trips):
    rule, place, _ = attached(current_A=2.0)
    hours(rule, 28.0, 300.0)
    place.current_A = amps
    assert (hours(rule, 25.0, 60.0, from_s=305.0) is not None) is trips


def test_a_cell_that_cools_slowly_by_its_entropy_keeps_its_sensor():
    rule, _, _ = attached(current_A=2.0)
    for second in range(0, 3600, 5):
        excess_K = 0.9 + 0.9 * (1.0 if second < 600 else max(-1.0, 1.0 - (second - 600) / 600.0))
        assert rule.check(sample(second, temperature_degC=25.0 + excess_K)) is None, second


@pytest.mark.parametrize("what", ["edge", "chamber", "off"])
def test_an_edge_a_moving_chamber_and_off_explain_a_cell_that_cools(what):
    rule, place, out = attached(current_A=2.0)
    hours(rule, 28.0, 300.0)
    if what == "edge":
        out.command(DISCHARGE, 301.0)
    elif what == "off":
        out.command(None, 301.0)
    else:
        place.chamber_degC = 25.4
    assert hours(rule, 25.0, 200.0, from_s=305.0) is None


@pytest.mark.parametrize("value", [nan, 9.9e37])
def test_without_a_current_or_a_chamber_nothing_is_missed(value):
    rule, place, _ = attached(current_A=2.0)
    hours(rule, 28.0, 300.0)
    place.current_A = value
    assert hours(rule, 25.0, 100.0, from_s=305.0) is None
    rule, place, _ = attached()
    place.chamber_degC = value
    assert hours(rule, 25.0, 1000.0) is None
    rule, place, _ = attached()
    assert hours(rule, value, 1000.0) is None


def test_a_working_cell_that_is_exactly_ambient_for_ten_minutes_has_no_sensor():
    rule, _, _ = attached()
    found = hours(rule, 25.0, 700.0)
    assert found == ("P4", 600.0, "the sensor reads the chamber's temperature while the cell works")


@pytest.mark.parametrize(
    ("changes", "degC", "trips"),
    [
        ({}, 25.29, True),
        ({}, 24.71, True),
        ({}, 25.31, False),
        ({}, 24.69, False),
        ({"current_A": -2.5}, 25.0, True),
        ({"current_A": 0.95 * 2.5}, 25.0, True),
        ({"current_A": 0.94 * 2.5}, 25.0, False),
        ({"nominal_Ah": 0.99, "current_A": 0.99}, 25.0, False),  # a coin cell warms nothing
        ({"nominal_Ah": 1.0, "current_A": 1.0}, 25.0, True),
        ({"setpoint": None}, 25.0, False),
        ({"patience_s": inf}, 25.0, False),
    ],
)
def test_when_a_sensor_is_taken_for_missing(changes, degC, trips):
    rule, _, _ = attached(**changes)
    assert (hours(rule, degC, 700.0) is not None) is trips


def test_a_moment_of_warmth_begins_the_ten_minutes_anew():
    rule, _, _ = attached()
    assert hours(rule, 25.0, 400.0) is None
    assert hours(rule, 25.5, 5.0, from_s=405.0) is None
    assert hours(rule, 25.0, 595.0, from_s=415.0) is None
    assert hours(rule, 25.0, 10.0, from_s=1015.0) is not None
