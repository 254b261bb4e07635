"""The alarm book: what is one alarm, when it is told, when it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.control.alarms.alarm import Alarm, Place, Report, State, alarm_from
from daq.control.alarms.book import AGAIN_S, Book, counts
from daq.control.alarms.causes import LINK_QUIET_S, RULES, Cause, cause_of
from daq.model import Severity, Trip

STATIONS = tuple(f"A{number}" for number in range(1, 9))
DEAD = (Cause.CHAMBER_DEAD, "mk56")


def place(station: str) -> Place:
    return Place(f"cell-{station}", "B7", f"run-{station}")


def book(**more) -> Book:
    return Book(place=place, **more)


def tell(cause: Cause, at: float = 0.0, *stations: str, **more) -> Report:
    return Report(cause, at, "because", stations=stations, **more)


def silence(station: str, at: float = 0.0) -> Report:
    """A P1 trip that blames the chamber's thermometer."""
    return tell(Cause.TRIP_P1, at, station, under=DEAD)


def states(happenings) -> list[State]:
    return [state for state, _ in happenings]


# One alarm for one thing.


def test_an_alarm_that_is_raised_again_is_the_same_one_and_is_told_once():
    found = book()
    assert states(found.take(tell(Cause.TRIP_V1, 0.0, "A1"))) == [State.BEGAN]
    assert found.take(tell(Cause.TRIP_V1, 1.0, "A1")) == []
    (alarm,) = found.open
    assert (alarm.count, alarm.began_utc_s, alarm.last_utc_s) == (2, 0.0, 1.0)
    assert (alarm.stations, alarm.cells, alarm.runs) == (("A1",), ("cell-A1",), ("run-A1",))


def test_what_goes_on_is_told_again_once_in_a_while():
    found = book()
    found.take(tell(Cause.TRIP_V1, 0.0, "A1"))
    told = [at for at in range(1, 1000) if found.take(tell(Cause.TRIP_V1, float(at), "A1"))]
    assert told == [AGAIN_S, 2 * AGAIN_S, 3 * AGAIN_S]


def test_the_same_cause_at_another_cell_is_another_alarm():
    found = book()
    for station in STATIONS:
        found.take(tell(Cause.TRIP_V1, 0.0, station))
    assert len(found.open) == 8
    assert len({alarm.id for alarm in found.open}) == 8


def test_a_dead_chamber_and_the_eight_stations_that_it_trips_are_one_alarm_in_any_order():
    root = tell(Cause.CHAMBER_DEAD, 5.0, *STATIONS, subject="mk56")
    for first in (0, 3, 8):
        found = book()
        reports = [silence(station, 2.0) for station in STATIONS]
        reports.insert(first, root)
        for report in reports:
            found.take(report)
        (alarm,) = found.open
        assert (alarm.cause, alarm.severity) == (Cause.CHAMBER_DEAD, Severity.PAGE)
        assert set(alarm.stations) == set(STATIONS)
        assert [one.station for one in alarm.beneath] == list(STATIONS)
        assert {one.cause for one in alarm.beneath} == {Cause.TRIP_P1}
        assert alarm.active


def test_an_alarm_is_told_at_once_when_it_reaches_another_station_or_becomes_louder():
    found = book()
    found.take(tell(Cause.INSTRUMENT_SILENT, 0.0, "A1", subject="aps1", severity=Severity.TICKET))
    assert found.open[0].severity is Severity.TICKET
    louder = tell(Cause.INSTRUMENT_SILENT, 1.0, "A1", subject="aps1", severity=Severity.PAGE)
    assert states(found.take(louder)) == [State.AGAIN]
    assert states(found.take(replace(louder, stations=("A2",)))) == [State.AGAIN]
    assert found.take(replace(louder, severity=Severity.TICKET)) == []
    assert found.open[0].severity is Severity.PAGE


def test_cells_of_one_batch_that_fade_are_one_alarm_which_is_over_when_all_are():
    found = book()
    for station in STATIONS[:3]:
        found.take(tell(Cause.CAPACITY_FADE, 0.0, station))
    (alarm,) = found.open
    assert (alarm.subject, alarm.batch) == ("B7", "B7")
    assert alarm.cells == ("cell-A1", "cell-A2", "cell-A3")
    for station in STATIONS[:2]:
        fewer = found.take(tell(Cause.CAPACITY_FADE, 1.0, station, over=True))
        assert states(fewer) == [State.CHANGED]
    last = found.take(tell(Cause.CAPACITY_FADE, 1.0, "A3", over=True))
    assert states(last) == [State.ENDED]
    assert found.open == ()


# The end of it.


def test_a_trips_alarm_is_over_when_it_is_cleared():
    found = book()
    found.take(tell(Cause.TRIP_V1, 0.0, "A1"))
    found.take(tell(Cause.TRIP_V1, 0.0, "A2"))
    ((state, alarm),) = found.take(tell(Cause.TRIP_V1, 7.0, "A1", over=True))
    assert (state, alarm.ended_utc_s, alarm.stations) == (State.ENDED, 7.0, ("A1",))
    assert [one.stations for one in found.open] == [("A2",)]


def test_the_end_of_what_was_not_raised_is_nothing():
    found = book()
    found.take(tell(Cause.TRIP_V1, 0.0, "A1"))
    assert found.take(tell(Cause.TRIP_T1, 0.0, "A1", over=True)) == []
    assert found.take(tell(Cause.JOURNAL_FAILING, 0.0, over=True)) == []
    assert len(found.open) == 1


def test_a_link_that_comes_and_goes_is_one_alarm_and_is_over_when_it_has_held():
    found = book()
    raised, ended = (
        tell(Cause.INSTRUMENT_SILENT, 0.0, "A1", subject="aps1", over=over)
        for over in (False, True)
    )
    happened = []
    for at in range(0, 60, 2):
        happened += found.take(replace(raised, utc_s=float(at)))
        happened += found.take(replace(ended, utc_s=at + 1.0))
        happened += found.tick(at + 1.0)
    assert states(happened) == [State.BEGAN]
    assert found.tick(59.0 + LINK_QUIET_S - 0.1) == []
    assert states(found.tick(59.0 + LINK_QUIET_S)) == [State.ENDED]
    assert found.tick(1000.0) == []


def test_a_root_whose_fault_is_over_stays_while_a_station_is_still_tripped_by_it():
    found = book()
    found.take(tell(Cause.CHAMBER_DEAD, 0.0, *STATIONS, subject="mk56"))
    for station in STATIONS:
        found.take(silence(station))
    assert found.take(tell(Cause.CHAMBER_DEAD, 10.0, subject="mk56", over=True)) == []
    assert found.tick(1000.0) == []
    for station in STATIONS[:-1]:
        assert states(found.take(tell(Cause.TRIP_P1, 1001.0, station, over=True))) == [
            State.CHANGED
        ]
    (alarm,) = found.open
    assert not alarm.active and [one.station for one in alarm.beneath] == ["A8"]
    last = found.take(tell(Cause.TRIP_P1, 1001.0, "A8", over=True))
    assert states(last) == [State.ENDED]


def test_what_has_no_condition_is_over_when_it_is_acknowledged():
    found = book()
    found.take(tell(Cause.SENTINEL_ACTED, 0.0, report="what it wrote"))
    assert found.tick(1e6) == []
    happened = found.acknowledge("1", "ana", "looked at every cell", 5.0)
    assert states(happened) == [State.ACKNOWLEDGED, State.ENDED]
    assert happened[-1][1].acknowledged_by == "ana"
    assert found.open == ()


def test_what_lasts_is_acknowledged_and_stays_until_it_is_gone():
    found = book()
    found.take(tell(Cause.TRIP_V1, 0.0, "A1"))
    assert states(found.acknowledge("1", "ana", "on my way", 5.0)) == [State.ACKNOWLEDGED]
    assert counts(found.open) == {
        "open": 1,
        "page": 0,
        "ticket": 0,
        "suppressed": 0,
        "acknowledged": 1,
    }
    with pytest.raises(KeyError):
        found.acknowledge("2", "ana", "which?", 6.0)


def test_another_report_of_a_machine_is_told_at_once():
    found = book()
    found.take(tell(Cause.SENTINEL_ACTED, 0.0, report="the first time"))
    happened = found.take(tell(Cause.SENTINEL_ACTED, 1.0, report="the second time"))
    assert states(happened) == [State.AGAIN]


# Maintenance.


def test_an_alarm_is_suppressed_only_while_all_its_stations_are_in_maintenance():
    hushed = {"A1"}
    found = book(hushed=lambda station, _: station in hushed)
    ((state, alarm),) = found.take(tell(Cause.CHAMBER_DEAD, 0.0, "A1", subject="mk56"))
    assert (state, alarm.suppressed) == (State.BEGAN, True)  # told all the same, and marked
    ((_, alarm),) = found.take(tell(Cause.CHAMBER_DEAD, 1.0, "A2", subject="mk56"))
    assert not alarm.suppressed


def test_an_alarm_that_outlives_the_window_is_heard_when_it_closes():
    hushed = {"A1"}
    found = book(hushed=lambda station, _: station in hushed)
    found.take(tell(Cause.TRIP_V1, 0.0, "A1"))
    assert found.tick(1.0) == []
    hushed.clear()
    ((state, alarm),) = found.tick(2.0)
    assert (state, alarm.suppressed) == (State.AGAIN, False)
    assert found.tick(3.0) == []


@pytest.mark.parametrize("cause", [Cause.OFF_NOT_VERIFIED, Cause.CURRENT_WHILE_OFF, Cause.FOUND_ON])
def test_current_that_may_flow_while_off_is_never_suppressed(cause):
    found = book(hushed=lambda *_: True)
    ((_, alarm),) = found.take(tell(cause, 0.0, "A1", subject="aps1"))
    assert not alarm.suppressed
    assert alarm.severity is Severity.PAGE


def test_an_alarm_of_the_whole_lab_is_never_suppressed():
    found = book(hushed=lambda *_: True)
    ((_, alarm),) = found.take(tell(Cause.SENTINEL_DIED))
    assert not alarm.suppressed


# What the journal keeps is the book.


def test_every_cause_has_a_rule_and_every_check_an_alarm():
    assert set(RULES) == set(Cause)
    assert cause_of(Trip("T1", "hot")) is Cause.TRIP_T1
    assert cause_of(Trip("Z9", "not thought of yet")) is Cause.TRIP_OTHER


causes = st.sampled_from(sorted(Cause))
some = st.sampled_from(STATIONS[:3])
reports = st.builds(
    Report,
    causes,
    st.just(0.0),
    st.text(max_size=3),
    severity=st.none() | st.sampled_from(Severity),
    subject=st.sampled_from(["", "mk56", "aps1"]),
    stations=st.lists(some, max_size=2, unique=True).map(tuple),
    over=st.booleans(),
)
symptoms = st.builds(
    Report,
    st.just(Cause.TRIP_P1),
    st.just(0.0),
    stations=some.map(lambda one: (one,)),
    under=st.none() | st.just(DEAD),
    over=st.booleans(),
)
deeds = st.lists(
    reports
    | symptoms
    | st.sampled_from(["tick", "restart", "window"])
    | st.integers(1, 9).map(str),
    max_size=40,
)


def replayed(events) -> dict[str, Alarm]:
    """The open alarms, from nothing but what the journal was told."""
    found: dict[str, Alarm] = {}
    for event in events:
        found[event.data["id"]] = alarm_from(event.data)
        if event.data["state"] == State.ENDED:
            del found[event.data["id"]]
    return found


def lasting(alarm: Alarm) -> Alarm:
    """Without what changes between two tellings: how often, and whether it is calm just now."""
    return replace(alarm, count=0, last_utc_s=0.0, message="", active=False, calm_utc_s=None)


@given(deeds)
def test_whatever_comes_in_whatever_order_the_book_is_the_replay_of_its_events(deeds):
    hushed: set[str] = set()

    def open_book() -> Book:
        return book(hushed=lambda station, _: station in hushed)

    found, events = open_book(), []
    for at, deed in enumerate(deeds):
        now = 4.0 * at
        if isinstance(deed, Report):
            happened = found.take(replace(deed, utc_s=now))
        elif deed == "tick":
            happened = found.tick(now)
        elif deed == "window":
            hushed ^= {"A1", "A2"}
            happened = found.tick(now)
        elif deed == "restart":
            kept = [alarm_from(alarm.document()) for alarm in found.open]
            assert kept == list(found.open)
            last, found = found.last, open_book()
            found.restore(kept, last)
            happened = []
        else:
            known = deed in {alarm.id for alarm in found.open}
            happened = found.acknowledge(deed, "ana", "why", now) if known else []
        events += [alarm.event(state) for state, alarm in happened]
        if deed != "window":
            happened_again = found.tick(now)
            events += [alarm.event(state) for state, alarm in happened_again]
    told = replayed(events)
    assert {one.id: lasting(one) for one in found.open} == {
        ident: lasting(alarm) for ident, alarm in told.items()
    }
    assert len({alarm.key for alarm in found.open}) == len(found.open)
    began = [event.data["id"] for event in events if event.data["state"] == State.BEGAN]
    ended = [event.data["id"] for event in events if event.data["state"] == State.ENDED]
    assert sorted(set(began)) == sorted(began)
    assert sorted(set(ended)) == sorted(ended)
    assert set(ended) <= set(began)
