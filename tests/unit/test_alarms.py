"""Alarms from the one who raises them to the journal, and the commands about them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest

from daq.control.alarms import Alarms, Cause, Place
from daq.control.alarms.maintenance import LONGEST_S, Maintenance, Window
from daq.control.alarms.verbs import AlarmVerbs
from daq.errors import CommandRefused
from daq.journal import Kept
from daq.model import Command, EventKind, Trip
from tests.unit.fakes import MemoryJournal

SILENT = Trip("P1", "no valid reading of mk56.1 for 2 s", "mk56.1")


@dataclass
class Clock:
    utc_s: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.utc_s


class Desk:
    """Alarms on a journal in memory, and what a later session makes of it."""

    def __init__(self, kept: Any = None, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.journal = MemoryJournal()
        self.heard: list[tuple[str, str]] = []
        self.alarms = Alarms(
            self.journal,  # type: ignore[arg-type]
            self.clock,
            kept=kept,
            chambers=["mk56"],
            heard=lambda state, alarm: self.heard.append((state.value, alarm.cause.value)),
        )
        for station in ("A1", "A2"):
            place = Place(f"c-{station}", "B7", f"run-{station}")
            self.alarms.know(station, lambda found=place: found)
        self.verbs = AlarmVerbs(self.alarms, {"A1", "A2"}).handlers

    def kept(self) -> dict[str, dict[str, Any]]:
        """As `Earlier` reads it."""
        found: dict[str, dict[str, Any]] = {}
        for (kind, name), document in self.journal.kept.items():
            found.setdefault(kind, {})[name] = document
        return found

    def later(self) -> Desk:
        return Desk(self.kept(), self.clock)

    def told(self) -> list[tuple[str, str]]:
        events = self.journal.events(EventKind.ALARM)
        return [(event.data["state"], event.data["cause"]) for event in events]

    async def ask(self, verb: str, station: str = "", **arguments: Any) -> Any:
        return await self.verbs[verb](Command(verb, "1", "ana", station, arguments=arguments))


@pytest.fixture
def desk():
    return Desk()


def test_raising_an_alarm_touches_nothing_but_a_deque(desk):
    """The path from a sample to OFF must not wait: not for the book, not for the journal."""
    desk.alarms.book = None
    desk.alarms.raise_(Cause.FOUND_ON, "it was on", station="A1")
    desk.alarms.tripped("A1", SILENT)
    desk.alarms.cleared("A1", SILENT)
    assert desk.journal.entries == []


def test_alarms_of_many_threads_all_arrive(desk):
    def shout(name: str) -> None:
        for number in range(200):
            desk.alarms.raise_(Cause.PROCESS_DIED, "x", instrument=f"{name}-{number}")

    threads = [threading.Thread(target=shout, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    desk.alarms.drain()
    assert len(desk.alarms.book.open) == 800


def test_trips_that_blame_a_dead_chamber_are_told_beneath_it(desk):
    for station in ("A1", "A2"):
        desk.alarms.tripped(station, SILENT)
    desk.alarms.drain()
    (alarm,) = desk.alarms.book.open
    assert alarm.cause is Cause.CHAMBER_DEAD
    assert alarm.cells == ("c-A1", "c-A2")
    assert alarm.runbook == "docs/runbooks/chamber-dead.md"
    assert desk.told()[0] == ("began", "chamber-dead")
    for station in ("A1", "A2"):
        desk.alarms.cleared(station, SILENT)
    desk.alarms.drain()
    assert desk.alarms.book.open == ()


def test_an_event_says_where_and_in_which_run(desk):
    desk.alarms.tripped("A1", Trip("V1", "4.36 V", "aps1.1"))
    desk.alarms.raise_(Cause.CHAMBER_DEAD, "gone", instrument="mk56", stations=("A1", "A2"))
    desk.alarms.drain()
    one, many = desk.journal.events(EventKind.ALARM)
    assert (one.station, one.run, one.data["severity"]) == ("A1", "run-A1", "page")
    assert (many.station, many.run, many.data["stations"]) == ("", "", ("A1", "A2"))


def test_open_alarms_survive_a_restart_and_keep_their_numbers(desk):
    desk.alarms.tripped("A1", Trip("V1", "4.36 V"))
    desk.alarms.raise_(Cause.SENTINEL_ACTED, "it did", report="line by line")
    desk.alarms.drain()
    desk.alarms.acknowledge("1", "ana", "on my way")
    later = desk.later()
    assert later.alarms.book.open == desk.alarms.book.open
    later.alarms.raise_(Cause.CLOCK_JUMP, "an hour")
    later.alarms.drain()
    assert [alarm.id for alarm in later.alarms.book.open] == ["1", "2", "3"]
    later.alarms.cleared("A1", Trip("V1", ""))
    later.alarms.drain()
    assert ("ended", "trip-V1") in later.told()


def test_a_symptom_that_is_gone_stays_gone_over_a_restart(desk):
    for station in ("A1", "A2"):
        desk.alarms.tripped(station, SILENT)
    desk.alarms.drain()
    desk.alarms.cleared("A1", SILENT)
    desk.alarms.drain()
    (alarm,) = desk.later().alarms.book.open
    assert [one.station for one in alarm.beneath] == ["A2"]


def test_an_alarm_that_counts_on_is_kept_once_a_second_and_not_at_every_pass(desk):
    kept = []
    desk.alarms.drain()
    desk.journal.keep = lambda kind, name, data: kept.append(data)
    for _ in range(100):
        desk.clock.utc_s += 0.1
        desk.alarms.tripped("A1", Trip("V1", "4.36 V"))
        desk.alarms.drain()
    assert 9 <= len(kept) <= 12


def test_a_document_of_another_version_costs_that_alarm_and_no_other(desk):
    desk.alarms.tripped("A1", Trip("V1", "4.36 V"))
    desk.alarms.tripped("A2", Trip("V1", "4.36 V"))
    desk.alarms.drain()
    kept = desk.kept()
    kept[Kept.ALARM]["open"]["alarms"][0]["cause"] = "trip-of-the-future"
    (alarm,) = Desk(kept).alarms.book.open
    assert alarm.stations == ("A2",)


# Commands.


async def test_alarms_are_listed_of_the_lab_or_of_a_station(desk):
    desk.alarms.tripped("A1", Trip("V1", "4.36 V"))
    desk.alarms.tripped("A2", Trip("V2", "1.9 V"))
    found = await desk.ask("alarms")
    assert (found["open"], found["page"], found["ticket"]) == (2, 1, 1)
    found = await desk.ask("alarms", "A2")
    assert [one["cause"] for one in found["alarms"]] == ["trip-V2"]
    with pytest.raises(CommandRefused, match="no station"):
        await desk.ask("alarms", "B1")


async def test_acknowledging_needs_a_reason_and_an_alarm_that_is_open(desk):
    desk.alarms.tripped("A1", Trip("V1", "4.36 V"))
    for wrong in ({"alarm": "1"}, {"alarm": "1", "reason": " "}, {"alarm": "7", "reason": "x"}):
        with pytest.raises(CommandRefused):
            await desk.ask("ack", **wrong)
    found = await desk.ask("ack", alarm="1", reason="on my way")
    assert (found["acknowledged_by"], found["acknowledged_reason"]) == ("ana", "on my way")
    assert desk.told()[-1] == ("acknowledged", "trip-V1")


async def test_a_maintenance_window_hides_alarms_and_closes_by_itself(desk):
    await desk.ask("maintenance", "A1", for_s=3600, reason="a new thermocouple")
    desk.alarms.tripped("A1", Trip("V1", "4.36 V"))
    desk.alarms.tripped("A2", Trip("V1", "4.36 V"))
    desk.alarms.drain()
    hidden, heard = desk.alarms.book.open
    assert (hidden.suppressed, heard.suppressed) == (True, False)
    assert desk.told() == [("began", "trip-V1")] * 2  # both are in the journal
    desk.clock.utc_s += 3599.0
    desk.alarms.drain()
    assert desk.alarms.window("A1")["reason"] == "a new thermocouple"
    desk.clock.utc_s += 1.0
    desk.alarms.drain()
    assert desk.alarms.window("A1") is None
    assert not desk.alarms.book.open[0].suppressed
    assert (Kept.MAINTENANCE, "A1") not in desk.journal.kept


async def test_a_window_survives_a_restart_and_can_be_ended(desk):
    await desk.ask("maintenance", "A1", for_s=3600, reason="a new thermocouple")
    later = desk.later()
    assert later.alarms.window("A1")["by"] == "ana"
    await later.ask("maintenance", "A1", end=True)
    assert later.alarms.window("A1") is None
    with pytest.raises(CommandRefused, match="no maintenance"):
        await later.ask("maintenance", "A1", end=True)


@pytest.mark.parametrize("seconds", [0, -1.0, LONGEST_S + 1, "2h", None, True])
async def test_a_window_is_longer_than_nothing_and_at_most_a_day(seconds, desk):
    with pytest.raises(CommandRefused):
        await desk.ask("maintenance", "A1", for_s=seconds, reason="x")
    assert desk.alarms.window("A1") is None


async def test_a_window_needs_a_reason_and_a_station(desk):
    with pytest.raises(CommandRefused, match="reason"):
        await desk.ask("maintenance", "A1", for_s=60, reason=" ")
    with pytest.raises(CommandRefused, match="station"):
        await desk.ask("maintenance", "B1", for_s=60, reason="x")


async def test_a_window_of_a_day_is_allowed(desk):
    await desk.ask("maintenance", "A1", for_s=LONGEST_S, reason="x")
    assert desk.alarms.window("A1")


def test_a_clock_that_is_set_back_for_days_does_not_stretch_a_window():
    found = Maintenance({})
    found.open(Window("A1", 1e6, 1e6 + 60.0, "ana", "x"))
    assert found.covers("A1", 1e6 - 3600.0)
    assert not found.covers("A1", 1e6 - LONGEST_S - 1.0)


async def test_what_the_gateway_sees_is_reported_and_nothing_else(desk):
    await desk.ask("report", cause="broker-away", message="connection refused")
    desk.alarms.drain()
    assert desk.told() == [("began", "broker-away")]
    await desk.ask("report", cause="broker-away", over=True)
    desk.alarms.drain()
    desk.clock.utc_s += 60.0
    desk.alarms.drain()
    assert desk.told()[-1] == ("ended", "broker-away")
    with pytest.raises(CommandRefused):
        await desk.ask("report", cause="trip-V1", message="made up")
