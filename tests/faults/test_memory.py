"""No more memory, at the n-th step of the path from a sample to OFF: never latched and still ON.

Whatever a `MemoryError` interrupts, what comes of it is one of two: the tick goes on as if nothing
had been, or the station is tripped and its output OFF. An error that even the bus thread's last
line cannot hold ends the thread, which is the sentinel's business (tests/faults/test_process.py).
"""

from __future__ import annotations

import os
import random
import sys
from types import FrameType

import pytest

from tests.unit.fakes import Stand, TurnedClock

try:
    import _testcapi
except ImportError:  # an interpreter without its own test modules
    _testcapi = None

ENDED = 7
"""Exit code of a child whose thread could not go on: left to the sentinel."""


class Nth:
    """Raises at the n-th line of the control code that is executed."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, frame: FrameType, event: str, argument: object):
        if "/daq/control/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise MemoryError("no more memory")
        return self


def one_tick(stand: Stand) -> bool:
    """A tick as the bus runs it; whether the thread would have gone on."""
    try:
        try:
            stand.loop.tick()
        except BaseException as error:
            stand.loop.crashed(error)
    except BaseException:
        return False
    return True


def is_safe(stand: Stand) -> bool:
    """Never latched and ON; regulating, or OFF."""
    return not stand.driver.is_on if stand.station.latch else stand.driver.is_on


@pytest.fixture
def clock(monkeypatch):
    made = TurnedClock()
    made.put_into(monkeypatch)
    return made


def regulating(clock: TurnedClock) -> Stand:
    stand = Stand(clock)
    stand.loop._tell = lambda error: None  # type: ignore[method-assign]  # comes after OFF, slowly
    stand.energised()
    stand.tick(3)
    return stand


def struck(clock: TurnedClock, at: int, *, over: bool) -> tuple[Stand, bool, bool]:
    """A station whose tick runs out of memory at its n-th line; whether it came to that."""
    stand = regulating(clock)
    if over:
        stand.driver.reading = stand.driver.reading.__class__(4.6, 0.0, 25.0)
    nth = Nth(at)
    clock.now_s += 0.1
    before = sys.gettrace()
    sys.settrace(nth)
    try:
        lives = one_tick(stand)
    finally:
        sys.settrace(before)
    return stand, lives, nth.left <= 0


@pytest.mark.fault("F46")
@pytest.mark.parametrize("over", [False, True], ids=["regulating", "over the limit"])
def test_at_every_line_of_a_tick(over, clock, figure):
    at, ended = 1, 0
    while True:
        stand, lives, reached = struck(clock, at, over=over)
        if not reached:
            break
        if lives:
            stand.tick(3)  # memory is back: whatever was begun is brought to its end
            assert is_safe(stand), f"line {at}: {stand.station.latch}, {stand.driver.told[-6:]}"
            assert stand.station.latch or not over
        ended += not lives
        at += 1
    figure(f"lines at which memory ran out, {'over the limit' if over else 'regulating'}", at, "")
    assert at > 50
    assert ended == 0  # once is never enough to end the thread


if _testcapi is not None:

    @pytest.mark.fault("F46")
    def test_at_the_nth_allocation(clock, trials, figure):
        ended = 0
        for _ in range(trials(60)):
            at = random.randint(1, 1500)
            child = os.fork()
            if child == 0:
                os._exit(_without_memory(clock, at))
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            assert code in (0, ENDED), f"allocation {at}: {code}"
            ended += code == ENDED
        figure("allocations that failed", trials(60), "")
        figure("of them ended the thread: the sentinel's", ended, "")


def _without_memory(clock: TurnedClock, at: int) -> int:
    """In a process of its own: 0 safe, `ENDED` left to the sentinel, 1 neither."""
    assert _testcapi is not None
    stand = regulating(clock)
    stand.driver.reading = stand.driver.reading.__class__(4.6, 0.0, 25.0)
    clock.now_s += 0.1
    _testcapi.set_nomemory(at, at + 1)
    try:
        lives = one_tick(stand)
    finally:
        _testcapi.remove_mem_hooks()
    if not lives:
        return ENDED
    stand.tick(3)
    return 0 if is_safe(stand) and stand.station.latch else 1
