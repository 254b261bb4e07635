"""The guard as a whole: which rule is asked on which thread, what a run sets, what clears."""

from __future__ import annotations

import random
from dataclasses import replace
from math import inf, nan

import pytest

from daq.checks import NOTHING_SET, OFF, Checks
from daq.control.guard import Freshness, Guard
from daq.model import Counters, Limits, Setpoint, Trip
from tests.unit.guard.samples import CHARGE, NOT_NUMBERS, sample
from tests.unit.guard.test_silence import contact

HARD = Limits((2.0, 4.35), (-10.0, 10.0), (-20.0, 60.0))


def guard(*, at_cell: bool = True, checks: Checks | None = None, **more) -> Guard:
    given = {
        "range_A": 10.0,
        "slack_s": 0.5,
        "cycler": Freshness("aps1.1", 0.1),
        "thermometer": Freshness("tc1.1", 1.0),
        "back_check": Freshness("dmm.1", 1.0),
        "interlocks": [Freshness("di1.1", 0.1)],
    } | more
    return Guard(HARD, at_cell=at_cell, checks=checks, **given)


def begun(watched: Guard, checks: Checks = NOTHING_SET, **snapshot) -> Guard:
    watched.begin(
        2.5, checks, at_most_s=1e6, cycles=9, cycle=0, counters=Counters(), snapshot=snapshot
    )
    watched.enter(Limits((2.0, 4.35), (-10.0, 10.0), (-20.0, 60.0)), 0.0, 1e6)
    watched.output.command(CHARGE, -100.0)
    return watched


def test_a_run_brings_its_thresholds_and_may_only_tighten():
    wide = Checks(
        V3=9.0, I2=99.0, R1=99.0, T3=99.0, T4=99.0, Q2=9.0, E1=0.0, S2=0.0, P2=1e9, P4=1e9
    )
    watched = begun(guard(), wide)
    assert watched.back_check.allowed_V == 0.050
    assert watched.tracking.patience_s == 2.0
    assert watched.jump.factor == 20.0
    assert watched.rise.limit_K_min == 2.0
    assert watched.excess.limit_K == 15.0
    assert watched.charge.window_Ah == pytest.approx(2.75)
    assert watched.efficiency.least == 0.5
    assert watched.step_minimum.least_s == 10.0
    assert watched.attached.patience_s == 600.0
    assert watched.attached.nominal_Ah == 2.5
    strict = Checks(
        V3=0.01, I2=1.0, R1=9.0, T3=1.0, T4=5.0, Q2=1.0, E1=0.8, S2=20.0, P2=9.0, P4=9.0
    )
    watched = begun(guard(), strict)
    assert watched.rise.limit_K_min == 1.0
    assert watched.step_minimum.least_s == 20.0
    assert {stuck.patience_s for stuck in watched._stuck.values()} == {9.0}
    assert watched.efficiency.least == 0.8


def test_a_station_may_switch_off_what_it_likes_and_a_run_back_on():
    watched = begun(guard(checks=replace(Checks(), T3=inf)))
    assert watched.rise.limit_K_min == inf
    watched = begun(guard(checks=replace(Checks(), T3=inf)), replace(NOTHING_SET, T3=3.0))
    assert watched.rise.limit_K_min == 3.0


def test_what_is_switched_off_is_known_by_name():
    assert Checks().switched_off == ()
    assert set(NOTHING_SET.switched_off) == set(OFF) - {"Q1"}


def test_without_a_run_only_the_upper_hard_limits_hold():
    watched = begun(guard())
    watched.end()
    watched.output.command(None, -100.0)
    assert watched.check_cycler(sample(0.0, voltage_V=0.0)) is None
    assert watched.check_cycler(sample(1.0, voltage_V=0.0)) is None
    for second in range(100):  # a warm hand on the sensor
        assert watched.check_temperature(sample(second, temperature_degC=20.0 + second / 4)) is None
    assert watched.charge.window_Ah == inf


def test_a_warm_hand_on_the_sensor_of_a_paused_run_is_no_trip_and_after_it_one_is():
    watched = begun(guard())
    watched.relax()
    assert warming(watched, 10.0) is None
    watched = begun(guard())
    watched.relax()
    watched.enter(HARD, 0.0, 1e6)
    found = warming(watched, 3.0)
    assert found is not None
    assert found.check == "T3"


def test_a_run_goes_on_from_its_snapshot():
    watched = begun(guard())
    watched.check_cycler(sample(0.0, current_A=2.5))
    watched.check_cycler(sample(360.0, current_A=2.5))
    watched.step_minimum.began(3.7, 0.1)
    watched.program_time.judge(0.0, 1, 1, runs=True)
    watched.program_time.judge(360.0, 1, 1, runs=True)
    kept = watched.snapshot()
    assert kept == {
        "net_Ah": pytest.approx(0.25),
        "lowest_Ah": 0.0,
        "highest_Ah": pytest.approx(0.25),
        "at_end": 0,
        "before_V": 3.7,
        "from_Ah": 0.1,
        "ran_s": 360.0,
    }
    assert begun(guard(), **kept).snapshot() == kept
    assert begun(guard(), net_Ah=1.0, lowest_Ah=0.5).snapshot()["ran_s"] == 0.0
    assert begun(guard()).snapshot()["net_Ah"] == 0.0


def test_a_new_run_forgets_the_charge_of_the_one_before():
    watched = begun(guard())
    watched.check_cycler(sample(0.0, current_A=2.5))
    watched.check_cycler(sample(360.0, current_A=2.5))
    assert begun(watched).snapshot()["net_Ah"] == 0.0


CYCLER = {
    "V1": {"voltage_V": 4.6},
    "I1": {"current_A": 11.0},
    "I2": {"current_A": 1.0},
}


@pytest.mark.parametrize("check", CYCLER)
def test_the_rules_of_the_cycler_are_asked(check):
    watched = begun(guard())
    trips = [
        watched.check_cycler(sample(0.5 * n, **{"current_A": 2.5, **CYCLER[check]}))
        for n in range(10)
    ]
    assert next(trip.check for trip in trips if trip) == check


def test_the_jump_and_the_back_check_are_asked():
    watched = begun(guard())
    for n in range(40):
        watched.check_cycler(sample(float(n), voltage_V=3.7 + 0.001 * (n % 2), current_A=2.5))
    watched.check_cycler(sample(40.0, voltage_V=3.9, current_A=2.5))
    trip = watched.check_cycler(sample(41.0, voltage_V=3.9, current_A=2.5))
    assert trip is not None
    assert trip.check == "R1"
    watched = begun(guard())
    trips = []
    for n in range(4):
        trips.append(watched.check_cycler(sample(float(n), current_A=2.5)))
        watched.see_back_check(sample(n + 0.5, voltage_V=-3.7))
    assert [trip.check for trip in trips if trip] == ["V3", "V3"]


DICE = random.Random("noise")
NOISE = [round(DICE.gauss(0.0, 10.0)) for _ in range(997)]


def noisy(n: int, scale: float) -> float:
    return scale * NOISE[n]


@pytest.mark.parametrize("quantity", ["voltage_V", "current_A"])
def test_a_reading_of_the_cycler_that_is_stuck_trips(quantity):
    watched = begun(guard())
    found = None
    for n in range(300):
        reading = {"voltage_V": 3.7 + noisy(n, 1e-4), "current_A": 2.5 + noisy(n + 3, 1e-4)}
        if n > 150:
            reading[quantity] = 3.7015 if quantity == "voltage_V" else 2.5015
        found = found or watched.check_cycler(sample(float(n), **reading))
    assert found is not None
    assert found.check == "P2"
    assert quantity.partition("_")[0] in found.message


def test_a_current_that_was_led_along_a_ramp_may_stand_at_its_end():
    """A reading that is rounded coarsely has no noise; what moved it was commanded."""
    watched = begun(guard())
    for n in range(400):
        step = min(n, 100)
        amps = round(0.5 + 0.02 * step + 0.01 * (step % 2), 2)
        if n <= 100:
            watched.output.command(Setpoint(4.3, amps, 0.0), n - 0.5)
        one = sample(float(n), voltage_V=3.7 + noisy(n, 1e-4), current_A=amps)
        assert watched.check_cycler(one) is None, n


def test_a_voltage_that_is_held_and_a_current_that_is_off_may_stand():
    watched = begun(guard())
    watched.output.command(None, -100.0)
    for n in range(500):
        standing = n > 150
        one = sample(
            float(n),
            voltage_V=3.7 + (0.0 if standing else noisy(n, 1e-4)),
            current_A=0.0 if standing else noisy(n, 1e-4),
        )
        assert watched.check_cycler(one) is None
    watched = begun(guard())
    watched.output.command(Setpoint(3.7, 9.0, 0.0), -100.0)
    for n in range(500):
        volts = 3.7 if n > 150 else 3.7 + noisy(n, 1e-4)
        assert (
            watched.check_cycler(sample(float(n), voltage_V=volts, current_A=noisy(n, 1e-3)))
            is None
        )


def test_a_sensor_that_is_stuck_trips_while_energised_only():
    for on in (True, False):
        watched = begun(guard())
        if not on:
            watched.output.command(None, -100.0)
        found = None
        for n in range(300):
            watched.check_cycler(
                sample(float(n), voltage_V=3.7 + noisy(n, 1e-4), current_A=2.5 * on)
            )
            degC = 28.0 + (noisy(n, 0.01) if n < 150 else 0.005)
            found = found or watched.check_temperature(sample(float(n), temperature_degC=degC))
        assert (found is not None) is on
        if found:
            assert found.message.startswith("the temperature reads")


def warming(watched: Guard, K_per_min: float, seconds: int = 40):
    found = None
    for n in range(seconds):
        degC = 25.0 + K_per_min * n / 60.0
        found = found or watched.check_temperature(sample(float(n), temperature_degC=degC))
    return found


def test_the_rules_of_the_sensor_are_asked_where_it_is_at_the_cell():
    found = warming(begun(guard()), 3.0)
    assert found is not None
    assert found.check == "T3"
    assert warming(begun(guard(at_cell=False)), 3.0) is None
    for at_cell, check in ((True, "T4"), (False, None)):
        watched = begun(guard(at_cell=at_cell))
        watched.see_chamber(sample(0.0, temperature_degC=25.0))
        trips = [watched.check_temperature(sample(n, temperature_degC=45.0)) for n in range(2)]
        assert [trip.check for trip in trips if trip] == ([check] if check else [])
    watched = begun(guard())
    watched.see_chamber(sample(0.0, temperature_degC=25.0))
    watched.check_cycler(sample(0.0, current_A=2.5))
    trips = [watched.check_temperature(sample(10.0 * n, temperature_degC=25.0)) for n in range(70)]
    assert next(trip.check for trip in trips if trip) == "P4"


def test_a_warning_of_the_sensor_is_handed_on():
    watched = begun(guard())
    said = []
    watched.caution = said.append
    assert warming(watched, 1.5) is None
    assert [caution.check for caution in said] == ["T3"]
    silent = begun(guard())  # nobody listens
    assert warming(silent, 1.5) is None


def test_a_station_without_a_thermometer_judges_temperatures_all_the_same():
    watched = begun(guard(thermometer=None))
    assert watched.check_temperature(sample(temperature_degC=70.0)) is not None


# Silence, and what clears.


def heard(watched: Guard, at_s: float = 100.0, **reading) -> Guard:
    watched.check_cycler(sample(at_s, **reading))
    watched.check_temperature(sample(at_s, **reading))
    watched.see_back_check(sample(at_s))
    watched.interlocks.see(contact(1, at_s))
    return watched


@pytest.mark.parametrize("source", ["aps1.1", "tc1.1", "dmm.1"])
def test_each_source_must_be_heard(source):
    watched = heard(guard(), 100.0)
    late = 103.5
    if source != "aps1.1":
        watched.check_cycler(sample(late))
    if source != "tc1.1":
        watched.check_temperature(sample(late))
    if source != "dmm.1":
        watched.see_back_check(sample(late))
    trip = watched.check_silence(late)
    assert trip is not None
    assert (trip.check, trip.source) == ("P1", source)


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_an_independent_channel_without_a_number_is_silent(value):
    watched = heard(guard())
    watched.check_cycler(sample(104.0))
    watched.check_temperature(sample(104.0))
    watched.see_back_check(sample(104.0, voltage_V=value))
    trip = watched.check_silence(104.0)
    assert trip is not None
    assert trip.source == "dmm.1"


def test_a_station_without_an_independent_channel_waits_for_none():
    watched = guard(back_check=None)
    watched.check_cycler(sample(100.0))
    watched.check_temperature(sample(100.0))
    watched.see_back_check(sample(0.0))
    assert watched.check_silence(101.0) is None


def test_polls_are_counted_whatever_they_bring():
    watched = guard()
    watched.check_cycler(sample(100.0, voltage_V=nan))
    assert watched.polls.judge(100.2) == ""
    assert watched.polls.judge(100.3) != ""


V1, V2, T2 = Trip("V1", ""), Trip("V2", ""), Trip("T2", "")


@pytest.mark.parametrize(
    ("latch", "reading", "says"),
    [
        (V1, {}, ""),
        (V1, {"voltage_V": 4.35}, ""),
        (V1, {"voltage_V": 4.351}, "voltage 4.351 V is not within -inf to 4.35 V"),
        (V1, {"voltage_V": 0.0}, ""),  # the cell was taken out
        (V2, {"voltage_V": 2.0}, ""),
        (V2, {"voltage_V": 1.99}, "voltage 1.99 V is not within 2 to 4.35 V"),
        (V1, {"temperature_degC": 60.0}, ""),
        (V1, {"temperature_degC": 60.1}, "temperature 60.1 degC is not within -inf to 60 degC"),
        (V1, {"temperature_degC": -25.0}, ""),
        (T2, {"temperature_degC": -20.0}, ""),
        (T2, {"temperature_degC": -20.1}, "temperature -20.1 degC is not within -20 to 60 degC"),
        (V1, {"current_A": 0.05}, ""),
        (V1, {"current_A": 0.051}, "current 0.051 A is not within -0.05 to 0.05 A"),
        (V1, {"current_A": -0.051}, "current -0.051 A is not within -0.05 to 0.05 A"),
    ],
)
def test_a_trip_is_cleared_when_its_condition_is_gone(latch, reading, says):
    assert heard(guard(), **reading).still(latch, 100.5) == says


def test_a_trip_is_not_cleared_while_a_source_is_silent_or_a_contact_open():
    assert "aps1.1" in heard(guard()).still(V1, 102.5)
    watched = heard(guard())
    watched.interlocks.see(contact(1, 100.2, "door"))
    assert watched.still(V1, 100.5) == "di1.1: door"


def test_where_nobody_measures_a_temperature_none_is_judged():
    watched = guard(thermometer=None, back_check=None, interlocks=[])
    watched.check_cycler(sample(100.0))
    assert watched.still(V1, 100.5) == ""
    watched.cell_degC = 99.0
    assert watched.still(V1, 100.5) == ""
