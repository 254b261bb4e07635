"""Whether an interrupted run may go on by itself: each condition alone keeps it waiting."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.config import ResumePolicy
from daq.control import resumption
from daq.control.resumption import (
    LOOK_S,
    PATIENCE_S,
    RESTARTED,
    STEADY_S,
    STOPPING,
    Interruption,
    Resumptions,
    expected_voltage,
    forbidden,
    pause_of,
)
from daq.model import Event, EventKind, Record
from tests.unit.fakes import Stand, TurnedClock
from tests.unit.test_start import fresh, info, starter

TOLERANCE_V = 0.02


def record(voltage_V, current_A, step_count=1, step_record=1):
    return Record(
        "A1", "run-A1", 0.0, 0.0, 1e9, voltage_V, current_A, 25.0, 25.0, 1, step_count,
        step_count, step_record, 0.0, 0.0, 0.0, 0.0,
    )  # fmt: skip


# What the voltage should be.


def test_after_a_charge_the_voltage_falls_by_half_to_twice_the_ohmic_drop():
    edge = [record(3.60, 0.0, 1), record(3.70, 2.0, 2), record(3.90, 2.0, 2, 9)]
    low, high = expected_voltage(edge, TOLERANCE_V)  # 50 mohm: 100 mV
    assert (low, high) == pytest.approx((3.70 - TOLERANCE_V, 3.85 + TOLERANCE_V))


def test_after_a_discharge_it_rises():
    edge = [record(3.60, 0.0, 1), record(3.50, -2.0, 2), record(3.30, -2.0, 2, 9)]
    low, high = expected_voltage(edge, TOLERANCE_V)
    assert (low, high) == pytest.approx((3.35 - TOLERANCE_V, 3.50 + TOLERANCE_V))


def test_at_rest_it_goes_on_relaxing_in_the_same_direction():
    records = [
        record(3.60, 0.0, 1), record(3.70, 2.0, 2), record(3.90, 2.0, 2, 9), record(3.80, 0.0, 3),
    ]  # fmt: skip
    low, high = expected_voltage(records, TOLERANCE_V)
    assert (low, high) == pytest.approx((3.70 - TOLERANCE_V, 3.80 + TOLERANCE_V))


def test_a_cell_that_never_carried_current_stays_where_it_was():
    assert expected_voltage([record(3.6, 0.001)], TOLERANCE_V) == pytest.approx((3.58, 3.62))


def test_the_first_edge_of_a_run_is_between_its_first_two_records():
    begun = [record(3.60, 0.0, 1, 1), record(3.70, 2.0, 1, 2), record(3.90, 2.0, 1, 9)]
    low, high = expected_voltage(begun, TOLERANCE_V)
    assert (low, high) == pytest.approx((3.90 - 0.2 - 0.02, 3.90 - 0.05 + 0.02))
    later = [record(3.60, 0.0, 1, 7), record(3.70, 2.0, 1, 8)]
    assert expected_voltage(later, TOLERANCE_V) is None


@pytest.mark.parametrize(
    "records",
    [[], [record(nan, 1.0)], [record(3.9, 2.0)], [record(3.8, 2.0, 1), record(3.9, 2.0, 2)]],
    ids=["no record", "no reading", "no edge", "an edge without a jump of current"],
)
def test_without_an_edge_nothing_can_be_expected(records):
    assert expected_voltage(records, TOLERANCE_V) is None


@given(
    ocv=st.floats(2.5, 4.2),
    ohm=st.floats(0.001, 0.2),
    amps=st.floats(-10.0, 10.0).filter(lambda value: abs(value) > 0.02),
    slow=st.floats(0.0, 1.0),
)
def test_a_cell_that_relaxes_by_at_most_as_much_again_is_always_as_expected(ocv, ohm, amps, slow):
    loaded = ocv + ohm * amps * (1.0 + slow)
    records = [record(ocv, 0.0, 1), record(ocv + ohm * amps, amps, 2), record(loaded, amps, 2, 9)]
    low, high = expected_voltage(records, 1e-6)
    assert low <= loaded - ohm * amps <= high  # just switched off
    assert low <= ocv <= high  # long after


# Why it was paused.


def event(kind, **data):
    return Event(kind, 1e9, "A1", "run-A1", data=data)


@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([], ""),
        ([event(EventKind.PAUSED, reason="lunch")], "lunch"),
        ([event(EventKind.PAUSED, reason="lunch"), event(EventKind.RESUMED, by="ana")], ""),
        ([event(EventKind.PAUSED, reason=STOPPING)], ""),
        ([event(EventKind.PAUSED, reason="lunch"), event(EventKind.GAP)], "lunch"),
        (
            [event(EventKind.TRIP, message="hot"), event(EventKind.CLEARED, by="ana")],
            "tripped: hot",
        ),
        ([event(EventKind.TRIP, message="hot"), event(EventKind.RESUMED, by="ana")], ""),
    ],
)
def test_only_what_nobody_has_paused_was_going_on(events, why):
    assert pause_of(events) == why


# Whether it goes on.


@pytest.fixture
def clock(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    monkeypatch.setattr("daq.control.start.monotonic", clock)
    monkeypatch.setattr(resumption, "monotonic", clock)
    return clock


@pytest.fixture
def stand(clock):
    return Stand(clock)


def reads(stand, **values):
    stand.driver.reading = replace(stand.driver.reading, **values)


class Case:
    """A run that was interrupted while its cell rested at the fake's 3.7 V."""

    def __init__(self, stand, policy=None, **changes):
        self.stand = stand
        self.told = []
        run = starter(stand).restore(info(), fresh(stand))
        found = Interruption(run, 60.0, "", lab_changed=False, expected_V=(3.6, 3.8))
        self.resumptions = Resumptions(
            policy or ResumePolicy(), lambda _: stand.refusal, lambda _, why: self.told.append(why)
        )
        stand.conductor.begin(run, RESTARTED)
        self.resumptions.add(stand.station, replace(found, **changes))

    def look(self, for_s):
        for _ in range(round(for_s / 0.5)):
            self.stand.tick(every_s=0.5)
            self.resumptions.tend()

    @property
    def went_on(self):
        return self.stand.driver.is_on


def test_it_goes_on_when_everything_has_held_for_a_while(stand):
    case = Case(stand)
    case.look(STEADY_S - 0.5)
    assert not case.went_on
    case.look(2.0)
    assert case.went_on
    assert case.told == []
    resumed = [e for e in stand.journal.entries if getattr(e, "kind", "") == EventKind.RESUMED]
    assert [event.data["by"] for event in resumed] == ["policy"]


@pytest.mark.parametrize(
    ("policy", "changes", "word"),
    [
        (ResumePolicy(automatic=False), {}, "lab file wants"),
        (ResumePolicy(within_s=59.0), {}, "away for 60 s"),
        (None, {"away_s": 900.5}, "away"),
        (None, {"away_s": -1.0}, "away"),
        (None, {"away_s": nan}, "away"),
        (None, {"paused": "lunch"}, "lunch"),
        (None, {"lab_changed": True}, "changed"),
        (None, {"expected_V": None}, "no step edge"),
    ],
)
def test_what_rules_it_out_does_so_at_once_and_for_good(policy, changes, word, stand):
    case = Case(stand, policy, **changes)
    case.look(1.0)
    assert word in stand.conductor.paused
    assert len(case.told) == 1
    case.look(PATIENCE_S + 10.0)
    assert not case.went_on
    assert len(case.told) == 1


def test_at_exactly_the_longest_time_away_it_goes_on(stand):
    case = Case(stand, None, away_s=900.0)
    case.look(5.0)
    assert case.went_on


def test_a_protocol_may_want_its_operator_always(stand):
    case = Case(stand)
    found = case.resumptions._pending[0].found
    program = replace(found.run.engine.program, waits_for_operator=True)
    found.run.engine.program = program
    assert "protocol wants" in forbidden(found, ResumePolicy())


@pytest.mark.parametrize(
    ("disturb", "word", "patience_s"),
    [
        (lambda stand: reads(stand, voltage_V=3.81), "voltage is 3.81 V", LOOK_S),
        (lambda stand: reads(stand, voltage_V=3.59), "voltage", LOOK_S),
        (lambda stand: reads(stand, voltage_V=nan), "voltage", LOOK_S),
        (lambda stand: reads(stand, temperature_degC=50.1), "temperature", LOOK_S),
        (
            lambda stand: setattr(stand, "refusal", "the sentinel does not run"),
            "sentinel",
            PATIENCE_S,
        ),
        (lambda stand: setattr(stand.instrument, "_retry_at", 1e9), "offline", PATIENCE_S),
    ],
)
def test_what_does_not_fit_in_time_waits_for_its_operator(disturb, word, patience_s, stand):
    case = Case(stand)
    disturb(stand)
    case.look(patience_s - 1.0)
    assert stand.conductor.paused == RESTARTED  # it may yet come right
    case.look(3.0)
    assert word in stand.conductor.paused
    assert word in case.told[0]
    assert not case.went_on
    paused = [e for e in stand.journal.entries if getattr(e, "kind", "") == EventKind.PAUSED]
    assert word in paused[-1].data["reason"]  # so that the next restart knows it too


def test_what_comes_right_in_time_goes_on(stand):
    case = Case(stand)
    reads(stand, voltage_V=3.9)
    case.look(LOOK_S / 2)
    reads(stand, voltage_V=3.7)
    case.look(STEADY_S + 1.0)
    assert case.went_on


def test_an_operator_who_was_quicker_is_left_alone(stand):
    case = Case(stand)
    case.look(1.0)
    stand.conductor.stop("not needed any more", stand.station.last)
    case.look(5.0)
    assert not case.went_on
    assert case.told == []
