"""A station: what is judged, how a trip reaches home, and what a trip survives."""

from __future__ import annotations

import threading
from math import nan

import pytest

from daq.bus.bus import Bus
from daq.control.alarms import Cause
from daq.errors import InstrumentRefused, LinkDown, NoReply, ReadbackMismatch
from daq.model import ChannelRef, EventKind, Mode, Reading, Sample, Trip
from tests.unit.fakes import CHARGE, NO_READING, Stand, TurnedClock

HOT = Trip("T1", "too hot", "mk53.1")
PATIENCE_S = 10.0


@pytest.fixture
def stand(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    return Stand(clock)


def told(stand, cause):
    """What the journal was told of alarms of a cause, in order."""
    events = stand.journal.events(EventKind.ALARM)
    return [event.data["state"] for event in events if event.data["cause"] == cause]


# Trips.


def test_a_trip_at_home_is_queued_for_the_journal_and_off_before_anything_else_is_done(stand):
    stand.energised()
    seen = []
    stand.driver.hooks["off"] = lambda: seen.append(
        (stand.kept_trip["check"], len(stand.journal.entries))
    )
    entries = len(stand.journal.entries)
    stand.latched()
    assert seen == [("V1", entries)]
    assert not stand.driver.is_on


def test_a_trip_on_another_thread_reaches_home_through_the_urgent_lane():
    release, done, order = threading.Event(), threading.Event(), []
    bus = Bus("home", 60.0, tick=lambda: None, beat=lambda: None, crashed=lambda error: None)
    stand = Stand(TurnedClock())
    stand.station.home = bus
    stand.driver.line.open()
    stand.instrument.online = True
    stand.driver.hooks["off"] = lambda: order.append(threading.current_thread().name)
    bus.start()
    bus.post(lambda: release.wait(PATIENCE_S))
    for _ in range(100):
        bus.post(lambda: order.append("queued"))
    stand.station.trip(HOT)
    assert stand.station.latch == HOT  # at once, on any thread
    bus.post(done.set)
    release.set()
    assert done.wait(PATIENCE_S)
    bus.finish()
    assert bus.join(PATIENCE_S)
    assert order == ["bus home"] + ["queued"] * 100


def test_the_first_trip_wins(stand):
    stand.energised()
    stand.station.trip(HOT)
    stand.latched("V1")
    assert stand.station.latch == HOT
    assert len(stand.journal.events(EventKind.TRIP)) == 1
    assert stand.kept_trip["check"] == "T1"


def test_two_threads_that_trip_at_once_make_one_trip(stand):
    stand.bus.is_here = False
    barrier = threading.Barrier(8)

    def trip(number):
        barrier.wait()
        stand.station.trip(Trip("T1", str(number)))

    threads = [threading.Thread(target=trip, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stand.bus.urgent) == 1


def test_the_event_says_whether_off_was_verified(stand):
    stand.energised()
    stand.driver.obeys_off = False
    stand.latched()
    assert stand.journal.events(EventKind.TRIP)[0].data["off_verified"] is False
    assert stand.output.owed


def test_a_trip_is_kept_even_when_the_driver_fails_with_a_bug(stand):
    stand.energised()
    stand.driver.faults["off"] = IndexError("a driver's bug")
    stand.latched()
    assert stand.kept_trip["check"] == "V1"
    assert stand.station.latch
    assert stand.output.owed


def test_a_trip_freezes_the_run_where_it_is(stand):
    run = stand.energised()
    stand.latched()
    assert run.engine.paused
    assert stand.conductor.paused
    before = run.engine.step_time_s
    stand.tick(20)
    assert run.engine.step_time_s == before
    assert not stand.driver.is_on


def test_the_very_sample_that_trips_energises_nothing(stand):
    stand.energised()
    stand.driver.reading = Reading(5.0, 0.0, 25.0)
    stand.tick()
    assert stand.station.latch.check == "V1"
    assert stand.driver.told[-1] == "off"
    stand.tick(30)
    assert stand.driver.count("on") == 1


@pytest.mark.parametrize("step", ["protect", "apply", "on", "read"])
def test_a_bug_of_the_driver_in_the_middle_of_energising_means_off_and_a_latch(step, stand):
    stand.tick()
    stand.start(CHARGE)
    stand.driver.hooks["protect"] = lambda: stand.driver.faults.update({step: KeyError("a bug")})
    stand.tick(2)
    stand.driver.faults.clear()
    assert stand.station.latch
    assert stand.station.latch.check == "X1"
    stand.tick(3)
    assert not stand.driver.is_on
    assert not stand.output.owed


def test_a_crash_is_off_at_every_station_of_the_bus_even_if_one_of_them_fails(stand, monkeypatch):
    other = Stand(stand.clock, "A2")
    for each in (stand, other):
        each.energised()
    stand.loop.home_of = [stand.station, other.station]
    stand.driver.faults["off"] = RuntimeError("another bug")
    stand.loop.crashed(ValueError("a bug"))
    assert not other.driver.is_on
    assert {stand.station.latch.check, other.station.latch.check} == {"X1"}


def test_a_crash_switches_off_before_it_is_written_about(stand, monkeypatch):
    order = []
    stand.energised()
    stand.driver.hooks["off"] = lambda: order.append("off")

    class Log:
        def exception(self, *_, **__):
            order.append("log")

    monkeypatch.setattr(stand.loop, "_log", Log())
    stand.loop.crashed(ValueError("a bug"))
    assert order == ["off", "log"]


def test_a_bug_that_comes_with_every_tick_is_written_about_once(stand, monkeypatch):
    said = []

    class Log:
        def exception(self, *_, **__):
            said.append("log")

    monkeypatch.setattr(stand.loop, "_log", Log())
    stand.driver.faults["read"] = ValueError("a bug")
    stand.tick(50, every_s=1.0)
    assert len(said) == 1


def test_an_off_that_is_owed_is_repeated_although_every_read_crashes(stand):
    stand.energised()
    stand.driver.obeys_off = False
    stand.driver.faults["read"] = ValueError("a bug")
    stand.tick(5, every_s=1.0)
    assert stand.output.owed
    assert told(stand, Cause.OFF_NOT_VERIFIED) == ["began"]
    stand.driver.obeys_off = True
    stand.tick(2, every_s=6.0)
    assert not stand.output.owed
    assert not stand.driver.is_on
    assert told(stand, Cause.OFF_NOT_VERIFIED) == ["began", "ended"]


# What is on although it must not be.


def test_a_latched_station_that_is_switched_on_by_hand_is_switched_off_and_paged(stand):
    stand.energised()
    stand.latched()
    stand.tick(20)
    stand.driver.is_on = True  # at the front panel
    stand.tick(20)
    assert not stand.driver.is_on
    assert stand.station.latch.check == "V1"
    assert told(stand, Cause.CURRENT_WHILE_OFF) == ["began"]


def test_current_that_flows_although_off_was_verified_is_paged_once(stand):
    stand.energised()
    stand.latched()
    stand.driver.current_A = 2.0  # a relay that is welded
    stand.tick(100)
    assert told(stand, Cause.CURRENT_WHILE_OFF) == ["began"]
    (alarm,) = (one for one in stand.alarms.book.open if one.cause is Cause.CURRENT_WHILE_OFF)
    assert "2 A" in alarm.message
    assert stand.driver.count("off") > 50


def test_an_idle_station_that_is_switched_on_by_hand_trips(stand):
    stand.tick(20)
    stand.driver.is_on = True
    stand.tick(2)
    assert stand.station.latch.check == "C2"
    assert not stand.driver.is_on


def test_what_was_on_before_the_daemon_came_is_switched_off_verified_and_noted(stand):
    stand.driver.is_on = True
    stand.tick()
    assert not stand.driver.is_on
    assert not stand.output.owed
    alarms = stand.journal.events(EventKind.ALARM)
    assert len(alarms) == 1
    assert "was ON" in alarms[0].data["message"]


def test_what_was_off_before_the_daemon_came_is_nothing_to_tell(stand):
    stand.tick(5)
    assert stand.driver.count("off") == 1
    assert stand.journal.events(EventKind.ALARM) == []


def test_an_off_that_is_not_verified_at_the_first_contact_is_owed(stand):
    stand.driver.is_on, stand.driver.obeys_off = True, False
    stand.tick(3)
    assert stand.output.owed
    stand.start(CHARGE)
    stand.tick(3)
    assert stand.driver.count("on") == 0


# Silence.


def test_a_cycler_that_falls_silent_while_energised_trips_after_two_seconds(stand):
    stand.energised()
    stand.driver.faults["read"] = stand.driver.faults["identify"] = NoReply("silent")
    stand.tick(19)
    assert stand.station.latch is None
    stand.tick(3)
    assert stand.station.latch.check == "P1"
    assert stand.output.owed
    stand.driver.faults.clear()
    stand.tick(2)
    assert not stand.output.owed
    assert not stand.driver.is_on


def test_readings_that_are_no_numbers_are_silence(stand):
    stand.energised()
    stand.driver.reading = NO_READING
    stand.tick(22)
    assert stand.station.latch.check == "P1"


def test_silence_of_an_idle_station_is_no_trip(stand):
    stand.tick()
    stand.driver.faults["read"] = NoReply("silent")
    stand.tick(100)
    assert stand.station.latch is None


def test_a_thermometer_that_falls_silent_trips_an_energised_station(stand):
    from daq.control.guard import Freshness

    stand.guard.thermometer = Freshness("mk53.1", 1.0)
    stand.guard.thermometer.fresh(stand.clock.now_s)
    stand.station.wiring = _with_thermometer(stand.station.wiring)
    stand.energised()
    stand.tick(40)
    assert stand.station.latch.check == "P1"
    assert stand.station.latch.source == "mk53.1"
    assert not stand.driver.is_on


def _with_thermometer(wiring):
    from dataclasses import replace

    return replace(wiring, thermometer=ChannelRef("mk53"), chamber=ChannelRef("mk53"))


def test_samples_of_a_chamber_are_judged_and_remembered(stand):
    stand.station.wiring = _with_thermometer(stand.station.wiring)
    reading = Reading(temperature_degC=70.0)
    stand.station.judge(Sample(ChannelRef("mk53"), 0.0, 0.0, 0.0, reading))
    assert stand.station.latch.check == "T1"
    assert stand.station.climate.cell_degC == stand.station.climate.chamber_degC == 70.0


# The link.


def test_a_link_that_comes_back_energises_only_through_the_whole_sequence(stand):
    stand.energised()
    stand.driver.told.clear()
    stand.driver.faults["read"] = LinkDown("reset")
    stand.tick()
    stand.driver.faults.clear()
    stand.tick(10)
    told = [what for what in stand.driver.told if what != "read"]
    back = told.index("identify")
    assert told[back : back + 3] == ["identify", "setup", "off"]
    assert told[-3:] == ["protect", "apply", "on"]
    assert stand.driver.is_on


def test_a_link_that_comes_back_does_not_energise_a_station_that_has_tripped(stand):
    stand.energised()
    stand.driver.faults["read"] = LinkDown("reset")
    stand.tick()
    stand.station.trip(HOT)
    stand.driver.faults.clear()
    stand.tick(30)
    assert stand.driver.count("on") == 1
    assert not stand.driver.is_on
    assert not stand.output.owed


def test_a_pause_during_an_outage_holds_after_it_and_its_off_is_owed_until_then(stand):
    stand.energised()
    stand.driver.faults["read"] = stand.driver.faults["identify"] = NoReply("silent")
    stand.tick()
    assert stand.conductor.pause("lunch", stand.station.last) == ""
    assert stand.output.owed
    stand.driver.faults.clear()
    stand.tick(30)
    assert not stand.driver.is_on
    assert not stand.output.owed
    assert stand.driver.count("on") == 1


def test_the_guard_learns_the_range_of_the_instrument(stand):
    stand.tick(20)
    stand.driver.current_A = 0.06  # 0.5 % of 10 A are 50 mA
    stand.tick(2)
    assert stand.station.latch.check == "I1"


# Clearing and resuming.


def test_clearing_never_energises_and_the_run_waits(stand):
    stand.energised()
    stand.latched()
    stand.tick(5)
    assert stand.station.clear("ana", "cable replaced") == ""
    stand.tick(20)
    assert stand.station.latch is None
    assert stand.kept_trip is None
    assert stand.station.mode is Mode.PAUSED
    assert stand.driver.count("on") == 1
    assert stand.station.resume("ana") == ""
    stand.tick(2)
    assert stand.driver.count("on") == 2
    assert stand.journal.events(EventKind.CLEARED)[0].data["reason"] == "cable replaced"


def test_what_has_not_tripped_cannot_be_cleared(stand):
    assert "no trip" in stand.station.clear("ana", "why not")


def test_a_trip_is_not_cleared_while_off_cannot_be_verified(stand):
    stand.energised()
    stand.driver.obeys_off = False
    stand.latched()
    assert stand.station.clear("ana", "x") == "OFF cannot be verified"
    assert stand.station.latch


def test_a_trip_is_not_cleared_while_the_cycler_is_silent(stand):
    stand.energised()
    stand.latched()
    stand.driver.reading = NO_READING
    stand.tick(30)
    assert "no valid sample" in stand.station.clear("ana", "x")
    assert stand.station.latch


def test_a_protection_that_the_instrument_does_not_clear_keeps_the_latch(stand):
    stand.energised()
    stand.latched("K2")
    stand.tick()
    stand.driver.faults["clear"] = InstrumentRefused("still too hot")
    assert "still too hot" in stand.station.clear("ana", "x")
    assert stand.station.latch


def test_a_tripped_station_is_not_resumed(stand):
    stand.energised()
    stand.latched()
    assert "clear it first" in stand.station.resume("ana")


def test_what_still_holds_is_not_cleared(stand):
    stand.energised()
    stand.driver.reading = Reading(5.0, 0.0, 25.0)
    stand.tick(3)
    assert "voltage 5 V is not within" in stand.station.clear("ana", "hopeful")
    assert stand.station.latch.check == "V1"
    stand.driver.reading = Reading(4.2, 0.0, 25.0)
    stand.tick()
    assert stand.station.clear("ana", "cell discharged by hand") == ""


# Idle.


def test_an_idle_station_is_recorded_now_and_then(stand):
    stand.tick(250)
    records = stand.journal.records()
    assert len(records) == 3
    assert {record.run for record in records} == {""}


def test_the_mode_says_what_it_does(stand):
    assert stand.station.mode is Mode.OFFLINE
    stand.tick()
    assert stand.station.mode is Mode.IDLE
    stand.energised()
    assert stand.station.mode is Mode.RUNNING
    stand.conductor.waits_for = "mk53"
    assert stand.station.mode is Mode.WAITING
    stand.conductor.paused = "lunch"
    assert stand.station.mode is Mode.PAUSED
    stand.latched()
    assert stand.station.mode is Mode.TRIPPED


def test_climate_that_nobody_measures_is_not_a_number(stand):
    assert stand.station.climate.chamber_degC != stand.station.climate.chamber_degC
    assert nan != stand.station.climate.cell_degC


def test_settings_are_read_back_while_it_is_on_and_a_change_by_others_is_a_trip(stand):
    stand.energised()
    looks = []

    def verify(channel):
        looks.append(stand.clock.now_s)
        if len(looks) == 3:
            raise ReadbackMismatch("CURR:LIM was set to 2.5 and reads 1")

    stand.driver.verify = verify
    stand.tick(80)
    assert len(looks) == 3
    assert all(b - a >= 1.9 for a, b in zip(looks, looks[1:], strict=False))
    assert stand.station.latch.check == "C2"
    assert "somebody else" in stand.station.latch.message
    assert not stand.driver.is_on


def test_settings_of_an_output_that_is_off_are_left_alone(stand):
    stand.driver.verify = lambda channel: pytest.fail("it was asked")
    stand.tick(50)


def test_a_link_that_fails_while_settings_are_read_back_is_a_fault_of_the_link(stand):
    stand.energised()

    def verify(channel):
        raise NoReply("silence")

    stand.driver.verify = verify
    stand.tick(25)
    assert stand.station.latch is None
    assert [type(error) for error in stand.faults.began] == [NoReply]


def test_an_off_that_an_exception_kept_from_being_sent_is_sent_at_the_next_tick(stand, monkeypatch):
    stand.energised()
    real, failures = stand.output.off, [MemoryError("no more memory")]

    def off():
        if failures:
            raise failures.pop()
        return real()

    monkeypatch.setattr(stand.output, "off", off)
    with pytest.raises(MemoryError):
        stand.latched()
    assert stand.driver.is_on
    stand.tick()
    assert not stand.driver.is_on
    assert len(stand.journal.events(EventKind.TRIP)) == 1
    assert stand.kept_trip is not None


def test_an_instrument_that_takes_long_to_be_switched_on_was_not_silent(stand):
    def slowly():
        stand.clock.now_s += 2.5  # 46 messages, 50 ms apart

    stand.driver.hooks["on"] = slowly
    stand.energised()
    stand.tick(5)
    assert stand.station.latch is None
    assert stand.driver.is_on


def test_silence_after_it_was_switched_on_trips_all_the_same(stand):
    stand.energised()
    stand.clock.now_s += 2.5
    stand.station.watch(stand.clock.now_s)
    assert stand.station.latch is not None
    assert stand.station.latch.check == "P1"
