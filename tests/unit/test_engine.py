"""The step machine, one scenario a test: samples go in by hand, actions are read by eye."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from math import inf, isnan, nan

import pytest

from daq.model import Limits, Setpoint, Spectrum
from daq.protocol.condition import Condition, Quantity
from daq.protocol.course import Course, Follows
from daq.protocol.engine import NOTHING, Engine
from daq.protocol.program import (
    AbortSweep,
    Action,
    Apply,
    End,
    Finished,
    Instruction,
    Observation,
    Program,
    RecordRule,
    Repeat,
    SetChamber,
    Soak,
    StartSweep,
    Step,
    StepEnded,
    StepKind,
    StepStarted,
    TurnOff,
)

LIMITS = Limits((2.0, 4.3), (-5.0, 5.0), (5.0, 45.0))
SPECTRUM = Spectrum(1e4, 1e-1, 6, 0.005)
OFF = TurnOff()


def until(text: str) -> Condition:
    """`until("voltage >= 4.2")`."""
    quantity, sign, value = text.split()
    return Condition(Quantity(quantity), sign == ">=", float(value), text)


def step(kind: str, at_most_s: float, setpoint: Setpoint | None = None, *ends: str) -> Step:
    conditions = tuple(until(text) for text in ends)
    return Step(1, StepKind(kind), 7, kind, LIMITS, RecordRule(), at_most_s, setpoint, None,
                conditions)  # fmt: skip


def charge(*ends: str, at_most_s: float = 3600.0, amps: float = 1.0) -> Step:
    return step("charge", at_most_s, Setpoint(4.22, amps, 0.0), *ends)


def discharge(*ends: str, at_most_s: float = 3600.0) -> Step:
    return step("discharge", at_most_s, Setpoint(2.4, 0.0, 1.0), *ends)


def hold(*ends: str, at_most_s: float = 3600.0) -> Step:
    return step("hold", at_most_s, Setpoint(4.2, 5.0, 5.0), *ends)


def rest(seconds: float, *ends: str) -> Step:
    return step("rest", seconds, None, *ends)


def power(watts: float, *ends: str, limits: Limits = LIMITS) -> Step:
    kind, volts = ("charge", 4.22) if watts > 0 else ("discharge", 2.4)
    plain = step(kind, 3600.0, Setpoint(volts, 0.0, 0.0), *ends)
    course = Course(Follows.POWER, (0.0,), (watts,), top_V=volts, bottom_V=volts)
    return replace(plain, course=course, limits=limits)


def chamber(celsius: float, within: float = inf, for_s: float = 0.0, at_most_s: float = 3600.0):
    return replace(step("chamber", at_most_s), soak=Soak(celsius, within, for_s))


def sweep(at_most_s: float = 600.0) -> Step:
    return replace(step("eis", at_most_s), spectrum=SPECTRUM)


def program(*instructions: Instruction) -> Program:
    """Number the steps, as the compiler does."""
    numbered: list[Instruction] = []
    count = 0
    for item in instructions:
        count += isinstance(item, Step)
        numbered.append(replace(item, number=count) if isinstance(item, Step) else item)
    return Program("test", "1", "abc", "cell-1", 1.0, tuple(numbered), 0.0, 0.0)


def at(
    time_s: float,
    volts: float = 3.5,
    amps: float = 0.0,
    celsius: float = 25.0,
    chamber: float = 25.0,
    measurement: str = "",
) -> Observation:
    return Observation(time_s, volts, amps, celsius, chamber, measurement)


def begin(*instructions: Instruction, now: Observation | None = None) -> Engine:
    """An engine that has seen its first observation, at time 0."""
    engine = Engine(program(*instructions))
    engine.start(now or at(0.0))
    return engine


def kinds(actions: Iterable[Action]) -> list[str]:
    return [type(action).__name__ for action in actions]


def reasons(actions: Iterable[Action]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, StepEnded)]


def finish(actions: Iterable[Action]) -> Finished:
    *_, last = actions
    assert isinstance(last, Finished)
    return last


class TestCounting:
    def test_charge_and_discharge_are_counted_apart_on_the_real_stamps(self):
        engine = begin(rest(1e6))
        for time_s, amps in ((1.0, 2.0), (3.5, 2.0), (3.5, -4.0), (7.0, -4.0)):
            engine.advance(at(time_s, 3.0, amps))
        counters = engine.counters
        assert counters.charge_Ah * 3600 == pytest.approx(1.0 + 5.0)
        assert counters.discharge_Ah * 3600 == pytest.approx(14.0)
        assert counters.charge_Wh * 3600 == pytest.approx(3.0 * 6.0)
        assert counters.discharge_Wh * 3600 == pytest.approx(3.0 * 14.0)

    def test_a_zero_crossing_is_two_triangles(self):
        engine = begin(rest(1e6), now=at(0.0, 4.0, 3.0))
        engine.advance(at(4.0, 4.0, -1.0))  # crosses after 3 s
        assert engine.counters.charge_Ah * 3600 == pytest.approx(4.5)
        assert engine.counters.discharge_Ah * 3600 == pytest.approx(0.5)
        assert engine.counters.charge_Wh * 3600 == pytest.approx(18.0)
        assert engine.counters.discharge_Wh * 3600 == pytest.approx(2.0)

    @pytest.mark.parametrize("bad", [nan, inf, -inf])
    def test_the_interval_around_an_invalid_sample_is_integrated_by_the_next_valid_one(self, bad):
        engine = begin(rest(1e6), now=at(0.0, 4.0, 1.0))
        engine.advance(at(1.0, bad, 100.0))
        engine.advance(at(2.0, 4.0, bad))
        assert engine.counters.charge_Ah == 0.0
        engine.advance(at(3.0, 4.0, 3.0))
        assert engine.counters.charge_Ah * 3600 == pytest.approx(6.0)

    def test_nothing_is_counted_before_the_first_valid_sample(self):
        engine = begin(rest(1e6), now=at(0.0, nan, nan))
        engine.advance(at(100.0, 4.0, 1.0))
        assert engine.counters.charge_Ah == 0.0

    def test_run_counters_go_on_and_step_counters_start_anew_at_an_edge(self):
        engine = begin(rest(10.0), rest(1e6), now=at(0.0, 4.0, 1.0))
        engine.advance(at(10.0, 4.0, 1.0))
        assert engine.step_count == 2
        assert engine.step_counters.charge_Ah == 0.0
        engine.advance(at(15.0, 4.0, 1.0))
        assert engine.counters.charge_Ah * 3600 == pytest.approx(15.0)
        assert engine.step_counters.charge_Ah * 3600 == pytest.approx(5.0)

    @pytest.mark.parametrize("stamp", [4.999, nan])
    def test_time_does_not_go_backwards(self, stamp):
        engine = begin(rest(1e6))
        engine.advance(at(5.0))
        with pytest.raises(ValueError, match="time went from 5.0 s back"):
            engine.advance(at(stamp))

    def test_the_same_stamp_twice_is_no_error(self):
        engine = begin(rest(1e6))
        engine.advance(at(5.0, 3.5, 1.0))
        assert engine.advance(at(5.0, 3.5, 2.0)) is NOTHING


class TestEdges:
    def test_a_step_is_energised_before_it_is_announced(self):
        engine = Engine(program(charge("voltage >= 4.2")))
        actions = engine.start(at(0.0))
        first = engine.program.steps[0]
        assert actions == (Apply(Setpoint(4.22, 1.0, 0.0), first), StepStarted(first, 1, 0))

    def test_one_step_ends_the_next_acts_and_starts_on_one_observation(self):
        engine = begin(charge("voltage >= 4.2"), hold("current <= 0.1"), rest(60.0))
        actions = engine.advance(at(1.0, 4.2, 1.0))
        assert kinds(actions) == ["StepEnded", "Apply", "StepStarted"]
        assert reasons(actions) == ["voltage >= 4.2"]
        assert engine.step.kind is StepKind.HOLD
        assert (engine.step_count, engine.step_time_s, engine.test_time_s) == (2, 0.0, 1.0)

    def test_nothing_happens_for_the_very_same_empty_tuple(self):
        engine = begin(charge("voltage >= 4.2"))
        assert engine.advance(at(1.0, 3.6, 1.0)) is NOTHING

    def test_a_rest_is_off_for_its_duration_and_completes(self):
        engine = Engine(program(rest(60.0)))
        assert kinds(engine.start(at(0.0))) == ["TurnOff", "StepStarted"]
        assert engine.advance(at(59.9)) == ()
        actions = engine.advance(at(60.0))
        assert kinds(actions) == ["StepEnded", "TurnOff", "Finished"]
        assert reasons(actions) == ["60 s"]
        assert finish(actions) == Finished("completed")

    def test_after_the_end_nothing_comes(self):
        engine = begin(rest(60.0), now=at(0.0))
        engine.advance(at(60.0))
        assert engine.finished
        assert engine.outcome == "completed"
        assert engine.step.kind is StepKind.REST
        again = at(1e5, 9.0, 9.0, 99.0)
        assert engine.advance(again) is NOTHING
        assert engine.pause(again) is NOTHING
        assert engine.resume(again) is NOTHING
        assert engine.stop(again, "late") is NOTHING

    def test_an_engine_starts_once_and_not_without_start(self):
        engine = Engine(program(rest(60.0)))
        assert not engine.started
        with pytest.raises(ValueError, match="time"):
            engine.advance(at(0.0))
        engine.start(at(0.0))
        assert engine.started
        with pytest.raises(RuntimeError):
            engine.start(at(1.0))

    def test_a_program_without_steps_is_completed_at_once(self):
        assert kinds(Engine(program()).start(at(0.0))) == ["TurnOff", "Finished"]


class TestEnds:
    @pytest.mark.parametrize(
        ("condition", "short", "reached"),
        [
            ("voltage >= 4.2", at(9.0, 4.1999, 1.0), at(9.0, 4.2, 1.0)),
            ("voltage <= 3.0", at(9.0, 3.0001, 1.0), at(9.0, 3.0, 1.0)),
            ("temperature >= 40", at(9.0, 3.5, 1.0, 39.9), at(9.0, 3.5, 1.0, 40.0)),
            ("temperature <= 10", at(9.0, 3.5, 1.0, 10.1), at(9.0, 3.5, 1.0, 10.0)),
            ("time >= 9", at(8.99, 3.5, 1.0), at(9.0, 3.5, 1.0)),
            ("charge >= 0.0025", at(9.0, 3.5, 0.99), at(9.0, 3.5, 1.0)),
            ("energy >= 0.0087", at(9.0, 3.5, 0.98), at(9.0, 3.5, 1.0)),
        ],
    )
    def test_each_quantity_ends_a_step_at_its_value_and_not_before(self, condition, short, reached):
        for seen, ends in ((short, []), (reached, [condition])):
            engine = begin(charge(condition), now=at(0.0, 3.5, 1.0))
            assert reasons(engine.advance(seen)) == ends

    def test_charge_is_a_magnitude_and_counts_in_a_discharge_too(self):
        engine = begin(discharge("charge >= 0.001"), now=at(0.0, 3.5, -1.0))
        assert engine.advance(at(3.5, 3.5, -1.0)) == ()
        assert reasons(engine.advance(at(3.6, 3.5, -1.0))) == ["charge >= 0.001"]

    def test_energy_is_a_magnitude_too(self):
        engine = begin(discharge("energy >= 0.0035"), now=at(0.0, 3.5, -1.0))
        assert engine.advance(at(3.5, 3.5, -1.0)) == ()
        assert reasons(engine.advance(at(3.61, 3.5, -1.0))) == ["energy >= 0.0035"]

    def test_charge_is_net_so_that_noise_around_zero_moves_none(self):
        engine = begin(hold("charge >= 0.001"), now=at(0.0, 4.2, 1.0))
        for tick in range(1, 101):
            assert engine.advance(at(tick, 4.2, (-1.0) ** tick)) == ()
        assert engine.step_counters.charge_Ah > 0.005

    def test_any_condition_ends_the_step_and_the_first_written_is_the_reason(self):
        ends = ("voltage >= 4.2", "time >= 5")
        assert reasons(begin(charge(*ends)).advance(at(5.0, 4.3, 1.0))) == ["voltage >= 4.2"]
        assert reasons(begin(charge(*ends)).advance(at(5.0, 4.1, 1.0))) == ["time >= 5"]

    @pytest.mark.parametrize("bad", [nan, inf, -inf])
    @pytest.mark.parametrize("sign", [">=", "<="])
    def test_what_was_not_measured_ends_nothing(self, sign, bad):
        never = {">=": 100.0, "<=": -100.0}[sign]
        names = ("voltage", "temperature", "current")
        engine = begin(hold(*(f"{name} {sign} {never}" for name in names)))
        for tick in range(1, 9):
            assert engine.advance(at(float(tick), bad, bad, bad)) == ()

    def test_a_current_condition_waits_for_the_third_observation_and_the_settling_time(self):
        engine = begin(hold("current <= 0.1"))
        assert engine.advance(at(2.0, 4.2, 0.0)) == ()  # second observation
        assert reasons(engine.advance(at(2.1, 4.2, 0.0))) == ["current <= 0.1"]
        engine = begin(hold("current <= 0.1"))
        for tick in range(1, 10):
            assert engine.advance(at(tick / 10, 4.2, 0.0)) == ()  # 0.9 s are not one second
        assert reasons(engine.advance(at(1.0, 4.2, -0.05))) == ["current <= 0.1"]

    def test_the_settling_time_can_be_chosen(self):
        engine = Engine(program(hold("current <= 0.1")), settle_s=30.0)
        engine.start(at(0.0))
        for tick in range(1, 30):
            assert engine.advance(at(float(tick), 4.2, 0.0)) == ()
        assert engine.advance(at(30.0, 4.2, 0.0)) != ()

    def test_a_current_condition_looks_at_the_magnitude(self):
        engine = begin(discharge("current >= 0.9"))
        engine.advance(at(1.0, 3.5, -1.0))
        assert reasons(engine.advance(at(2.0, 3.5, -1.0))) == ["current >= 0.9"]

    def test_at_most_fails_a_step_that_was_to_reach_something(self):
        engine = begin(charge("voltage >= 4.2", at_most_s=100.0), rest(60.0))
        actions = engine.advance(at(100.0, 4.1, 1.0))
        assert kinds(actions) == ["StepEnded", "TurnOff", "Finished"]
        ended = actions[0]
        assert isinstance(ended, StepEnded)
        assert ended.failed
        assert ended.reason == "not within 100 s: voltage >= 4.2"
        assert finish(actions).outcome == "failed"
        assert finish(actions).reason == "step 1, line 7: not within 100 s: voltage >= 4.2"

    def test_the_end_wins_over_at_most_on_the_same_observation(self):
        engine = begin(charge("voltage >= 4.2", at_most_s=100.0), rest(60.0))
        assert reasons(engine.advance(at(100.0, 4.2, 1.0))) == ["voltage >= 4.2"]
        assert not engine.finished

    def test_at_most_is_the_duration_of_a_charge_without_a_condition(self):
        engine = begin(charge(at_most_s=100.0), rest(60.0))
        actions = engine.advance(at(100.0, 3.6, 1.0))
        assert kinds(actions) == ["StepEnded", "TurnOff", "StepStarted"]


class TestAlreadySatisfied:
    @pytest.mark.parametrize(
        "condition", ["voltage >= 4.2", "temperature >= 25", "time >= 0", "voltage <= 4.2"]
    )
    def test_a_satisfied_step_starts_and_ends_and_the_output_never_goes_on(self, condition):
        engine = Engine(program(charge(condition), rest(60.0)))
        actions = engine.start(at(0.0, 4.2))
        assert kinds(actions) == ["StepStarted", "StepEnded", "TurnOff", "StepStarted"]
        assert reasons(actions) == [f"already satisfied: {condition}"]
        assert engine.step_count == 2

    @pytest.mark.parametrize("condition", ["current <= 1", "charge <= 1", "energy <= 1"])
    def test_current_charge_and_energy_are_never_asked_before_the_start(self, condition):
        engine = Engine(program(hold(condition)))
        assert kinds(engine.start(at(0.0))) == ["Apply", "StepStarted"]

    def test_several_steps_may_pass_on_one_observation(self):
        satisfied = charge("voltage >= 4.2")
        engine = begin(rest(10.0), satisfied, satisfied, satisfied, discharge("voltage <= 3"))
        actions = engine.advance(at(10.0, 4.25))
        assert kinds(actions) == [
            "StepEnded",
            *["StepStarted", "StepEnded"] * 3,
            "Apply",
            "StepStarted",
        ]
        assert engine.step_count == 5

    def test_a_loop_of_satisfied_steps_is_spread_over_observations(self):
        engine = Engine(
            program(Repeat(100, 2, counts_cycles=True), charge("voltage >= 4"), End(0), rest(9.0))
        )
        actions = engine.start(at(0.0, 4.1))
        observations = 1
        while not isinstance(actions[-1], StepStarted):
            assert actions[-1] == OFF
            actions = engine.advance(at(float(observations), 4.1))
            observations += 1
        assert observations == 4
        assert (engine.step_count, engine.cycle) == (101, 100)

    def test_a_rest_after_such_a_loop_does_not_wait_for_a_voltage(self):
        satisfied = charge("voltage >= 4")
        engine = Engine(program(Repeat(32, 2, counts_cycles=False), satisfied, End(0), rest(5.0)))
        assert engine.start(at(0.0, 4.1))[-1] == OFF
        assert kinds(engine.advance(at(9.0, nan, nan))) == ["TurnOff", "StepStarted"]


class TestStartLimits:
    @pytest.mark.parametrize(
        ("seen", "reason"),
        [
            (at(0.0, 4.31), "voltage 4.31 V is above the step's limit of 4.3 V"),
            (at(0.0, 1.99), "voltage 1.99 V is below the step's limit of 2 V"),
            (at(0.0, 3.5, 0.0, 45.5), "temperature 45.5 degC is above the step's limit of 45 degC"),
            (at(0.0, 3.5, 0.0, 4.0), "temperature 4 degC is below the step's limit of 5 degC"),
        ],
    )
    @pytest.mark.parametrize("item", [charge("voltage >= 4"), rest(60.0), sweep()])
    def test_a_step_never_starts_outside_its_limits(self, item, seen, reason):
        engine = Engine(program(item))
        actions = engine.start(seen)
        assert actions == (OFF, Finished("failed", f"step 1, line 7: not started: {reason}"))

    def test_limits_come_before_an_end_condition_that_is_satisfied(self):
        actions = Engine(program(charge("voltage >= 4.2"))).start(at(0.0, 4.31))
        assert finish(actions).outcome == "failed"

    def test_an_edge_into_a_step_outside_its_limits_ends_the_program_off(self):
        engine = begin(charge("voltage >= 4.2"), replace(hold(), limits=Limits((2.0, 4.15))))
        actions = engine.advance(at(9.0, 4.2, 1.0))
        assert kinds(actions) == ["StepEnded", "TurnOff", "Finished"]
        assert reasons(actions) == ["voltage >= 4.2"]

    def test_exactly_at_a_limit_is_inside(self):
        assert kinds(Engine(program(hold())).start(at(0.0, 4.3, 0.0, 45.0)))[0] == "Apply"

    @pytest.mark.parametrize("bad", [nan, inf])
    def test_a_temperature_that_is_not_measured_is_not_judged(self, bad):
        actions = Engine(program(hold())).start(at(0.0, 3.5, 0.0, bad))
        assert kinds(actions)[0] == "Apply"


class TestInvalidVoltage:
    @pytest.mark.parametrize("bad", [nan, inf])
    def test_the_output_stays_off_until_a_voltage_is_valid(self, bad):
        engine = Engine(program(charge("time >= 5")))
        assert engine.start(at(0.0, bad)) == (OFF,)
        assert engine.phase == "waiting"
        assert engine.advance(at(10.0, bad)) == ()
        assert kinds(engine.advance(at(20.0, 3.5))) == ["Apply", "StepStarted"]
        assert engine.step_time_s == 0.0  # the wait does not count
        assert engine.advance(at(24.0, 3.5, 1.0)) == ()
        assert reasons(engine.advance(at(25.0, 3.5, 1.0))) == ["time >= 5"]

    def test_the_wait_is_bounded_by_at_most(self):
        engine = Engine(program(charge("voltage >= 4.2", at_most_s=100.0)))
        engine.start(at(0.0, nan))
        assert engine.advance(at(99.0, nan)) == ()
        actions = engine.advance(at(100.0, nan))
        assert kinds(actions) == ["TurnOff", "Finished"]
        assert "no valid voltage for 100 s" in finish(actions).reason

    def test_the_wait_is_counted_from_where_it_began(self):
        engine = begin(rest(1000.0), charge("voltage >= 4.2", at_most_s=100.0))
        engine.advance(at(1000.0, nan))
        assert engine.advance(at(1099.0, nan)) == ()
        assert kinds(engine.advance(at(1100.0, nan)))[-1] == "Finished"

    def test_the_previous_step_is_switched_off_for_the_wait(self):
        engine = begin(charge("time >= 9"), discharge("voltage <= 3"))
        assert kinds(engine.advance(at(9.0, nan, nan))) == ["StepEnded", "TurnOff"]

    def test_limits_are_checked_when_the_wait_ends(self):
        engine = Engine(program(charge("voltage >= 4.2")))
        engine.start(at(0.0, nan))
        assert kinds(engine.advance(at(1.0, 4.4))) == ["TurnOff", "Finished"]

    def test_a_step_satisfied_when_the_wait_ends_is_passed(self):
        engine = Engine(program(charge("voltage >= 4.2"), hold()))
        engine.start(at(0.0, nan))
        actions = engine.advance(at(1.0, 4.2))
        assert kinds(actions) == ["StepStarted", "StepEnded", "Apply", "StepStarted"]

    def test_a_rest_does_not_need_a_voltage(self):
        assert kinds(Engine(program(rest(60.0))).start(at(0.0, nan, nan)))[-1] == "StepStarted"

    def test_stop_and_pause_work_while_it_waits(self):
        engine = Engine(program(charge("voltage >= 4.2")))
        engine.start(at(0.0, nan))
        assert engine.pause(at(1.0, nan)) == (OFF,)
        assert engine.resume(at(2.0, nan)) == (OFF,)
        assert kinds(engine.advance(at(3.0, 3.5))) == ["Apply", "StepStarted"]
        assert engine.step_time_s == 0.0
        engine = Engine(program(charge("voltage >= 4.2")))
        engine.start(at(0.0, nan))
        assert engine.stop(at(1.0, nan), "enough") == (OFF, Finished("stopped", "enough"))


class TestPower:
    def test_the_current_follows_from_the_first_voltage(self):
        for watts, expected in ((7.0, Setpoint(4.22, 2.0, 0.0)), (-7.0, Setpoint(2.4, 0.0, 2.0))):
            actions = Engine(program(power(watts))).start(at(0.0, 3.5))
            assert isinstance(actions[0], Apply)
            assert actions[0].setpoint == expected

    def test_it_is_renewed_only_when_it_changed_by_more_than_half_a_percent(self):
        engine = begin(power(-7.0), now=at(0.0, 3.5))
        assert engine.advance(at(1.0, 3.5 / 1.0049, -2.0)) is NOTHING
        (renewed,) = engine.advance(at(2.0, 3.5 / 1.0051, -2.0))
        assert isinstance(renewed, Apply)
        assert renewed.setpoint.discharge_A == pytest.approx(2.0 * 1.0051)
        assert engine.advance(at(3.0, 3.5 / 1.0051, -2.0)) is NOTHING

    def test_it_is_clipped_to_the_limits_of_the_step(self):
        tight = replace(LIMITS, current_A=(-1.5, 1.0))
        for watts, expected in ((100.0, (1.0, 0.0)), (-100.0, (0.0, 1.5))):
            action = Engine(program(power(watts, limits=tight))).start(at(0.0))[0]
            assert isinstance(action, Apply)
            assert (action.setpoint.charge_A, action.setpoint.discharge_A) == expected

    def test_an_invalid_voltage_renews_nothing(self):
        engine = begin(power(-7.0))
        assert engine.advance(at(1.0, nan, -2.0)) is NOTHING

    def test_a_cell_without_voltage_gets_no_current(self):
        engine = begin(power(7.0), now=at(0.0, 3.5))
        (renewed,) = engine.advance(at(1.0, 0.0, 2.0))
        assert isinstance(renewed, Apply)
        assert renewed.setpoint.charge_A == 0.0

    def test_the_end_wins_over_a_renewal(self):
        engine = begin(power(-7.0, "voltage <= 3"), now=at(0.0, 3.5))
        assert reasons(engine.advance(at(1.0, 2.9, -2.0))) == ["voltage <= 3"]


class TestChamber:
    def test_the_output_goes_off_before_the_chamber_is_asked(self):
        actions = Engine(program(chamber(40.0, 0.5, 600.0))).start(at(0.0))
        assert actions[:2] == (OFF, SetChamber(40.0, 40.0))
        assert kinds(actions)[2:] == ["StepStarted"]

    def test_the_soak_is_continuous_time_near_the_target(self):
        engine = begin(chamber(40.0, 0.5, 100.0), rest(9.0))
        assert engine.advance(at(1000.0, chamber=39.5)) == ()
        assert engine.advance(at(1099.0, chamber=40.5)) == ()
        assert engine.advance(at(1100.0, chamber=40.6)) == ()  # a second too early, and out
        assert engine.advance(at(1200.0, chamber=40.0)) == ()
        assert engine.advance(at(1299.0, chamber=40.0)) == ()
        assert reasons(engine.advance(at(1300.0, chamber=40.0))) == ["soaked at 40 degC"]

    def test_a_chamber_that_is_there_already_soaks_from_the_start(self):
        engine = begin(chamber(25.0, 0.5, 100.0))
        assert engine.advance(at(99.0)) == ()
        assert reasons(engine.advance(at(100.0))) == ["soaked at 25 degC"]

    def test_exactly_at_the_tolerance_is_near_enough(self):
        engine = begin(chamber(25.0, 0.5, 100.0), now=at(0.0, chamber=25.5))
        assert reasons(engine.advance(at(100.0, chamber=24.5))) == ["soaked at 25 degC"]

    def test_a_missing_reading_neither_breaks_nor_ends_the_soak(self):
        engine = begin(chamber(25.0, 0.5, 100.0))
        assert engine.advance(at(50.0, chamber=nan)) == ()
        assert engine.advance(at(100.0, chamber=nan)) == ()
        assert reasons(engine.advance(at(101.0))) == ["soaked at 25 degC"]

    def test_the_chamber_rules_and_not_the_cell(self):
        engine = begin(chamber(25.0, 0.5, 100.0), now=at(0.0, celsius=40.0))
        assert reasons(engine.advance(at(100.0, celsius=40.0))) == ["soaked at 25 degC"]

    def test_without_a_tolerance_it_goes_on_at_the_next_observation(self):
        engine = begin(chamber(40.0), rest(9.0))
        actions = engine.advance(at(0.1, chamber=nan))
        assert kinds(actions) == ["StepEnded", "TurnOff", "StepStarted"]

    def test_a_soak_that_takes_too_long_fails(self):
        engine = begin(chamber(40.0, 0.5, 60.0, at_most_s=600.0), rest(9.0))
        actions = engine.advance(at(600.0, chamber=39.0))
        assert kinds(actions) == ["StepEnded", "TurnOff", "Finished"]
        assert reasons(actions) == ["not within 600 s: soaked at 40 degC"]


class TestSweep:
    def test_the_cycler_is_off_when_the_sweep_starts(self):
        actions = Engine(program(sweep())).start(at(0.0))
        assert actions[:2] == (OFF, StartSweep(SPECTRUM))

    def test_it_ends_when_the_measurement_is_done(self):
        engine = begin(sweep(), rest(9.0))
        for tick, state in enumerate(("", "idle", "waiting", "running"), start=1):
            assert engine.advance(at(float(tick), measurement=state)) == ()
        actions = engine.advance(at(9.0, measurement="done"))
        assert kinds(actions) == ["StepEnded", "TurnOff", "StepStarted"]

    def test_a_failed_measurement_fails_the_program(self):
        actions = begin(sweep(), rest(9.0)).advance(at(9.0, measurement="failed"))
        assert kinds(actions) == ["StepEnded", "TurnOff", "Finished"]
        assert finish(actions).reason == "step 1, line 7: the sweep failed"

    def test_at_most_aborts_it(self):
        actions = begin(sweep(at_most_s=60.0)).advance(at(60.0, measurement="running"))
        assert kinds(actions) == ["AbortSweep", "StepEnded", "TurnOff", "Finished"]
        assert reasons(actions) == ["not within 60 s: sweep done"]

    def test_pause_stop_and_a_condition_abort_it(self):
        running = at(5.0, measurement="running")
        assert begin(sweep()).pause(running) == (AbortSweep(), OFF)
        assert begin(sweep()).stop(running, "enough")[:2] == (AbortSweep(), OFF)
        warm = replace(sweep(), until=(until("temperature >= 30"),))
        actions = begin(warm, rest(9.0)).advance(replace(running, temperature_degC=31.0))
        assert kinds(actions) == ["StepEnded", "AbortSweep", "TurnOff", "StepStarted"]

    def test_what_a_pause_has_aborted_is_not_aborted_again(self):
        engine = begin(sweep())
        engine.pause(at(5.0, measurement="running"))
        assert kinds(engine.stop(at(6.0), "enough")) == ["TurnOff", "StepEnded", "Finished"]

    def test_resume_starts_it_anew(self):
        engine = begin(sweep())
        engine.pause(at(5.0, measurement="running"))
        assert engine.resume(at(9.0)) == (OFF, StartSweep(SPECTRUM))

    def test_two_sweeps_in_a_row_are_two(self):
        engine = begin(sweep(), sweep())
        actions = engine.advance(at(5.0, measurement="done"))
        assert kinds(actions) == ["StepEnded", "TurnOff", "StartSweep", "StepStarted"]
        assert engine.advance(at(6.0, measurement="running")) == ()
        assert kinds(engine.advance(at(7.0, measurement="done")))[-1] == "Finished"


class TestLoops:
    def run_through(self, engine: Engine) -> list[tuple[int, int, int, tuple]]:
        """Rests of one second: (step, step count, cycle, passes) at each."""
        seen = []
        engine.start(at(0.0))
        while not engine.finished:
            passes = tuple((loop.number, loop.times) for loop in engine.passes)
            seen.append((engine.step.number, engine.step_count, engine.cycle, passes))
            engine.advance(at(float(engine.step_count)))
        return seen

    def test_a_repeat_runs_its_total_number_of_times_and_counts_cycles(self):
        engine = Engine(program(rest(1.0), Repeat(2, 3, counts_cycles=True), rest(1.0), End(1)))
        assert self.run_through(engine) == [
            (1, 1, 0, ()),
            (2, 2, 1, ((1, 2),)),
            (2, 3, 2, ((2, 2),)),
        ]

    def test_repeats_nest_and_only_those_that_say_so_count_cycles(self):
        engine = Engine(
            program(
                Repeat(2, 5, counts_cycles=False),
                rest(1.0),
                Repeat(2, 4, counts_cycles=True),
                rest(1.0),
                End(2),
                End(0),
                rest(1.0),
            )
        )
        assert self.run_through(engine) == [
            (1, 1, 0, ((1, 2),)),
            (2, 2, 1, ((1, 2), (1, 2))),
            (2, 3, 2, ((1, 2), (2, 2))),
            (1, 4, 2, ((2, 2),)),
            (2, 5, 3, ((2, 2), (1, 2))),
            (2, 6, 4, ((2, 2), (2, 2))),
            (3, 7, 4, ()),
        ]

    def test_a_repeat_of_nothing_is_passed_over(self):
        engine = Engine(program(Repeat(0, 2, counts_cycles=True), rest(1.0), End(0), rest(1.0)))
        assert self.run_through(engine) == [(2, 1, 0, ())]

    def test_progress_goes_from_zero_to_one_and_never_back(self):
        engine = Engine(
            program(rest(10.0), Repeat(2, 3, counts_cycles=True), charge("voltage >= 4.2"), End(1))
        )
        assert engine.progress == 0.0
        engine.start(at(0.0))
        progress, seen = 0.0, []
        for tick in range(1, 40):
            engine.advance(at(tick * 400.0, 4.0 if tick % 8 < 6 else 3.2 + tick % 2, 1.0))
            assert engine.progress >= progress
            progress = engine.progress
            seen.append(progress)
        assert engine.outcome == "completed"
        assert seen[-1] == 1.0
        assert len(set(seen)) > 5


class TestPause:
    def test_pausing_switches_off_and_resuming_applies_the_same_setpoint(self):
        engine = begin(charge("voltage >= 4.2"))
        assert engine.pause(at(10.0, 3.6, 1.0)) == (OFF,)
        assert engine.paused
        assert engine.advance(at(20.0, 4.25)) == ()  # nothing ends while it pauses
        assert engine.pause(at(21.0)) == ()
        actions = engine.resume(at(30.0, 3.6))
        assert actions == (Apply(Setpoint(4.22, 1.0, 0.0), engine.step),)
        assert engine.resume(at(31.0)) == ()

    def test_paused_time_counts_for_the_test_and_not_for_the_step(self):
        engine = begin(charge("time >= 100", at_most_s=150.0), rest(9.0))
        engine.advance(at(40.0, 3.6, 1.0))
        engine.pause(at(50.0, 3.6, 1.0))
        engine.advance(at(1000.0))
        assert (engine.step_time_s, engine.test_time_s) == (50.0, 1000.0)
        engine.resume(at(1050.0))
        assert engine.advance(at(1099.0, 3.6, 1.0)) == ()
        assert reasons(engine.advance(at(1100.0, 3.6, 1.0))) == ["time >= 100"]

    def test_paused_time_does_not_count_for_at_most(self):
        engine = begin(charge("voltage >= 4.2", at_most_s=100.0))
        engine.pause(at(50.0))
        engine.resume(at(5000.0))
        assert engine.advance(at(5049.0, 3.6, 1.0)) == ()
        assert kinds(engine.advance(at(5050.0, 3.6, 1.0)))[-1] == "Finished"

    def test_the_current_must_settle_again_after_a_resume(self):
        engine = begin(hold("current <= 0.1"))
        for tick in (1.0, 2.0, 3.0):
            engine.advance(at(tick, 4.2, 1.0))
        engine.pause(at(4.0, 4.2, 1.0))
        engine.resume(at(9.0, 4.1, 0.0))
        assert engine.advance(at(9.5, 4.2, 0.0)) == ()
        assert engine.advance(at(9.9, 4.2, 0.0)) == ()
        assert engine.advance(at(10.0, 4.2, 0.05)) != ()

    def test_resuming_outside_the_limits_fails_and_stays_off(self):
        engine = begin(charge("voltage >= 4.2"))
        engine.pause(at(10.0))
        actions = engine.resume(at(20.0, 3.5, 0.0, 46.0))
        assert kinds(actions) == ["StepEnded", "TurnOff", "Finished"]

    def test_resuming_a_step_that_is_satisfied_by_now_goes_on_to_the_next(self):
        engine = begin(discharge("temperature <= 20"), rest(60.0))
        engine.pause(at(10.0))
        actions = engine.resume(at(20.0, celsius=19.0))
        assert kinds(actions) == ["StepEnded", "TurnOff", "StepStarted"]
        assert reasons(actions) == ["already satisfied: temperature <= 20"]

    def test_resuming_without_a_voltage_waits_with_the_clock_stopped(self):
        engine = begin(charge("time >= 100"))
        engine.pause(at(50.0))
        assert engine.resume(at(60.0, nan)) == (OFF,)
        assert engine.advance(at(500.0, nan)) == ()
        assert kinds(engine.advance(at(600.0))) == ["Apply"]
        assert engine.step_time_s == 50.0

    def test_a_soak_begins_anew(self):
        engine = begin(chamber(25.0, 0.5, 100.0))
        engine.pause(at(90.0))
        assert engine.resume(at(95.0)) == (OFF, SetChamber(25.0, 25.0))
        assert engine.advance(at(194.0)) == ()
        assert engine.advance(at(195.0)) != ()

    def test_a_pause_between_pass_and_pass_keeps_the_integral(self):
        engine = begin(charge("voltage >= 4.2"), now=at(0.0, 3.5, 1.0))
        engine.pause(at(10.0, 3.5, 1.0))
        engine.advance(at(11.0, 3.5, 0.0))
        engine.resume(at(20.0, 3.5, 0.0))
        engine.advance(at(21.0, 3.5, 1.0))
        assert engine.step_counters.charge_Ah * 3600 == pytest.approx(10.0 + 0.5 + 0.5)


class TestStop:
    def test_stop_switches_off_first_and_says_why(self):
        engine = begin(charge("voltage >= 4.2"))
        actions = engine.stop(at(10.0), "operator")
        step = engine.step
        assert actions == (
            OFF,
            StepEnded(step, 1, 0, "stopped: operator", failed=True),
            Finished("stopped", "operator"),
        )
        assert engine.advance(at(11.0, 4.3)) is NOTHING

    def test_a_paused_program_can_be_stopped(self):
        engine = begin(charge("voltage >= 4.2"))
        engine.pause(at(10.0))
        assert kinds(engine.stop(at(20.0), "enough")) == ["TurnOff", "StepEnded", "Finished"]


class TestCheckpoint:
    def test_nothing_is_lost_by_a_checkpoint_in_the_middle_of_everything(self):
        instructions = (Repeat(2, 3, counts_cycles=True), charge("charge >= 0.01"), rest(9.0),
                        End(0))  # fmt: skip
        engine = begin(*instructions, now=at(0.0, 3.5, 1.0))
        for tick in range(1, 60):
            engine.advance(at(tick * 0.7, 3.5, 1.0 / tick))
        text = json.dumps(engine.snapshot(), allow_nan=False)
        restored = Engine.restore(engine.program, json.loads(text))
        assert restored.snapshot() == engine.snapshot()
        assert restored.counters == engine.counters
        assert restored.passes == engine.passes
        assert restored.step is engine.step

    def test_an_engine_that_has_not_started_and_one_that_has_ended_restore_too(self):
        engine = Engine(program(rest(9.0)))
        fresh = Engine.restore(engine.program, engine.snapshot())
        assert kinds(fresh.start(at(0.0))) == ["TurnOff", "StepStarted"]
        fresh.advance(at(9.0))
        ended = Engine.restore(engine.program, fresh.snapshot())
        assert ended.finished
        assert ended.progress == 1.0
        assert ended.advance(at(10.0)) is NOTHING

    def test_a_snapshot_of_another_program_or_another_format_is_refused(self):
        snapshot = begin(rest(9.0)).snapshot()
        other = replace(program(rest(9.0)), cell="cell-2")
        with pytest.raises(ValueError, match="cell-2"):
            Engine.restore(other, snapshot)
        with pytest.raises(ValueError, match="format 0"):
            Engine.restore(program(rest(9.0)), snapshot | {"format": 0})

    def test_what_nobody_saw_is_neither_integrated_nor_on_the_steps_clock(self):
        engine = begin(charge("voltage >= 4.2"), now=at(0.0, 3.5, 1.0))
        engine.advance(at(10.0, 3.5, 1.0))
        restored = Engine.restore(engine.program, engine.snapshot())
        restored.interrupt()
        assert restored.advance(at(900.0, 3.4, 0.0)) == ()
        assert restored.counters == engine.counters
        assert restored.paused
        assert kinds(restored.resume(at(901.0, 3.4, 0.0))) == ["Apply"]
        assert restored.step_time_s == 10.0
        restored.advance(at(903.0, 3.4, 1.0))
        assert restored.counters.charge_Ah * 3600 == pytest.approx(11.0)

    def test_the_clock_of_the_last_record_can_be_read_before_the_edge(self):
        engine = begin(rest(60.0), rest(60.0))
        assert engine.step_time_at(60.5) == 60.5
        engine.advance(at(60.5))
        assert engine.step_time_at(60.5) == 0.0
        assert not isnan(engine.test_time_s)


def test_a_step_begins_when_its_output_is_on_and_nothing_is_counted_before():
    engine = Engine(program(discharge(at_most_s=10.0)))
    engine.start(at(0.0, amps=0.0))
    engine.energised(1.5)
    assert engine.step_time_s == 0.0
    engine.advance(at(2.0, amps=-1.0))
    assert engine.step_time_s == pytest.approx(0.5)
    assert 3600.0 * engine.counters.discharge_Ah == pytest.approx(0.5)  # a rectangle, from 1.5 s
    assert engine.advance(at(11.4, amps=-1.0)) == NOTHING
    assert engine.advance(at(11.5, amps=-1.0)) != NOTHING


def test_a_moment_before_the_last_observation_moves_no_clock():
    engine = Engine(program(discharge(at_most_s=10.0)))
    engine.start(at(5.0, amps=0.0))
    engine.energised(4.0)
    engine.advance(at(6.0, amps=-1.0))
    assert engine.step_time_s == pytest.approx(1.0)


def test_a_snapshot_between_on_and_the_next_sample_goes_on_as_the_engine_would_have():
    engine = Engine(program(discharge(at_most_s=10.0)))
    engine.start(at(0.0, amps=0.0))
    engine.energised(1.5)
    twin = Engine.restore(engine.program, json.loads(json.dumps(engine.snapshot())))
    for one in (engine, twin):
        one.advance(at(2.0, amps=-1.0))
    assert twin.counters == engine.counters
    assert twin.step_time_s == engine.step_time_s
