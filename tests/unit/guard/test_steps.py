"""S2 and S3: at, under and over; and everything that must not be held."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from daq.control.guard import ProgramTime, StepMinimum
from daq.model import Limits, Setpoint
from daq.protocol.condition import Condition, Quantity
from daq.protocol.program import RecordRule, Step, StepKind
from tests.unit.guard.samples import CHARGE, DISCHARGE, HOLD

FULL = Condition(Quantity.VOLTAGE, True, 4.2, "voltage >= 4.2 V")
EMPTY = Condition(Quantity.VOLTAGE, False, 2.5, "voltage <= 2.5 V")
TAPERED = Condition(Quantity.CURRENT, False, 0.05, "current <= C/50")
HALF = Condition(Quantity.CHARGE, True, 1.25, "charge >= 50 %")
HOT = Condition(Quantity.TEMPERATURE, True, 45.0, "temperature >= 45 degC")
LITTLE_AH = 0.0125  # half a percent of 2.5 Ah


def pulse(seconds: float) -> Condition:
    return Condition(Quantity.TIME, True, seconds, f"time >= {seconds:g} s")


def step(setpoint: Setpoint | None, *until: Condition) -> Step:
    return Step(
        1, StepKind.CHARGE, 1, "a step", Limits(), RecordRule(), 3600.0,
        setpoint=setpoint, until=until,
    )  # fmt: skip


def rule(least_s: float = 10.0, **snapshot: Any) -> StepMinimum:
    made = StepMinimum()
    made.begin(least_s, 2.5, snapshot)
    return made


def ended(
    made: StepMinimum,
    one: Step,
    reason: str,
    *,
    before_V: float = 3.7,
    voltage_V: float = 2.5,
    lasted_s: float = 3.0,
    moved_Ah: float = 0.002,
    from_Ah: float = 0.0,
) -> str:
    """Let a step begin and end."""
    made.began(before_V, from_Ah)
    return made.judge(
        one, reason, voltage_V=voltage_V, lasted_s=lasted_s, net_Ah=from_Ah + moved_Ah
    )


def test_a_discharge_that_ends_after_three_seconds_is_held():
    why = ended(rule(), step(DISCHARGE, EMPTY), EMPTY.text, moved_Ah=-0.002, from_Ah=1.0)
    assert why == ("S2: 'voltage <= 2.5 V' was reached in 3 s with 0.002 Ah, from 3.7 V to 2.5 V")


@pytest.mark.parametrize(
    ("setpoint", "end", "volts"),
    [
        (CHARGE, FULL, 4.21),
        (DISCHARGE, EMPTY, 2.49),
        (CHARGE, TAPERED, 4.2),  # a cccv whose contact is lost ends by its current
        (HOLD, TAPERED, 4.2),
    ],
)
def test_each_far_end_is_held(setpoint, end, volts):
    assert ended(rule(), step(setpoint, end), end.text, voltage_V=volts)


@pytest.mark.parametrize(
    ("lasted_s", "moved_Ah", "held"),
    [
        (9.99, 0.1, True),
        (10.0, 0.1, False),
        (100.0, 0.99 * LITTLE_AH, True),
        (100.0, LITTLE_AH, False),
        (100.0, -0.99 * LITTLE_AH, True),
        (100.0, -LITTLE_AH, False),
    ],
)
def test_ten_seconds_and_half_a_percent_are_the_least(lasted_s, moved_Ah, held):
    one = step(DISCHARGE, EMPTY)
    assert bool(ended(rule(), one, EMPTY.text, lasted_s=lasted_s, moved_Ah=moved_Ah)) is held


@pytest.mark.parametrize(
    ("before_V", "held"), [(4.079, True), (4.081, False), (4.341, True), (4.319, False)]
)
def test_what_was_near_its_end_may_be_there_at_once(before_V, held):
    # 3 % of 4.08 V, to either side
    why = ended(rule(), step(CHARGE, FULL), FULL.text, before_V=before_V, voltage_V=4.2034)
    assert bool(why) is held


@pytest.mark.parametrize(("before_V", "held"), [(1.099, True), (1.101, False)])
def test_at_a_low_voltage_a_hundred_millivolts_are_near(before_V, held):
    why = ended(rule(), step(CHARGE, FULL), FULL.text, before_V=before_V, voltage_V=1.2)
    assert bool(why) is held


@pytest.mark.parametrize("nobody_knows", [nan])
def test_a_voltage_that_nobody_knew_says_nothing(nobody_knows):
    assert not ended(rule(), step(DISCHARGE, EMPTY), EMPTY.text, before_V=nobody_knows)


@pytest.mark.parametrize("end", [HALF, HOT, pulse(600.0)])
def test_ends_by_charge_temperature_and_time_are_their_authors(end):
    assert not ended(rule(), step(CHARGE, FULL, end), end.text)


def test_a_step_that_was_satisfied_before_it_began_is_not_held():
    reason = f"already satisfied: {EMPTY.text}"
    assert not ended(rule(), step(DISCHARGE, EMPTY), reason, lasted_s=0.0, moved_Ah=0.0)


def test_a_rest_is_not_held():
    assert not ended(rule(), step(None, EMPTY), EMPTY.text)


@pytest.mark.parametrize(("seconds", "held"), [(60.0, False), (60.1, True)])
def test_a_pulse_may_end_by_a_voltage(seconds, held):
    one = step(DISCHARGE, EMPTY, pulse(seconds))
    assert bool(ended(rule(), one, EMPTY.text)) is held


def test_a_constant_voltage_phase_at_once_done_is_not_held():
    made = rule()
    assert not ended(
        made, step(CHARGE, FULL), FULL.text, voltage_V=4.2, lasted_s=3600.0, moved_Ah=2.4
    )
    assert not ended(made, step(CHARGE, TAPERED), TAPERED.text, before_V=4.2, voltage_V=4.2)


def full(made: StepMinimum) -> StepMinimum:
    ended(made, step(CHARGE, FULL), FULL.text, voltage_V=4.2, lasted_s=3600.0, moved_Ah=2.4)
    return made


def test_a_cell_that_is_charged_again_to_the_end_where_it_was_is_not_held():
    # LFP relaxes by 0.3 V in an hour of rest
    made = full(rule())
    again = step(CHARGE, FULL)
    assert not ended(made, again, FULL.text, before_V=3.4, voltage_V=4.2)
    assert not ended(made, again, FULL.text, before_V=3.4, voltage_V=4.2)


@pytest.mark.parametrize("amps", [0.5, 2.5])
def test_an_empty_cell_that_is_discharged_again_is_not_held(amps):
    one = step(Setpoint(2.49, 0.0, amps), EMPTY)
    made = rule()
    assert not ended(made, one, EMPTY.text, lasted_s=3600.0, moved_Ah=-2.4)
    assert not ended(made, one, EMPTY.text, before_V=3.0)
    assert ended(made, step(Setpoint(4.21, amps, 0.0), FULL), FULL.text, voltage_V=4.2)


@pytest.mark.parametrize("amps", [0.5, 2.5])
def test_a_full_cell_that_is_charged_slowly_is_not_held(amps):
    one = step(Setpoint(4.21, amps, 0.0), FULL)
    made = rule()
    assert not ended(made, one, FULL.text, voltage_V=4.2, lasted_s=3600.0, moved_Ah=2.4)
    assert not ended(made, one, FULL.text, before_V=3.4, voltage_V=4.2)


def test_a_charge_that_ended_by_its_charge_has_arrived_nowhere():
    made = rule()
    assert not ended(made, step(CHARGE, HALF), HALF.text, lasted_s=1800.0, moved_Ah=1.25)
    assert ended(made, step(CHARGE, FULL), FULL.text, voltage_V=4.2)


def test_exactly_a_hundred_millivolts_are_near():
    assert not ended(rule(), step(CHARGE, FULL), FULL.text, before_V=0.0, voltage_V=0.1)
    assert ended(rule(), step(CHARGE, FULL), FULL.text, before_V=0.0, voltage_V=0.1001)


def test_the_other_end_is_far_even_after_that():
    assert ended(full(rule()), step(DISCHARGE, EMPTY), EMPTY.text)


def test_a_cell_that_left_its_end_is_not_there_any_more():
    made = full(rule())
    ended(made, step(DISCHARGE, HALF), HALF.text, lasted_s=1800.0, moved_Ah=-1.25)
    assert ended(made, step(CHARGE, FULL), FULL.text, before_V=3.6, voltage_V=4.2)


def test_a_short_pulse_does_not_leave_the_end():
    made = full(rule())
    ended(made, step(DISCHARGE, pulse(10.0)), pulse(10.0).text, moved_Ah=-0.007)
    assert not ended(made, step(CHARGE, FULL), FULL.text, before_V=3.4, voltage_V=4.2)


def test_a_step_that_was_held_has_not_arrived():
    made = rule()
    assert ended(made, step(CHARGE, FULL), FULL.text, voltage_V=4.2)
    assert ended(made, step(CHARGE, FULL), FULL.text, voltage_V=4.2)


def test_a_hold_of_both_directions_is_at_no_end():
    made = rule()
    both = step(HOLD, TAPERED)
    ended(made, both, TAPERED.text, voltage_V=4.2, lasted_s=3600.0, moved_Ah=2.0)
    assert ended(made, both, TAPERED.text, voltage_V=4.2)


def test_switched_off_it_holds_nothing():
    assert not ended(rule(0.0), step(DISCHARGE, EMPTY), EMPTY.text)


def test_a_restart_in_the_middle_of_a_step_forgets_neither_its_beginning_nor_the_end_before():
    made = full(rule())
    made.began(3.9, 2.4)
    again = rule(**made.snapshot())
    assert again.snapshot() == made.snapshot() == {"at_end": 1, "before_V": 3.9, "from_Ah": 2.4}
    one = step(DISCHARGE, EMPTY)
    assert "3.9 V" in again.judge(one, EMPTY.text, voltage_V=2.5, lasted_s=3.0, net_Ah=2.39)


def test_a_fresh_run_knows_nothing():
    assert rule().snapshot() == {"at_end": 0, "before_V": None, "from_Ah": 0.0}


# S3.


def program(at_most_s: float = 100.0, cycles: float = 3, ran_s: float = 0.0) -> ProgramTime:
    made = ProgramTime(slack_s=1.0)
    made.begin(at_most_s, cycles, ran_s)
    return made


def test_a_program_may_take_its_time_and_a_slack_for_each_step():
    made = program()
    assert made.judge(1000.0, 1, 4, runs=True) == ""
    assert made.judge(1105.0, 1, 4, runs=True) == ""
    assert made.judge(1105.1, 1, 4, runs=True) == ("S3: the program ran for 105.1 s, at most 100 s")


def test_a_larger_slack_is_more():
    made = ProgramTime(slack_s=4.0)
    made.begin(100.0, 3, 0.0)
    made.judge(0.0, 1, 1, runs=True)
    assert made.judge(108.0, 1, 1, runs=True) == ""
    assert made.judge(108.1, 1, 1, runs=True)


def test_pauses_do_not_count():
    made = program()
    made.judge(0.0, 1, 0, runs=True)
    made.judge(50.0, 1, 0, runs=False)  # up to here it ran, for all that is known
    made.judge(5000.0, 1, 0, runs=False)
    made.judge(5001.0, 1, 0, runs=True)
    assert made.judge(5051.0, 1, 0, runs=True) == ""
    assert made.ran_s == 50.0


def test_what_ran_before_a_restart_counts():
    made = program(ran_s=90.0)
    assert made.judge(0.0, 1, 0, runs=True) == ""
    assert made.judge(11.1, 1, 0, runs=True)


def test_a_new_program_begins_at_nothing():
    made = program()
    made.judge(0.0, 1, 0, runs=True)
    made.judge(90.0, 1, 0, runs=True)
    made.begin(100.0, inf, 0.0)
    assert made.judge(500.0, 1, 0, runs=True) == ""
    assert made.ran_s == 0.0


def test_one_cycle_more_than_allowed_is_the_end():
    made = program()
    assert made.judge(0.0, 3, 0, runs=True) == ""
    assert made.judge(1.0, 4, 0, runs=True) == "S3: cycle 4 has begun, at most 3 are allowed"
