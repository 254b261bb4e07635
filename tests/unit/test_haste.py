"""How often a step has its cycler read, and what becomes of the bus that it is on."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from itertools import pairwise
from math import inf
from statistics import median

import pytest

from daq.bus.bus import Bus
from daq.control.haste import Haste, finest_s, played_s, recorded_s
from daq.control.pace import highest_C, too_fine, too_slow
from daq.model import EventKind
from daq.protocol.compile import compile_protocol
from daq.protocol.program import RecordRule
from daq.protocol.source import parse_protocol
from tests.unit.fakes import (
    CELL,
    CHARGE,
    HARD,
    HEAD,
    FakeCycler,
    HandBus,
    Stand,
    TurnedClock,
    instrument,
    program,
)

PULSE = "  - pulse: {discharge: 1C, for: 30 s}\n"
DRIVE = "  - profile: {file: drive.csv}\n"
CSV = "time_s,current_A\n0,1\n1,-10\n1.5,2\n4,0\n"


def drive(csv: str = CSV):
    source = parse_protocol(HEAD + DRIVE, "test.yaml", {"drive.csv": csv})
    return compile_protocol(source, CELL, [("station A1", HARD)])


@pytest.fixture
def clock(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    return clock


@pytest.fixture
def bus():
    bus = HandBus()
    bus.period_s = 1.0
    return bus


@pytest.fixture
def cycler(clock):
    return instrument(FakeCycler())


@pytest.fixture
def haste(bus, cycler):
    return Haste("A1", bus, cycler, 1.0)


# What a step wants.


def test_a_rule_wants_its_first_rate_first_and_its_own_after():
    rule = RecordRule(every_s=10.0, first_every_s=0.1, first_for_s=10.0)
    assert [recorded_s(rule, at) for at in (0.0, 9.99, 10.0)] == [0.1, 0.1, 10.0]
    assert recorded_s(RecordRule(every_s=0.5), 3.0) == 0.5


def test_a_pulse_wants_ten_readings_a_second_for_ten_seconds(haste, bus):
    (pulse,) = program(PULSE).steps
    haste.follow(pulse, 0.0, 100.0)
    assert bus.hurries == {"A1": (0.1, 100.0)}
    haste.follow(pulse, 4.0, 104.0)
    assert bus.hurries == {"A1": (0.1, 100.0)}  # the step's own clock
    haste.follow(pulse, 10.0, 110.0)
    assert bus.hurries == {}


def test_what_is_recorded_no_faster_than_the_period_asks_for_nothing(haste, bus):
    haste.follow(program(CHARGE).steps[0], 0.0, 100.0)
    assert bus.hurries == {}
    assert not haste.hurries


def test_in_accelerated_time_nobody_hurries(bus, cycler):
    haste = Haste("A1", bus, cycler, 100.0)
    assert haste.follow(program(PULSE).steps[0], 0.0, 100.0) == ""
    assert bus.hurries == {}


def test_what_the_instrument_cannot_is_said_once_in_a_run(haste, bus, cycler, clock):
    cycler.driver.hooks["read"] = lambda: setattr(clock, "now_s", clock.now_s + 0.2)
    assert cycler.ready()
    cycler.read()
    (pulse,) = program(PULSE).steps
    haste.begin()
    said = haste.follow(pulse, 0.0, 100.0)
    assert said.startswith("recorded every 220 ms instead of 100 ms: aps1")
    assert bus.hurries["A1"][0] == pytest.approx(0.22)
    assert haste.follow(pulse, 1.0, 101.0) == ""
    haste.begin()
    assert haste.follow(pulse, 2.0, 102.0)


def test_an_instrument_that_is_slower_than_its_bus_is_not_asked_for_more(haste, bus, cycler, clock):
    cycler.driver.hooks["read"] = lambda: setattr(clock, "now_s", clock.now_s + 2.0)
    assert cycler.ready()
    cycler.read()
    said = haste.follow(program(PULSE).steps[0], 0.0, 100.0)
    assert "every 1e+03 ms instead of 100 ms" in said
    assert bus.hurries == {}


def test_the_pauses_of_a_reading_count_and_the_wait_before_it_does_not(clock):
    driver = FakeCycler()
    driver.read_messages = 2  # type: ignore[misc]
    driver.line.settings = replace(driver.line.settings, gap_s=0.05)  # type: ignore[misc]
    found = instrument(driver)
    assert found.fastest_s == pytest.approx(1.1 * 0.1)
    assert found.ready()
    driver.hooks["read"] = lambda: setattr(clock, "now_s", clock.now_s + 0.05 + 0.004)
    for _ in range(3):  # after a rest only the pause between its two messages is kept
        clock.now_s += 1.0
        found.read()
    assert found.fastest_s == pytest.approx(1.1 * 0.104)
    driver.hooks["read"] = lambda: setattr(clock, "now_s", clock.now_s + 0.1 + 0.004)
    for _ in range(30):  # right after each other: both
        found.read()
    assert found.fastest_s == pytest.approx(1.1 * 0.104)


# Profiles.


def test_the_finest_step_of_a_profile_counts():
    (step,) = drive().steps
    assert finest_s(step) == 0.5
    assert finest_s(program(PULSE).steps[0]) == inf


@pytest.mark.parametrize(
    ("fastest_s", "period_s"),
    [(0.0, 0.125), (0.1, 0.125), (0.13, 0.5 / 3), (0.2, 0.25), (0.3, 0.5), (0.5, 0.5)],
)
def test_a_profile_is_looked_at_a_few_times_in_its_shortest_step(fastest_s, period_s):
    assert played_s(drive().steps[0], fastest_s) == pytest.approx(period_s)


@pytest.mark.parametrize(("fastest_s", "refused"), [(0.5, False), (0.501, True), (0.02, False)])
def test_a_profile_that_is_finer_than_a_reading_is_refused_with_the_figure(fastest_s, refused):
    why = too_fine(drive(), fastest_s)
    assert bool(why) is refused
    if why:
        assert "500 ms" in why
        assert "every 501 ms" in why
        assert "step 1, line 6" in why


def test_a_program_without_profiles_is_never_too_fine():
    assert too_fine(program(CHARGE, PULSE), 100.0) == ""


def test_profiles_and_pulses_count_for_the_rate_that_their_current_asks_for():
    assert highest_C(drive()) == pytest.approx(4.0)  # 10 A of 2.5 Ah, out of the cell
    assert too_slow(drive(), 1.0)
    assert not too_slow(drive(), 0.25)
    assert highest_C(program("  - pulse: {charge: 3C, for: 5 s}\n")) == pytest.approx(3.0)


# A station.


def test_a_station_hurries_while_its_step_wants_it_and_lets_go_with_every_way_out(clock):
    stand = Stand(clock)
    stand.energised(
        "  - pulse: {discharge: 1C, for: 30 s}\n    record: {first: {every: 20 ms, for: 5 s}}\n"
    )
    assert stand.bus.hurries["A1"][0] == pytest.approx(0.02)
    assert stand.station.hurries
    stand.conductor.pause("test", stand.station.last)
    assert stand.bus.hurries == {}
    stand.conductor.resume("test")
    stand.tick(2)
    assert stand.bus.hurries
    stand.latched()
    assert stand.bus.hurries == {}


def test_between_two_passes_only_who_hurries_is_read(clock):
    stand = Stand(clock)
    stand.tick()
    before = stand.driver.count("read")
    stand.loop.between()
    assert stand.driver.count("read") == before
    stand.start(
        "  - pulse: {discharge: 1C, for: 30 s}\n    record: {first: {every: 20 ms, for: 5 s}}\n"
    )
    stand.tick()
    before = stand.driver.count("read")
    clock.now_s += 0.02
    stand.loop.between()
    assert stand.driver.count("read") == before + 1


def test_a_pulse_is_as_long_as_it_says_however_long_the_output_takes_to_go_on(clock):
    stand = Stand(clock)
    stand.driver.hooks["on"] = lambda: setattr(clock, "now_s", clock.now_s + 1.5)
    stand.energised("  - pulse: {discharge: 1C, for: 5 s}\n")
    on_s = stand.output.on_since_s
    while stand.driver.is_on:
        stand.tick()
    assert clock.now_s - on_s == pytest.approx(5.0, abs=0.25)
    (ended,) = stand.journal.events(EventKind.STEP_ENDED)
    discharged_As = 3600.0 * ended.data["discharge_Ah"]
    assert discharged_As == pytest.approx(2.5 * 5.0, rel=0.03)
    assert stand.station.latch is None  # the guard's own clock of the step has moved with it


# The bus.


@pytest.fixture
def running():
    buses = []

    def start(period_s: float):
        seen: dict[str, list[float]] = {"whole": [], "between": []}
        made = Bus(
            "test",
            period_s,
            tick=lambda: seen["whole"].append(time.monotonic()),
            between=lambda: seen["between"].append(time.monotonic()),
            beat=lambda: None,
            crashed=lambda error: pytest.fail(str(error)),
        )
        buses.append(made)
        made.start()
        return made, seen

    yield start
    for made in buses:
        made.finish()
        assert made.join(20.0)


def done(bus: Bus, job) -> None:
    event = threading.Event()
    bus.post(lambda: (job(), event.set()))
    assert event.wait(20.0)


def test_a_hurry_puts_ticks_between_and_leaves_the_others_on_their_grid(running):
    bus, seen = running(0.25)
    time.sleep(0.05)
    done(bus, lambda: bus.hurry("A1", 0.05, time.monotonic()))
    time.sleep(2.2)
    done(bus, lambda: bus.ease("A1"))
    between = list(seen["between"])
    both = sorted(between + seen["whole"])
    spacings = [after - before for before, after in pairwise(both[1:])]
    assert median(spacings) == pytest.approx(0.05, abs=0.015)
    whole = [after - before for before, after in pairwise(seen["whole"])]
    assert median(whole) == pytest.approx(0.25, abs=0.06)
    time.sleep(0.6)
    assert len(seen["between"]) <= len(between) + 1
    first = seen["whole"][0]
    phase_s = (seen["whole"][-1] - first) % 0.25
    assert min(phase_s, 0.25 - phase_s) < 0.1  # back on the grid that it came from


def test_the_shortest_of_all_hurries_holds_and_one_that_is_no_faster_does_nothing(running):
    bus, seen = running(0.1)
    done(bus, lambda: bus.hurry("slow", 5.0, 0.0))
    time.sleep(0.3)
    assert seen["between"] == []
    done(bus, lambda: (bus.hurry("A1", 0.05, 0.0), bus.hurry("A2", 0.01, 0.0)))
    time.sleep(0.5)
    done(bus, lambda: bus.ease("A2"))
    fast = len(seen["between"])
    assert fast > 15
    bus_missed = bus.statistics.missed
    assert bus_missed >= 0
