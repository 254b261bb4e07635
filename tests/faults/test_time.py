"""Clocks that jump, stop or go back: wires and cells use the monotonic one, order is by `seq`."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from daq.bus.heartbeat import FIRST_BUS_SLOT, LOOP_SLOT, Heartbeat
from daq.journal import Journal, JournalReader
from daq.model import Event, EventKind
from daq.sentinel import Watch
from tests.unit.fakes import Stand, TurnedClock

HOUR_S = 3600.0
REAL_TIME = time.time
DAQ = Path(__file__).parents[2] / "daq"


class Wall:
    """A wall clock that goes with the turned monotonic one, until a test sets it."""

    def __init__(self, clock: TurnedClock, monkeypatch: pytest.MonkeyPatch) -> None:
        self._clock = clock
        self._offset_s = REAL_TIME() - clock()
        monkeypatch.setattr(time, "time", self)

    def __call__(self) -> float:
        return self._clock() + self._offset_s

    def jump(self, by_s: float) -> None:
        self._offset_s += by_s

    def set(self, utc_s: float) -> None:
        self._offset_s = utc_s - self._clock()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> TurnedClock:
    made = TurnedClock()
    made.put_into(monkeypatch)
    return made


@pytest.fixture
def wall(clock: TurnedClock, monkeypatch: pytest.MonkeyPatch) -> Wall:
    return Wall(clock, monkeypatch)


def charged(clock: TurnedClock, meanwhile: Callable[[], object]) -> list[object]:
    """What 20 s of a charge come to, with something happening to the wall clock in the middle."""
    stand = Stand(clock)
    run = stand.energised()
    stand.tick(100)
    meanwhile()
    stand.tick(100)
    engine = run.engine
    assert stand.station.latch is None
    assert stand.driver.is_on
    records = [(one.test_time_s, one.step_time_s) for one in stand.journal.records() if one.run]
    shown = [engine.step_time_s, engine.test_time_s, engine.counters, records]
    return [round(one, 6) if isinstance(one, float) else one for one in shown]


def untouched(clock: TurnedClock) -> list[object]:
    began_s = clock.now_s
    shown = charged(clock, lambda: None)
    clock.now_s = began_s
    return shown


@pytest.mark.fault("F35")
@pytest.mark.parametrize("by_s", [HOUR_S, -HOUR_S], ids=["an hour on", "an hour back"])
def test_a_jump_of_the_wall_clock_moves_no_step_no_counter_and_no_limit(by_s, clock, wall):
    shown = untouched(clock)
    assert charged(clock, lambda: wall.jump(by_s)) == shown


@pytest.mark.fault("F35")
def test_the_stamps_of_the_records_tell_the_jump_and_their_test_times_do_not(clock, wall):
    stand = Stand(clock)
    stand.energised()
    stand.tick(150)
    wall.jump(HOUR_S)
    stand.tick(150)
    rows = [one for one in stand.journal.records() if one.run]
    steps_utc = [b.utc_s - a.utc_s for a, b in zip(rows, rows[1:], strict=False)]
    steps_test = [b.test_time_s - a.test_time_s for a, b in zip(rows, rows[1:], strict=False)]
    assert max(steps_utc) > HOUR_S
    assert max(steps_test) < 20.0


@pytest.mark.fault("F36")
@pytest.mark.parametrize("month", [3, 10], ids=["begins", "ends"])
def test_daylight_saving_moves_nothing(month, clock, wall, monkeypatch):
    # 2026: 29 March and 25 October, at 01:00 UTC, in the middle of 20 s of charging
    day = {3: 1774746000.0, 10: 1792890000.0}[month]
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert time.localtime(day - 1).tm_isdst != time.localtime(day + 1).tm_isdst
        wall.set(day - 10.0)
        stand = Stand(clock)
        stand.energised()
        stand.tick(200)
    finally:
        monkeypatch.undo()
        time.tzset()
    rows = [one for one in stand.journal.records() if one.run]
    assert rows[0].utc_s < day < rows[-1].utc_s
    for before, after in zip(rows, rows[1:], strict=False):
        assert after.utc_s - before.utc_s == pytest.approx(
            after.test_time_s - before.test_time_s, abs=1e-3
        )


@pytest.mark.fault("F36")
def test_nothing_in_the_daemon_knows_local_time():
    offending = [
        f"{path.relative_to(DAQ)}:{node.lineno}"
        for path in DAQ.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _is_local(node)
    ]
    assert offending == []


def _is_local(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    name, given = call.func.attr, len(call.args) + len(call.keywords)
    return (
        name in ("localtime", "mktime", "ctime", "asctime", "utcnow", "utcfromtimestamp")
        or (name == "now" and ast.unparse(call.func.value) == "datetime" and given == 0)
        or (name == "fromtimestamp" and given < 2)
        or (name == "strftime" and ast.unparse(call.func.value) == "time" and given < 2)
    )


@pytest.mark.fault("F37")
@pytest.mark.parametrize(
    ("utc_s", "step_s"),
    [(2.0**31, 0.0), (2.0**32, 0.0), (1483228800.0, -1.0)],
    ids=["2038", "2106", "a leap second repeated"],
)
def test_no_moment_of_the_calendar_is_special(utc_s, step_s, clock, wall, tmp_path):
    wall.set(utc_s - 10.0)

    def cross():
        wall.jump(step_s)

    shown = untouched(clock)
    wall.set(utc_s - 10.0)
    assert charged(clock, cross) == shown
    wall.set(utc_s)
    journal = Journal(tmp_path / "journal.sqlite")
    for shift_s in (-0.5, 0.0, 0.5):
        journal.append(Event(EventKind.NOTE, utc_s + shift_s, data={"text": "now"}))
    journal.close()
    with JournalReader(journal.path) as reader:
        assert [event.utc_s - utc_s for event in reader.events()] == [-0.5, 0.0, 0.5]


@pytest.mark.fault("F38")
def test_after_a_suspension_what_was_energised_is_off_before_anything_is_integrated(
    clock, monkeypatch
):
    asleep_s = [77.0]
    monkeypatch.setattr("daq.control.station.suspended", lambda: asleep_s[0])
    stand = Stand(clock)
    run = stand.energised()
    stand.tick(50)
    before = run.engine.counters
    clock.now_s += 2 * HOUR_S  # CLOCK_BOOTTIME goes on while the machine sleeps,
    asleep_s[0] += 2 * HOUR_S  # CLOCK_MONOTONIC does not
    stand.tick()  # the link has survived: the first thing after waking is a good reading
    assert not stand.driver.is_on
    assert stand.station.latch is not None
    assert (stand.station.latch.check, stand.station.latch.message) == (
        "P1",
        "the computer slept for 7200 s",
    )
    stand.tick(20)
    assert run.engine.counters.charge_Ah == pytest.approx(before.charge_Ah, abs=1e-3)


@pytest.mark.fault("F38")
def test_after_a_suspension_the_sentinel_takes_the_silence_for_what_it_is(tmp_path, monkeypatch):
    heartbeat = Heartbeat(tmp_path / "heartbeat")
    (tmp_path / "recipes.json").write_text('{"buses": {"2": "aps1"}, "instruments": {}}')
    watch = Watch(heartbeat.path, tmp_path / "recipes.json", os.getpid())
    watch.reload()
    heartbeat.beat(LOOP_SLOT)
    heartbeat.beat(FIRST_BUS_SLOT)
    assert watch.why_act() == ""
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    monkeypatch.setattr("daq.sentinel.now", lambda: now + 2 * HOUR_S)
    assert "control is silent" in watch.why_act()


@pytest.mark.fault("F38")
def test_the_clock_of_the_wires_is_the_one_that_sleeps_do_not_stop():
    from daq import sentinel
    from daq.clock import monotonic, suspended

    boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert monotonic() == pytest.approx(boot_s, abs=5.0)
    assert sentinel.now() == pytest.approx(boot_s, abs=5.0)
    assert suspended() == pytest.approx(boot_s - time.monotonic(), abs=5.0)


@pytest.mark.fault("F39")
def test_after_a_restart_with_the_clock_gone_back_order_is_by_number(tmp_path):
    path, now_s = tmp_path / "journal.sqlite", REAL_TIME()
    for session, utc_s in enumerate((now_s, now_s - HOUR_S)):
        journal = Journal(path)
        for number in range(3):
            data = {"text": f"{session}.{number}"}
            journal.append(Event(EventKind.NOTE, utc_s + number, data=data))
        journal.close()
    with JournalReader(path) as reader:
        events = reader.events()
    assert [event.data["text"] for event in events] == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert [event.seq for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[3].utc_s < events[0].utc_s
