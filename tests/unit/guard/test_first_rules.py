"""The guard, rule by rule: at the limit, just under it, just over it."""

from __future__ import annotations

from math import inf, nan, nextafter

import pytest

from daq.control.guard import (
    Charge,
    Current,
    Freshness,
    Guard,
    Output,
    StepTime,
    Temperature,
    Voltage,
    valid,
)
from daq.model import ChannelRef, Limits, Reading, Sample, Setpoint

HARD = Limits((2.0, 4.35), (-10.0, 10.0), (0.0, 60.0))
STEP = Limits((2.6, 4.2), (-5.0, 5.0), (5.0, 45.0), charge_Ah=2.9)
NOT_NUMBERS = (nan, inf, -inf, 9.9e37, -9.9e37, 9.91e37)
ON = Setpoint(4.2, 2.5, 0.0)
SETTLED_S = 1.0


def sample(at_s: float = 0.0, **reading: object) -> Sample:
    """A sample, by default of a calm cell."""
    values = {"voltage_V": 3.7, "current_A": 0.0, "temperature_degC": 25.0} | reading
    return Sample(ChannelRef("aps1"), at_s, 1e9 + at_s, at_s, Reading(**values))  # type: ignore[arg-type]


def guard(**changes: object) -> Guard:
    """A guard whose sources have been fresh at 0 s."""
    given = {
        "range_A": 10.0,
        "slack_s": 0.5,
        "cycler": Freshness("aps1.1", 0.1),
        "thermometer": Freshness("mk53.1", 1.0),
    } | changes
    return Guard(HARD, **given)  # type: ignore[arg-type]


# V1, V2, I1, T1, T2: a span.

SPANS = [
    (Voltage, "voltage_V", (2.6, 4.2), "V1", "V2"),
    (Current, "current_A", (-5.0, 5.0), "I1", "I1"),
    (Temperature, "temperature_degC", (5.0, 45.0), "T1", "T2"),
]
FAR = {"voltage_V": (0.026, 0.042), "current_A": (0.05, 0.05), "temperature_degC": (1.0, 1.0)}


@pytest.mark.parametrize(("rule_class", "quantity", "span", "over", "under"), SPANS)
class TestSpan:
    def test_a_value_at_the_limit_never_trips(self, rule_class, quantity, span, over, under):
        rule = rule_class()
        rule.span = span
        assert not any(rule.check(sample(**{quantity: end})) for end in (*span, *span, *span))

    def test_the_next_number_past_it_trips_at_the_second_sample(
        self, rule_class, quantity, span, over, under
    ):
        for end, beyond, check in ((span[0], -inf, under), (span[1], inf, over)):
            rule = rule_class()
            rule.span = span
            past = sample(**{quantity: nextafter(end, beyond)})
            assert rule.check(past) is None
            trip = rule.check(past)
            assert trip is not None
            assert trip.check == check

    def test_one_sample_far_past_it_is_enough(self, rule_class, quantity, span, over, under):
        for end, sign, far, check in zip(span, (-1, 1), FAR[quantity], (under, over), strict=True):
            rule = rule_class()
            rule.span = span
            assert rule.check(sample(**{quantity: end + 0.999 * sign * far})) is None
            rule = rule_class()
            rule.span = span
            trip = rule.check(sample(**{quantity: end + 1.001 * sign * far}))
            assert trip is not None
            assert trip.check == check

    def test_one_noisy_sample_between_good_ones_does_not_trip(
        self, rule_class, quantity, span, over, under
    ):
        rule = rule_class()
        rule.span = span
        past = sample(**{quantity: span[1] + 0.5 * FAR[quantity][1]})
        good = sample(**{quantity: (span[0] + span[1]) / 2})
        assert not any(rule.check(one) for one in (past, good, past, good, past))

    def test_what_is_not_a_number_is_never_compared(self, rule_class, quantity, span, over, under):
        rule = rule_class()
        rule.span = span
        assert not any(rule.check(sample(**{quantity: value})) for value in NOT_NUMBERS * 3)

    def test_what_is_not_a_number_does_not_forgive_the_sample_before(
        self, rule_class, quantity, span, over, under
    ):
        past = sample(**{quantity: span[1] + 0.5 * FAR[quantity][1]})
        for open_below in (False, True):  # as the span of an idle station is
            for value in NOT_NUMBERS:
                rule = rule_class()
                rule.span = (-inf, span[1]) if open_below else span
                assert rule.check(past) is None
                assert rule.check(sample(**{quantity: value})) is None
                assert rule.check(past) is not None, value


def test_the_message_names_value_limit_and_unit():
    rule = Voltage()
    rule.span = (2.6, 4.2)
    trip = rule.check(sample(voltage_V=4.5))
    assert trip is not None
    assert trip.message == "voltage 4.5 V is above the limit of 4.2 V"
    trip = rule.check(sample(voltage_V=1.5))
    assert trip is not None
    assert trip.message == "voltage 1.5 V is below the limit of 2.6 V"


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_infinities_of_instruments_and_of_python_are_not_valid(value):
    assert not valid(value)


def test_large_readings_are_still_numbers():
    assert valid(8.9e36)
    assert valid(-8.9e36)
    assert not valid(9.0e36)


# I1, C2, K2: the output.


def output(setpoint: Setpoint | None = ON) -> Output:
    """An output rule, commanded at 0 s."""
    rule = Output(10.0)
    rule.command(setpoint, 0.0)
    return rule


def after_settling(rule: Output, **reading: object) -> str:
    """The check that two samples after the settling time say; empty when none."""
    rule.check(sample(SETTLED_S, **reading))
    trip = rule.check(sample(SETTLED_S + 0.1, **reading))
    return trip.check if trip else ""


@pytest.mark.parametrize(
    ("current_A", "check"),
    [
        (2.5 * 1.05 + 0.0499, ""),
        (2.5 * 1.05 + 0.0501, "I1"),
        (-0.0499, ""),
        (-0.0501, "I1"),
        (-2.5, "I1"),
        (0.0, ""),
        (nan, ""),
        (9.9e37, ""),
    ],
)
def test_a_charge_flows_into_the_cell_and_no_more_than_asked(current_A, check):
    assert after_settling(output(), current_A=current_A, output_on=True) == check


def test_a_discharge_of_the_wrong_sign_is_a_charge():
    rule = output(Setpoint(2.5, 0.0, 2.5))
    assert after_settling(rule, current_A=-2.5, output_on=True) == ""
    assert after_settling(rule, current_A=0.2, output_on=True) == "I1"


@pytest.mark.parametrize(("current_A", "check"), [(0.0499, ""), (0.0501, "I1"), (-0.0501, "I1")])
def test_nothing_flows_while_it_is_off(current_A, check):
    assert after_settling(output(None), current_A=current_A, output_on=False) == check


def test_the_error_is_a_fraction_of_the_range_that_the_instrument_tells():
    rule = output(None)
    rule.set_range(100.0)
    assert after_settling(rule, current_A=0.4, output_on=False) == ""
    rule.set_range(inf)  # it did not tell: what was known stands
    assert after_settling(rule, current_A=0.6, output_on=False) == "I1"


def test_nothing_is_judged_in_the_first_second_after_a_command():
    rule = output(None)
    rule.command(ON, 10.0)
    early = [sample(10.0 + tenth / 10, output_on=False) for tenth in range(10)]
    assert not any(rule.check(one) for one in early)
    assert rule.check(sample(11.0, output_on=False)) is None
    trip = rule.check(sample(11.1, output_on=False))
    assert trip is not None
    assert trip.check == "C2"


def test_the_same_command_again_does_not_begin_another_second():
    rule = output(None)
    rule.command(None, 5.0)
    assert after_settling(rule, current_A=1.0, output_on=False) == "I1"


def test_two_samples_must_agree():
    rule = output(None)
    flowing, calm = {"current_A": 1.0, "output_on": False}, {"output_on": False}
    assert rule.check(sample(1.0, **flowing)) is None
    assert rule.check(sample(1.1, **calm)) is None
    assert rule.check(sample(1.2, **flowing)) is None
    assert rule.check(sample(1.3, **flowing)) is not None


@pytest.mark.parametrize(
    ("setpoint", "seen", "words"),
    [(ON, False, "OFF although it was commanded ON"), (None, True, "ON although it was comm")],
)
def test_an_output_that_is_not_what_was_commanded_is_c2(setpoint, seen, words):
    rule = output(setpoint)
    rule.check(sample(1.0, output_on=seen))
    trip = rule.check(sample(1.1, output_on=seen))
    assert trip is not None
    assert trip.check == "C2"
    assert words in trip.message


def test_an_instrument_that_does_not_tell_its_output_is_judged_by_current_alone():
    assert after_settling(output(), current_A=2.5, output_on=None) == ""
    assert after_settling(output(None), current_A=2.5, output_on=None) == "I1"


def test_a_protection_of_the_instruments_own_is_k2_while_energised_only():
    assert after_settling(output(), fault="over-voltage", output_on=True) == "K2"
    assert after_settling(output(None), fault="over-voltage", output_on=False) == ""


def test_a_setpoint_renewed_at_every_sample_does_not_blind_the_rule():
    rule = output(ON)
    seen = []
    for number in range(30):  # 0.1 s apart, as at constant power
        at_s = number / 10
        rule.command(Setpoint(4.2, 2.5 - number / 100, 0.0), at_s)
        seen.append(rule.check(sample(at_s, current_A=-2.5, output_on=True)))
    assert [trip.check for trip in seen if trip][:1] == ["I1"]


def test_a_new_setpoint_gives_the_old_current_a_second_to_go():
    rule = output(ON)
    rule.command(Setpoint(4.2, 1.0, 0.0), 10.0)
    assert not any(
        rule.check(sample(10.0 + tenth / 10, current_A=2.5, output_on=True)) for tenth in range(10)
    )
    assert rule.check(sample(11.0, current_A=2.5, output_on=True)) is None
    trip = rule.check(sample(11.1, current_A=2.5, output_on=True))
    assert trip is not None
    assert trip.check == "I1"


# S1: the step's time.


def test_a_step_in_time_or_within_the_slack_never_trips():
    rule = StepTime(slack_s=0.5)
    rule.enter(100.0, 60.0)
    assert not any(rule.check(sample(at)) for at in (100.0, 160.0, 160.5, 160.5, 160.5))


def test_the_second_sample_past_time_and_slack_trips():
    rule = StepTime(slack_s=0.5)
    rule.enter(100.0, 60.0)
    assert rule.check(sample(160.51)) is None
    trip = rule.check(sample(160.52))
    assert trip is not None
    assert trip.check == "S1"
    assert "60 s" in trip.message


def test_one_late_sample_is_no_lost_engine():
    rule = StepTime(slack_s=0.5)
    rule.enter(100.0, 60.0)
    assert rule.check(sample(200.0)) is None  # the engine sees it too, and enters the next step
    rule.enter(200.0, 60.0)
    assert rule.check(sample(261.0)) is None


def test_without_a_step_no_time_is_too_long():
    rule = StepTime(slack_s=0.5)
    assert rule.check(sample(1e9)) is None
    rule.enter(0.0, 60.0)
    rule.leave()
    assert not any(rule.check(sample(1e9)) for _ in range(3))


# Q1: the guard's own integral.


def charged(rule: Charge, current_A: float, hours: float, start_h: float = 0.0) -> bool:
    """Let a constant current flow, sampled every 36 s; whether it tripped."""
    count = round(hours * 100)
    return any(
        rule.check(sample((start_h + step / 100) * 3600.0, current_A=current_A))
        for step in range(count + 1)
    )


def test_charge_up_to_the_limit_is_allowed_and_the_next_sample_trips():
    rule = Charge()
    rule.limit_Ah = 2.9
    assert not charged(rule, 2.9, 0.99)
    assert rule.check(sample(3600.0 * 1.001, current_A=2.9)) is not None


def test_what_was_discharged_first_may_be_charged_again_and_no_more():
    rule = Charge()
    rule.limit_Ah = 2.9
    assert not charged(rule, -2.5, 1.0)
    assert not charged(rule, 2.5, 1.1, start_h=1.01)
    assert charged(rule, 2.5, 0.2, start_h=2.12)


def test_a_reading_that_is_no_number_leaves_no_hole_in_the_integral():
    rule = Charge()
    rule.limit_Ah = 0.99
    assert rule.check(sample(0.0, current_A=1.0)) is None
    assert not any(rule.check(sample(1800.0, current_A=value)) for value in NOT_NUMBERS)
    trip = rule.check(sample(3600.0, current_A=1.0))
    assert trip is not None
    assert trip.check == "Q1"
    assert "1 Ah" in trip.message


def test_a_new_run_begins_at_zero():
    rule = Charge()
    rule.limit_Ah = 2.9
    charged(rule, 2.5, 1.0)
    rule.reset()
    assert not charged(rule, 2.5, 1.0, start_h=1.0)


def test_a_run_that_is_resumed_after_a_restart_keeps_what_it_had_charged():
    before = Charge()
    charged(before, -1.0, 0.5)
    charged(before, 2.5, 1.0, start_h=0.51)
    after = Charge()
    after.limit_Ah = 2.9
    after.restore(before.snapshot())
    assert after.snapshot() == before.snapshot()
    assert charged(after, 2.5, 0.2, start_h=10.0)


# P1: silence, in real time.


def test_silence_trips_after_three_periods_but_never_before_two_seconds():
    slow, fast = Freshness("mk53.1", 1.0), Freshness("aps1.1", 0.1)
    for source, allowed_s in ((slow, 3.0), (fast, 2.0)):
        source.fresh(100.0)
        assert source.judge(100.0 + allowed_s) is None
        trip = source.judge(100.0 + allowed_s + 0.001)
        assert trip is not None
        assert (trip.check, trip.source) == ("P1", source.source)


def test_what_was_before_it_confirmed_to_be_on_is_no_silence():
    source = Freshness("aps1.1", 0.1)
    source.fresh(100.0)
    assert source.judge(103.0, since_s=101.0) is None
    assert source.judge(103.001, since_s=101.0) is not None
    assert source.judge(102.5, since_s=99.0) is not None  # a sample is newer: it counts


def test_a_source_that_was_never_heard_is_silent():
    source = Freshness("aps1.1", 0.1)
    assert source.age_s(0.0) == inf
    assert source.judge(0.0) is not None


def test_the_stamp_counts_and_not_the_time_of_the_lab():
    watched = guard()
    late = Sample(ChannelRef("aps1"), 5000.0, 0.0, 10.0, Reading(3.7, 0.0))
    watched.check_cycler(late)
    assert watched.cycler.age_s(11.0) == pytest.approx(1.0)


@pytest.mark.parametrize("value", NOT_NUMBERS)
@pytest.mark.parametrize("quantity", ["voltage_V", "current_A"])
def test_an_invalid_reading_of_the_cycler_is_as_good_as_none(quantity, value):
    watched = guard()
    watched.check_cycler(sample(0.0))
    watched.check_cycler(sample(1.0, **{quantity: value}))
    assert watched.cycler.age_s(1.0) == 1.0


def test_either_source_alone_is_enough_to_trip():
    watched = guard()
    watched.check_cycler(sample(0.0))
    watched.check_temperature(sample(0.0))
    assert watched.check_silence(2.0) is None
    watched.check_cycler(sample(2.0))
    trip = watched.check_silence(3.5)
    assert trip is not None
    assert trip.source == "mk53.1"
    watched.check_temperature(sample(3.5))
    assert watched.check_silence(3.9) is None
    trip = watched.check_silence(4.1)
    assert trip is not None
    assert trip.source == "aps1.1"


def test_a_thermometer_without_a_number_is_silent():
    watched = guard()
    watched.check_cycler(sample(10.0))
    watched.check_temperature(sample(0.0))
    watched.check_temperature(sample(10.0, temperature_degC=nan))
    trip = watched.check_silence(10.0)
    assert trip is not None
    assert trip.source == "mk53.1"


def test_a_station_without_a_thermometer_waits_for_none():
    watched = guard(thermometer=None)
    watched.check_cycler(sample(10.0))
    assert watched.check_temperature(sample(10.0)) is None
    assert watched.check_silence(10.0) is None


# All of them, in tiers.


def test_an_idle_position_may_be_empty_but_not_too_high():
    watched = guard()
    empty = {"voltage_V": 0.001, "temperature_degC": -20.0}
    for _ in range(3):
        assert watched.check_cycler(sample(**empty)) is None
        assert watched.check_temperature(sample(**empty)) is None
    high = watched.check_cycler(sample(voltage_V=4.5))
    assert high is not None
    assert high.check == "V1"
    hot = watched.check_temperature(sample(temperature_degC=62.0))
    assert hot is not None
    assert hot.check == "T1"


def test_a_step_tightens_and_the_end_of_it_relaxes():
    watched = guard()
    watched.enter(STEP, 0.0, 60.0)
    assert watched.voltage.span == STEP.voltage_V
    assert watched.current.span == STEP.current_A
    assert watched.temperature.span == STEP.temperature_degC
    assert watched.charge.limit_Ah == STEP.charge_Ah
    low = watched.check_cycler(sample(voltage_V=2.5))
    assert low is not None
    assert low.check == "V2"
    watched.relax()
    assert watched.check_cycler(sample(1e6, voltage_V=2.5)) is None
    assert watched.check_cycler(sample(1e6, voltage_V=2.5)) is None


def test_the_first_rule_that_speaks_is_heard():
    watched = guard()
    watched.enter(STEP, 0.0, 60.0)
    watched.output.command(ON, 0.0)
    both = sample(70.0, voltage_V=5.0, current_A=9.0, output_on=True)
    trip = watched.check_cycler(both)
    assert trip is not None
    assert trip.check == "V1"


def test_every_rule_of_the_cycler_is_asked():
    seen = set()
    readings = {
        "V1": {"voltage_V": 5.0},
        "I1": {"current_A": 6.0, "output_on": True},
        "C2": {"output_on": False},
        "S1": {"current_A": 2.5, "output_on": True},
        "I2": {"current_A": 1.0, "output_on": True},
        "Q1": {"current_A": 2.5, "output_on": True},
    }
    for check, reading in readings.items():
        watched = guard()
        watched.enter(STEP, 0.0, 1e6 if check in ("Q1", "I2") else 1.0)
        watched.output.command(ON, 0.0)
        for at_s in (5000.0, 10000.0):
            if trip := watched.check_cycler(sample(at_s, **reading)):
                seen.add(trip.check)
                break
    assert seen == set(readings)
