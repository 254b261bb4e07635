"""What holds a thread up is named, once, with the line of code where it is."""

from __future__ import annotations

import threading
import time

import pytest

from daq.bus.bus import Bus
from daq.control.stalls import FRAMES, LATE_S, StallWatch, Watched

PATIENCE_S = 20.0


class Thread:
    """A watched thread whose lateness a test sets."""

    def __init__(self) -> None:
        self.held_s = 0.0
        self.told = []
        one = Watched("event loop", lambda: self.held_s, threading.get_ident)
        self.watch = StallWatch([one], lambda *stall: self.told.append(stall))


@pytest.fixture
def now(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("daq.control.stalls.monotonic", lambda: clock[0])
    return clock


@pytest.mark.parametrize(("held_s", "count"), [(0.0, 0), (0.0999, 0), (0.1, 1), (3.0, 1)])
def test_late_is_what_is_late_by_a_tenth_of_a_second(held_s, count, now):
    thread = Thread()
    thread.held_s = held_s
    thread.watch.look()
    assert len(thread.told) == count


def test_a_stall_is_told_once_and_the_same_line_of_code_not_again_for_a_while(now):
    thread = Thread()
    for _ in range(3):
        thread.held_s = 0.5
        thread.watch.look()
        thread.watch.look()
        thread.held_s = 0.0
        thread.watch.look()
        now[0] += 100.0
    assert len(thread.told) == 1
    now[0] += 600.0
    thread.held_s = 0.5
    thread.watch.look()
    assert len(thread.told) == 2


def test_it_names_the_line_and_its_callers(now):
    thread = Thread()
    thread.held_s = 0.5
    thread.watch.look()
    ((name, held_s, frames),) = thread.told
    assert (name, held_s) == ("event loop", 0.5)
    assert any("tests/unit/test_stalls.py" in frame for frame in frames)
    assert len(frames) <= FRAMES


def test_a_thread_that_has_ended_has_no_frames_and_is_told_all_the_same(now):
    told = []
    one = Watched("bus gone", lambda: 9.0, lambda: None)
    StallWatch([one], lambda *stall: told.append(stall)).look()
    assert told == [("bus gone", 9.0, [])]


@pytest.mark.fault("F43")
def test_a_tick_that_blocks_is_named_while_it_blocks_and_one_that_rests_is_not():
    release, entered = threading.Event(), threading.Event()

    def a_driver_that_blocks():
        entered.set()
        release.wait(PATIENCE_S)

    told = []
    bus = Bus("home", 30.0, tick=lambda: None, beat=lambda: None, crashed=lambda error: None)
    one = Watched("bus home", bus.held_s, lambda: bus.thread)
    watch = StallWatch([one], lambda *stall: told.append(stall))
    bus.start()
    watch.start()
    time.sleep(3 * LATE_S)
    assert told == []  # it waits for the next tick
    bus.post(a_driver_that_blocks)
    assert entered.wait(PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while not told:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    release.set()
    bus.finish()
    watch.finish()
    assert bus.join(PATIENCE_S)
    ((name, held_s, frames),) = told
    assert name == "bus home"
    assert LATE_S <= held_s
    assert any("a_driver_that_blocks" in frame for frame in frames)
    assert bus.held_s() == 0.0


def test_an_exchange_is_a_sign_of_life():
    bus = Bus("home", 30.0, tick=lambda: None, beat=lambda: None, crashed=lambda error: None)
    held = []

    def three_exchanges():
        for _ in range(3):
            time.sleep(0.06)
            bus.exchanged()
        held.append(bus.held_s())

    bus.start()
    bus.call(three_exchanges).result(PATIENCE_S)
    bus.finish()
    assert bus.join(PATIENCE_S)
    assert held[0] < 0.06


def test_an_urgent_job_in_a_tick_does_not_make_the_tick_look_at_rest():
    held = []
    bus = Bus("home", 30.0, tick=lambda: None, beat=lambda: None, crashed=lambda error: None)

    def tick():
        bus.urge(lambda: None)
        bus.run_urgent()
        time.sleep(0.03)
        held.append(bus.held_s())

    bus.start()
    bus.call(tick).result(PATIENCE_S)
    bus.finish()
    assert bus.join(PATIENCE_S)
    assert held[0] >= 0.02
