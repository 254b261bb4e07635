"""What the rules hold before anything was said to them: before a command, a step, a run."""

from __future__ import annotations

from math import inf, nan

import pytest

from daq.control.guard import (
    Attached,
    BackCheck,
    Current,
    Efficiency,
    Excess,
    Freshness,
    Guard,
    Jump,
    Output,
    ProgramTime,
    Rise,
    StepMinimum,
    Stuck,
    Temperature,
    Trail,
)
from daq.model import Counters, Limits
from tests.unit.guard.samples import CHARGE, HOLD, first, output, sample
from tests.unit.guard.test_edges import LIVELY
from tests.unit.guard.test_steps import FULL, ended, step

HARD = Limits((2.0, 4.35), (-10.0, 10.0), (-20.0, 60.0))


def guard(**more) -> Guard:
    cycler, thermometer = Freshness("aps1.1", 0.1), Freshness("tc1.1", 1.0)
    return Guard(HARD, range_A=10.0, slack_s=0.5, cycler=cycler, thermometer=thermometer, **more)


def flowing(rule: Output, current_A: float):
    """What an output says to the second of two equal samples."""
    assert rule.check(sample(50.0, current_A=current_A)) is None
    return rule.check(sample(50.1, current_A=current_A))


@pytest.mark.parametrize("current_A", [0.06, -0.06])
def test_an_output_that_was_never_commanded_is_off_and_nothing_may_flow(current_A):
    trip = flowing(Output(10.0), current_A)
    assert trip is not None
    assert trip.message == f"{current_A:g} A flow; commanded OFF, (0.0, 0.0) A allowed"


@pytest.mark.parametrize("current_A", [1e6, -1e6])
def test_a_current_without_limits_has_none(current_A):
    assert Current().check(sample(current_A=current_A)) is None


@pytest.mark.parametrize("setpoint", [CHARGE, HOLD])
def test_a_temperature_without_limits_has_none(setpoint):
    rule = Temperature(output(setpoint))
    assert rule.check(sample(temperature_degC=-99.0)) is None
    assert rule.check(sample(temperature_degC=999.0)) is None


# Checks whose threshold nobody has set are off.


def warming(K_per_min: float, seconds: int = 60):
    return [sample(n, temperature_degC=25.0 + K_per_min * n / 60.0) for n in range(seconds)]


def test_a_rise_without_a_limit_neither_trips_nor_warns():
    rule = Rise(lambda: 25.0)
    assert rule.caution is None
    assert first(rule, warming(500.0)) is None
    assert rule.caution is None


def test_an_excess_without_a_limit_never_trips():
    assert first(Excess(output(), lambda: 25.0), warming(500.0)) is None


def test_a_sensor_falls_off_unnoticed_where_nobody_asked():
    rule = Attached(output(), lambda: 25.0, lambda: 2.5)
    row = [sample(5.0 * n, temperature_degC=29.0 if n < 50 else 25.0) for n in range(100)]
    assert first(rule, row) is None


def test_of_a_cell_of_unknown_capacity_nobody_knows_how_much_is_1C():
    rule = Attached(output(), lambda: 25.0, lambda: 2.5)
    rule.patience_s = 60.0
    assert first(rule, [sample(5.0 * n, temperature_degC=25.0) for n in range(100)]) is None


def test_a_jump_without_a_factor_never_trips():
    row = [sample(n, voltage_V=3.7 + 0.001 * (n % 2)) for n in range(40)]
    row += [sample(40.0 + n, voltage_V=9.0) for n in range(3)]
    assert first(Jump(output()), row) is None


def test_a_reading_may_stand_for_ever_where_nobody_set_a_patience():
    own, other = Trail("voltage"), Trail("current")
    rule = Stuck(own, [other])
    for n in range(200):
        other.see(7.0 * n, float(n))
        volts = 3.7 + (LIVELY[n] if n < 100 else 0.0)
        assert rule.judge(volts, float(n), expected_still=False) is None
    assert own.lively


def test_an_independent_channel_that_speaks_first_is_not_compared_with_nothing():
    rule = BackCheck(0.05)
    rule.see(sample(0.0, voltage_V=9.0))
    assert rule.check(sample(1.0, voltage_V=3.7)) is None


# Before the first run.


def test_before_the_first_run_no_step_is_too_short():
    rule = StepMinimum()
    assert not ended(rule, step(CHARGE, FULL), FULL.text, voltage_V=4.2, lasted_s=0.5)


def test_before_the_first_run_no_program_takes_too_long():
    rule = ProgramTime(0.5)
    assert rule.judge(0.0, 1, 0, runs=True) == ""
    assert rule.judge(1e9, 99, 0, runs=True) == ""
    assert rule.ran_s == 1e9


def test_before_the_first_run_no_cycle_is_inefficient():
    rule = Efficiency()
    much_out = Counters(1.0, 1.0, 1.0, 9.0)
    assert rule.judge(0, much_out, 1.0) is None  # cycle 0 goes on
    assert rule.judge(1, Counters(1.0, 1.0, 1.0, 0.01), 1.0) is None


def test_before_the_first_run_there_is_nothing_that_a_restart_must_not_forget():
    assert guard().snapshot() == {
        "net_Ah": 0.0,
        "lowest_Ah": 0.0,
        "highest_Ah": 0.0,
        "at_end": 0,
        "before_V": None,
        "from_Ah": 0.0,
        "ran_s": 0.0,
    }


def test_a_step_without_a_run_has_no_rate_of_temperature():
    watched = guard(at_cell=True)
    watched.enter(HARD, 0.0, 1e6)
    for one in warming(20.0, 40):
        assert watched.check_temperature(one) is None


def test_a_sensor_is_not_at_the_cell_unless_it_is_said():
    watched = guard()
    assert watched.thermometer_rules == (watched.temperature,)


def test_what_stands_before_any_sample_is_not_a_number_of_volts():
    watched = guard()
    readings = (watched.voltage_V, watched.current_A, watched.cell_degC, watched.chamber_degC)
    assert [repr(value) for value in readings] == [repr(nan)] * 4
    assert watched.charge.window_Ah == inf
