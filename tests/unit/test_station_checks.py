"""What a station does with the guard's checks: holds, groups, interlocks, the relay, clearing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daq.control.guard import Freshness, Interlocks
from daq.control.start import Starter
from daq.control.tripped import History
from daq.errors import CommandRefused, NoReply, ReadbackMismatch
from daq.journal import Kept
from daq.model import ChannelRef, EventKind, Mode, Reading, Sample
from tests.unit.fakes import CHARGE, HARD, REST, Stand, TurnedClock

DOOR = ChannelRef("di1")
DISCHARGE = "  - discharge: 1C\n    until: voltage <= 2.7 V\n    at_most: 2 h\n"


@pytest.fixture
def clock(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    return clock


@pytest.fixture
def stand(clock):
    return Stand(clock)


def tell(stand, fault="", ref=DOOR):
    """A reading of the door's contact."""
    now = stand.clock.now_s
    stand.station.judge(Sample(ref, now, now, now, Reading(fault=fault)))


def with_door(stand):
    stand.station.wiring = replace(stand.station.wiring, interlocks=(DOOR,))
    stand.guard.interlocks = Interlocks({str(DOOR): Freshness(str(DOOR), 0.1)})
    tell(stand)
    return stand


# S2, S3.


def test_a_step_that_ends_after_a_moment_is_off_and_waits_for_its_operator(stand):
    run = stand.energised(DISCHARGE, CHARGE)
    stand.driver.reading = Reading(2.69, 0.0, 25.0)
    stand.driver.told.clear()
    stand.tick()
    assert stand.driver.told[:2] == ["read", "off"]
    assert stand.station.mode is Mode.PAUSED
    assert stand.conductor.paused.startswith("S2: 'voltage <= 2.7 V' was reached in ")
    assert stand.driver.count("on") == 0
    assert run.engine.step.number == 2
    stand.driver.reading = Reading(3.7, 0.0, 25.0)
    stand.tick(100)
    assert stand.driver.count("on") == 0
    assert stand.station.resume("ana") == ""
    stand.tick(2)
    assert stand.driver.is_on
    assert stand.driver.setpoint.charge_A == 2.5


def test_a_hold_is_noted_as_a_pause_and_as_a_ticket(stand):
    stand.energised(DISCHARGE, CHARGE)
    stand.driver.reading = Reading(2.69, 0.0, 25.0)
    stand.tick()
    assert stand.journal.events(EventKind.PAUSED)[-1].data["reason"].startswith("S2")
    ticket = stand.journal.events(EventKind.ALARM)[-1].data
    assert ticket["severity"] == "ticket"
    assert "was reached in" in ticket["message"]


def test_the_last_step_of_a_program_has_nothing_to_be_held_before(stand):
    stand.energised(DISCHARGE)
    stand.driver.reading = Reading(2.69, 0.0, 25.0)
    stand.tick()
    assert stand.conductor.run is None
    assert not stand.driver.is_on


def test_a_rest_after_an_implausible_step_is_not_begun_either(stand):
    run = stand.energised(DISCHARGE, REST, CHARGE)
    stand.driver.reading = Reading(2.69, 0.0, 25.0)
    stand.tick(5)
    assert stand.conductor.paused
    stand.tick(1000, every_s=1.0)
    assert run.engine.step.number == 2


def test_a_program_that_takes_too_long_is_stopped(stand):
    stand.energised(CHARGE)
    stand.guard.program_time.at_most_s = 10.0
    stand.tick(100)
    assert stand.conductor.run is not None
    stand.tick(30)
    assert stand.conductor.run is None
    assert not stand.driver.is_on
    ended = stand.journal.events(EventKind.RUN_ENDED)[-1].data
    assert ended["outcome"] == "stopped"
    assert ended["reason"].startswith("S3: the program ran for ")


# C1.


def test_three_polls_without_an_answer_are_off_before_the_link_is_back(stand):
    stand.energised()
    stand.driver.faults["read"] = stand.driver.faults["identify"] = NoReply("silent")
    stand.tick(3)
    assert stand.output.owed
    assert stand.station.latch is None
    stand.driver.faults.clear()
    stand.tick(20)
    assert stand.station.latch is None
    assert stand.driver.is_on  # the step goes on, through the whole sequence
    assert stand.driver.count("on") == 2


def test_a_cycler_that_obeys_off_but_is_not_read_is_off_and_waits(stand):
    stand.energised()
    stand.instrument.online = True
    stand.driver.faults["read"] = ReadbackMismatch("not read")
    stand.tick(4)
    assert not stand.driver.is_on
    assert not stand.output.owed
    stand.tick(100)
    assert stand.station.latch is None
    assert stand.driver.count("on") == 1


# K1 and groups.


def test_an_open_door_trips_what_runs(stand):
    with_door(stand).energised()
    tell(stand, "door")
    assert stand.station.latch.check == "K1"
    assert not stand.driver.is_on


def test_a_door_that_cannot_be_read_is_open(stand):
    with_door(stand).energised()
    stand.tick(30)
    assert stand.station.latch.check == "K1"


@pytest.mark.parametrize("state", ["idle", "paused"])
def test_a_door_may_be_opened_where_nothing_runs(stand, state):
    with_door(stand)
    if state == "paused":
        stand.energised()
        stand.conductor.pause("mend a cable", stand.station.last)
    tell(stand, "door")
    stand.tick(50)
    assert stand.station.latch is None


def test_a_rest_is_a_run_as_well(stand):
    with_door(stand).tick()
    stand.start(REST)
    stand.tick()
    tell(stand, "door")
    assert stand.station.latch.check == "K1"


@pytest.mark.parametrize(("check", "both"), [("K1", True), ("T1", True), ("V1", False)])
def test_a_group_trips_together_where_the_lab_says_so(clock, check, both):
    one, two, idle = Stand(clock), Stand(clock, "A2"), Stand(clock, "A3")
    one.station.wiring = replace(one.station.wiring, group_trips=frozenset({"K1", "T1"}))
    one.station.group = [two.station, idle.station]
    two.station.group = [one.station, idle.station]
    for each in (one, two):
        each.energised()
    idle.tick()
    one.latched(check)
    assert (two.station.latch is not None) is both
    assert two.driver.is_on is not both
    assert idle.station.latch is None
    if both:
        assert two.station.latch.check == check
        assert two.station.latch.message == "together with A1: because the test says so"


# The relay.


def test_where_off_is_not_obeyed_the_relay_opens_after_two_seconds_and_again(stand):
    opened = []
    stand.station.disobedience.relay = lambda: opened.append(stand.clock.now_s)
    stand.energised()
    stand.driver.obeys_off = False
    began = stand.clock.now_s
    stand.conductor.stop("enough", stand.station.last)
    stand.tick(19)
    assert opened == []
    stand.tick(51)
    assert opened[0] - began == pytest.approx(2.1, abs=0.15)
    assert len(opened) in (2, 3)
    notes = [event.data["text"] for event in stand.journal.events(EventKind.NOTE)]
    assert notes.count("the relay is opened, because the cycler does not obey") == 1


def test_current_of_a_welded_contact_ends_at_the_relay(stand):
    opened = []
    stand.station.disobedience.relay = lambda: opened.append(True)
    stand.energised()
    stand.latched()
    stand.driver.current_A = 2.0
    stand.tick(30)
    assert opened


def test_without_a_relay_there_is_the_alarm(stand):
    stand.energised()
    stand.driver.obeys_off = False
    stand.conductor.stop("enough", stand.station.last)
    stand.tick(50)
    said = [event.data["message"] for event in stand.journal.events(EventKind.ALARM)]
    assert any("is not verified" in message for message in said)


# Clearing.


def test_clearing_sends_the_limits_anew_and_ends_off(stand):
    stand.energised()
    stand.latched()
    stand.tick()
    stand.driver.told.clear()
    assert stand.station.clear("ana", "looked") == ""
    assert stand.driver.told == ["off", "clear", "protect", "off"]
    assert stand.driver.protection.voltage_V[1] >= HARD.voltage_V[1]


@pytest.mark.parametrize("step", ["clear", "protect"])
def test_what_is_not_read_back_keeps_the_latch(stand, step):
    stand.energised()
    stand.latched()
    stand.tick()
    stand.driver.faults[step] = ReadbackMismatch("it reads something else")
    assert "cannot be cleared" in stand.station.clear("ana", "looked")
    assert stand.station.latch


def test_a_trip_is_not_cleared_with_the_link_down(stand):
    stand.energised()
    stand.latched()
    stand.tick()
    hook = stand.driver.hooks
    hook["clear"] = lambda: setattr(stand.instrument, "online", False)
    assert "offline" in stand.station.clear("ana", "looked")
    assert stand.station.latch


@pytest.mark.fault("F78")
def test_for_two_seconds_after_a_clear_nothing_starts_and_nothing_resumes(stand):
    stand.energised()
    stand.latched()
    stand.tick(2)
    assert stand.station.clear("ana", "looked") == ""
    starter = Starter(None, None, stand.lab_clock, stand.journal)  # type: ignore[arg-type]
    for _ in range(19):
        assert "a moment ago" in stand.station.resume("bob")
        with pytest.raises(CommandRefused, match="a moment ago"):
            starter._refuse_if_busy(stand.station)
        stand.tick()
    stand.tick(2)
    assert stand.station.just_cleared == ""
    assert stand.station.resume("bob") == ""


def cleared(stand, role="operator"):
    stand.latched("T1")
    stand.tick(2)
    return stand.station.clear("ana", "looked", role)


def test_the_third_trip_of_a_kind_in_a_day_is_an_admins(stand, monkeypatch):
    wall = [1e9]
    monkeypatch.setattr("daq.control.station.time.time", lambda: wall[0])
    stand.tick()
    assert cleared(stand) == cleared(stand) == ""
    assert "an admin must clear it" in cleared(stand)
    assert stand.station.clear("root", "looked", "admin") == ""
    stand.latched("V1")  # of another kind
    stand.tick(2)
    assert stand.station.clear("ana", "looked") == ""
    assert "an admin" in cleared(stand)
    wall[0] += 86400.0
    assert stand.station.clear("ana", "looked") == ""


def test_a_restart_does_not_forget_how_often_it_has_tripped(stand):
    stand.tick()
    for _ in range(3):
        cleared(stand, "admin")
    again = History()
    again.restore(stand.journal.kept[Kept.TRIPS, "A1"])
    now = again.document()["trips"][-1][1]
    assert again.needs_admin("T1", now)
    assert again.needs_admin("T1", now - 80_000.0)  # a clock that was set back
    assert not again.needs_admin("V1", now)
    assert not again.needs_admin("T1", now + 86_400.1)


def test_only_the_latest_trips_are_kept():
    history = History()
    for number in range(200):
        history.note("V1", float(number))
    assert len(history.document()["trips"]) == 50
    assert history.document()["trips"][-1] == ["V1", 199.0]


def test_no_trip_is_forgotten_when_the_journal_refuses_and_off_is_sent_all_the_same(stand):
    stand.energised()

    def refuse(*_):
        raise MemoryError

    stand.journal.keep = refuse
    with pytest.raises(MemoryError):
        stand.latched()
    assert not stand.driver.is_on
    assert stand.station.latch
