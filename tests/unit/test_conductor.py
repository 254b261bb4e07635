"""Runs at a station: what is carried out, what waits, what a pause and a stop leave behind."""

from __future__ import annotations

import pytest

from daq.control.sweeper import Sweeper
from daq.control.thermostat import Thermostat
from daq.driver import Progress
from daq.errors import InstrumentRefused
from daq.journal import Kept
from daq.model import EventKind, MeasurementState, Mode, Reading
from tests.unit.fakes import (
    CHARGE,
    EIS,
    POWER,
    REST,
    SOAK,
    FakeChamber,
    FakePotentiostat,
    HandBus,
    Stand,
    TurnedClock,
    instrument,
    points,
)

SHORT_REST = "  - rest: 1 min\n"


class Shared:
    """A chamber and a potentiostat for several stations, on a bus of their own."""

    def __init__(self, sharing="wait"):
        self.bus = HandBus(is_here=False)
        self.chamber = FakeChamber()
        self.potentiostat = FakePotentiostat()
        self.boxes = [instrument(self.chamber, "mk56"), instrument(self.potentiostat, "pico")]
        for box in self.boxes:
            assert box.ready()
        self.thermostat = Thermostat(self.boxes[0], self.bus, sharing)
        self.sweeper = Sweeper(self.boxes[1], self.bus)

    def tick(self):
        self.bus.run()
        self.thermostat.serve()
        self.sweeper.poll()


@pytest.fixture
def clock(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    return clock


@pytest.fixture
def stand(clock):
    return Stand(clock)


@pytest.fixture
def shared(clock):
    return Shared()


def station(clock, shared, name="A1", degC=25.0):
    """A stand with everything shared, online."""
    made = Stand(clock, name, chamber=shared.thermostat, sweeper=shared.sweeper)
    made.station.climate.chamber_degC = degC
    made.tick()
    return made


def texts(stand, kind=EventKind.NOTE):
    return [event.data.get("text") for event in stand.journal.events(kind)]


# Carrying out.


def test_a_run_begins_with_the_next_sample_and_not_before(stand):
    stand.tick()
    stand.start(CHARGE)
    assert stand.driver.count("on") == 0
    stand.tick()
    assert stand.driver.is_on
    assert stand.journal.events(EventKind.STEP_STARTED)


def test_a_run_goes_from_step_to_step_and_ends_off(stand):
    stand.driver.reading = Reading(4.15, 0.0, 25.0)  # near its end: it may be there soon
    run = stand.energised(CHARGE, SHORT_REST)
    stand.driver.reading = Reading(4.21, 0.0, 25.0)
    stand.tick(20)
    assert not stand.driver.is_on
    assert stand.conductor.run is run
    stand.tick(62, every_s=1.0)
    assert stand.conductor.run is None
    ended = stand.journal.events(EventKind.RUN_ENDED)
    assert [event.data["outcome"] for event in ended] == ["completed"]
    assert stand.journal.saved[run.info.id].outcome == "completed"


def test_a_run_that_has_ended_leaves_no_checkpoint_behind(stand):
    stand.energised(CHARGE)
    assert stand.journal.kept[Kept.CHECKPOINT, "run-A1"]
    stand.driver.reading = Reading(4.21, 0.0, 25.0)
    stand.tick(20)
    assert stand.conductor.run is None
    assert (Kept.CHECKPOINT, "run-A1") not in stand.journal.kept


def test_a_sample_that_is_no_number_is_not_shown_to_the_engine(stand):
    run = stand.energised(CHARGE)
    before = run.engine.time_s
    stand.driver.reading = Reading(9.9e37, 0.0, 25.0)
    stand.tick(3)
    assert run.engine.time_s == before


def test_a_setpoint_that_is_refused_trips_and_is_off(stand):
    stand.tick()
    stand.driver.faults["apply"] = InstrumentRefused("out of range")
    stand.start(CHARGE)
    stand.tick(2)
    assert stand.station.latch.check == "C2"
    assert not stand.driver.is_on
    assert not stand.output.owed


def test_the_limits_of_a_step_hold_while_it_runs_and_those_of_the_station_after(stand):
    stand.energised(CHARGE)
    assert stand.guard.voltage.span == (2.6, 4.25)
    stand.conductor.stop("enough", stand.station.last)
    assert stand.guard.voltage.span[1] == 4.35


def lost(run, monkeypatch):
    """An engine that does not end its steps any more."""
    monkeypatch.setattr(run.engine, "_time_is_up", lambda now: ())
    monkeypatch.setattr(run.engine, "_complete", lambda now, reason: ())


def test_a_step_that_a_lost_engine_does_not_end_is_cut_off(stand, monkeypatch):
    run = stand.energised("  - charge: 1C\n    until: voltage >= 4.2 V\n    at_most: 10 s\n")
    lost(run, monkeypatch)
    stand.tick(120)
    assert stand.station.latch.check == "S1"
    assert not stand.driver.is_on


def test_so_is_one_at_constant_power_whose_setpoint_is_renewed_all_the_time(stand, monkeypatch):
    run = stand.energised(POWER)
    engine = run.engine
    lost(run, monkeypatch)
    again = engine._execution._apply
    monkeypatch.setattr(engine, "_time_is_up", lambda now: (again(now, engine._meter),))
    for number in range(130):
        stand.driver.reading = Reading(3.7 - number / 1000, 0.0, 25.0)
        stand.tick()
    assert stand.station.latch
    assert stand.station.latch.check == "S1"


def test_what_is_renewed_at_every_sample_is_recorded_like_anything_else(stand):
    stand.energised(POWER.rstrip("\n") + "\n    record: {every: 200 ms}\n")
    before, applied = len(stand.journal.records()), stand.driver.told.count("apply")
    falling = iter(range(1, 1000))

    def fall():  # at every reading by more than half a percent, the one after acting included
        stand.driver.reading = Reading(4.1 - next(falling) * 0.021, 0.0, 25.0)

    stand.driver.hooks["read"] = fall
    stand.tick(20)
    assert stand.driver.told.count("apply") - applied >= 40
    assert len(stand.journal.records()) - before >= 9


# Waiting.


def test_without_a_layer_of_protection_a_run_waits_off_and_goes_on_by_itself(stand):
    stand.tick()
    stand.refusal = "the sentinel does not run"
    stand.start(CHARGE)
    stand.tick(50)
    assert stand.station.mode is Mode.WAITING
    assert not stand.driver.is_on
    assert texts(stand) == ["waits: not energised: the sentinel does not run"]
    stand.refusal = ""
    stand.tick(4)
    assert stand.driver.is_on
    assert stand.station.mode is Mode.RUNNING


def test_the_first_station_sets_the_chamber_and_another_that_wants_the_same_shares_it(
    clock, shared
):
    one, two = station(clock, shared), station(clock, shared, "A2")
    one.start(SOAK, REST)
    one.tick()
    shared.tick()
    assert shared.chamber.written == [40.0]
    two.start(SOAK, REST)
    two.tick()
    shared.tick()
    assert two.conductor.waits_for == ""
    assert shared.chamber.written == [40.0]


def test_a_station_that_wants_another_temperature_waits_and_then_gets_it(clock, shared):
    one, two = station(clock, shared), station(clock, shared, "A2")
    one.start(SOAK, REST)
    one.tick()
    two.start(SOAK.replace("40", "10"), REST)
    two.tick(10)
    assert two.conductor.waits_for == "mk56 is in use by A1"
    assert texts(two) == ["waits: mk56 is in use by A1"]
    shared.tick()
    assert shared.chamber.written == [40.0]
    one.conductor.stop("enough", one.station.last)
    two.tick(4)
    shared.tick()
    assert two.conductor.waits_for == ""
    assert shared.chamber.written == [40.0, 10.0]


def test_the_time_that_a_step_waits_for_a_chamber_is_not_the_steps(clock, shared):
    one, two = station(clock, shared), station(clock, shared, "A2")
    one.start(SOAK.replace("1 h", "1000 h").replace("5 min", "900 h"), REST)
    one.tick()
    two.start(SOAK.replace("40", "10"), REST)
    two.tick(4000, every_s=1.0)  # longer than its `at_most`
    assert two.station.latch is None
    assert two.conductor.waits_for


def test_a_step_that_got_its_chamber_at_last_is_guarded_like_any_other(clock, shared, monkeypatch):
    one, two = station(clock, shared), station(clock, shared, "A2")
    one.start(SOAK, REST)
    one.tick()
    run = two.start(SOAK.replace("40", "10"), REST)
    two.tick(4)
    one.conductor.stop("enough", one.station.last)
    two.tick(4)
    assert two.guard.voltage.span == (2.6, 4.25)
    lost(run, monkeypatch)
    two.tick(3700, every_s=1.0)
    assert two.station.latch.check == "S1"


def test_one_station_at_a_time_has_the_potentiostat(clock, shared):
    one, two = station(clock, shared), station(clock, shared, "A2")
    one.start(EIS, REST)
    two.start(EIS, REST)
    one.tick()
    two.tick()
    shared.tick()
    assert two.conductor.waits_for == "pico is in use by A1"
    assert shared.potentiostat.count("start") == 1
    shared.potentiostat.progress = Progress(MeasurementState.DONE, points(3))
    shared.tick()
    one.tick(2)
    two.tick(5)
    shared.tick()
    assert shared.potentiostat.count("start") == 2
    shared.tick()
    two.tick(2)
    for each in (one, two):
        assert len(each.journal.events(EventKind.SPECTRUM_POINT)) == 3
        assert each.journal.events(EventKind.STEP_ENDED)[0].data["failed"] is False


def test_while_a_sweep_runs_the_cycler_is_off_and_its_silence_ends_the_sweep(clock, shared):
    one = station(clock, shared)
    one.start(EIS, REST)
    one.tick()
    shared.tick()
    assert shared.potentiostat.sweeping
    assert not one.driver.is_on
    one.driver.reading = Reading(float("nan"), float("nan"), 25.0)
    one.tick(30)
    shared.tick()
    assert one.station.latch.check == "P1"
    assert not shared.potentiostat.sweeping


def test_a_trip_ends_the_sweep(clock, shared):
    one = station(clock, shared)
    one.start(EIS, REST)
    one.tick()
    shared.tick()
    assert one.station.active
    one.latched()
    shared.tick()
    assert not shared.potentiostat.sweeping
    assert shared.sweeper.busy is False
    assert not one.station.active


def test_a_sweep_that_fails_fails_its_step_and_says_why(clock, shared):
    one = station(clock, shared)
    one.start(EIS, REST)
    one.tick()
    shared.potentiostat.progress = Progress(MeasurementState.FAILED, (), "overload")
    shared.tick()
    one.tick(2)
    assert "overload" in texts(one)
    assert one.journal.events(EventKind.RUN_ENDED)[0].data["outcome"] == "failed"


def test_a_program_that_needs_what_the_station_lacks_ends(stand):
    for step in (SOAK, EIS):
        stand.tick()
        stand.start(step)
        stand.tick(2)
        assert stand.conductor.run is None
        assert stand.journal.events(EventKind.RUN_ENDED)[-1].data["outcome"] == "stopped"
    stand.tick(5000, every_s=1.0)  # and leaves nothing behind in the guard
    assert stand.station.latch is None


# Pause, resume, stop.


def test_a_pause_is_off_and_the_steps_clock_stands(stand):
    run = stand.energised()
    assert stand.conductor.pause("lunch", stand.station.last) == ""
    assert not stand.driver.is_on
    before = run.engine.step_time_s
    stand.tick(50)
    assert run.engine.step_time_s == before
    assert stand.station.mode is Mode.PAUSED
    assert stand.conductor.resume("ana") == ""
    assert not stand.driver.is_on  # only with a sample
    stand.tick()
    assert stand.driver.is_on
    assert run.engine.step_count == 1


def test_only_what_runs_is_paused_and_only_what_is_paused_is_resumed(stand):
    assert "nothing runs" in stand.conductor.pause("x", None)
    assert "nothing runs" in stand.conductor.resume("x")
    stand.energised()
    assert "not paused" in stand.conductor.resume("x")
    stand.conductor.pause("lunch", stand.station.last)
    assert "paused already: lunch" in stand.conductor.pause("x", stand.station.last)


def test_a_run_that_is_paused_before_its_first_sample_energises_only_after_resume(stand):
    stand.tick()
    stand.start(CHARGE)
    stand.conductor.pause("wait", stand.station.last)
    stand.tick(20)
    assert stand.driver.count("on") == 0
    stand.conductor.resume("ana")
    stand.tick()
    assert stand.driver.is_on


def test_a_rest_that_goes_on_after_a_pause_is_guarded_like_before(stand, monkeypatch):
    stand.tick()
    run = stand.start(REST)
    stand.tick(10)
    stand.conductor.pause("lunch", stand.station.last)
    assert stand.guard.voltage.span[0] < 2.6
    stand.tick(10)
    stand.conductor.resume("ana")
    stand.tick(2)
    assert stand.guard.voltage.span == (2.6, 4.25)
    lost(run, monkeypatch)
    stand.tick(700, every_s=1.0)
    assert stand.station.latch.check == "S1"


def test_a_step_that_was_paused_has_the_time_that_it_had_left(stand, monkeypatch):
    run = stand.energised("  - charge: 1C\n    until: voltage >= 4.2 V\n    at_most: 10 s\n")
    stand.tick(60)
    stand.conductor.pause("lunch", stand.station.last)
    stand.tick(1000)
    stand.conductor.resume("ana")
    lost(run, monkeypatch)
    stand.tick(30)
    assert stand.station.latch is None
    stand.tick(30)
    assert stand.station.latch.check == "S1"


def test_stop_is_off_and_ends_the_run(stand):
    stand.energised()
    stand.conductor.stop("by ana", stand.station.last)
    assert not stand.driver.is_on
    assert stand.conductor.run is None
    (ended,) = stand.journal.events(EventKind.RUN_ENDED)
    assert (ended.data["outcome"], ended.data["reason"]) == ("stopped", "by ana")


def test_after_a_stop_nothing_is_energised_any_more(clock, shared):
    one = station(clock, shared)
    one.energised(CHARGE)
    one.conductor.pause("x", one.station.last)
    one.conductor.resume("x")  # asks for the next sample
    one.conductor.stop("by ana", one.station.last)
    one.tick(50)
    shared.tick()
    assert one.driver.count("on") == 1
    assert not one.driver.is_on


@pytest.mark.parametrize("paused", [False, True])
def test_stop_of_a_run_that_never_began_ends_it_as_well(paused, stand):
    stand.tick()
    stand.start(CHARGE, paused="the daemon was restarted" if paused else "")
    stand.conductor.stop("by ana", stand.station.last)
    stand.tick(10)
    assert stand.driver.count("on") == 0
    assert stand.journal.events(EventKind.RUN_ENDED)[0].data["outcome"] == "stopped"


def test_stop_without_a_run_is_off_all_the_same(stand):
    stand.tick()
    before = stand.driver.count("off")
    stand.conductor.stop("by ana", None)
    assert stand.driver.count("off") == before + 1


def test_stop_gives_up_the_chamber_and_the_potentiostat(clock, shared):
    one = station(clock, shared)
    one.start(SOAK, EIS)
    one.tick()
    one.conductor.stop("by ana", one.station.last)
    assert shared.thermostat.request("A2", -10.0) == ""
    one.start(EIS)
    one.tick()
    shared.tick()
    one.conductor.stop("by ana", one.station.last)
    shared.tick()
    assert not shared.potentiostat.sweeping


def test_pause_and_resume_in_one_breath_start_one_sweep(clock, shared):
    one = station(clock, shared)
    one.start(EIS, REST)
    one.tick()  # asked, and the potentiostat's bus has not come to it yet
    one.conductor.pause("x", one.station.last)
    one.conductor.resume("x")
    shared.bus.run_urgent()  # the abort
    one.tick()
    shared.tick()
    assert shared.potentiostat.count("start") == 1
    assert shared.potentiostat.sweeping


# What a restart needs.


def test_the_checkpoint_has_what_the_guard_has_counted(stand):
    stand.energised()
    stand.tick(100, every_s=1.0)
    stand.conductor.pause("x", stand.station.last)
    document = stand.journal.kept[Kept.CHECKPOINT, "run-A1"]
    assert document["charge"] == stand.guard.snapshot()
    assert document["charge"]["net_Ah"] > 0.05


def test_a_run_that_comes_back_has_the_charge_that_it_had(stand):
    stand.tick()
    run = stand.start(CHARGE)
    run.charged = {"net_Ah": 2.0, "lowest_Ah": -0.5}
    stand.conductor.begin(run, "the daemon was restarted")
    assert stand.guard.charge.snapshot() == run.charged | {"highest_Ah": 2.0}
    stand.conductor.stop("x", None)
    stand.start(CHARGE)
    assert set(stand.guard.charge.snapshot().values()) == {0.0}
