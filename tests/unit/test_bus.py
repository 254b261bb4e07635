"""The bus thread: its grid, its urgent lane, and what a bug does to it."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from daq.bus.bus import LONGEST_S, Bus
from daq.bus.heartbeat import FIRST_BUS_SLOT, LOOP_SLOT, Heartbeat
from daq.bus.latest import Latest
from daq.errors import CommandRefused

PATIENCE_S = 20.0


class Work:
    """A tick that can be held, counted, or made to fail."""

    def __init__(self) -> None:
        self.ticks = 0
        self.beats = 0
        self.errors: list[Exception] = []
        self.hold: threading.Event | None = None
        self.entered = threading.Event()
        self.fail = False

    def tick(self) -> None:
        self.ticks += 1
        self.entered.set()
        if self.fail:
            self.fail = False
            raise RuntimeError("a bug")
        if self.hold:
            self.hold.wait(PATIENCE_S)

    def beat(self) -> None:
        self.beats += 1


@contextmanager
def running(period_s: float = 0.02) -> Iterator[tuple[Bus, Work]]:
    work = Work()
    bus = Bus("test", period_s, tick=work.tick, beat=work.beat, crashed=work.errors.append)
    bus.start()
    try:
        yield bus, work
    finally:
        if work.hold:
            work.hold.set()
        bus.finish()
        assert bus.join(PATIENCE_S)


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_ticks_lie_on_a_grid_and_late_ones_are_counted_but_never_caught_up():
    with running(0.02) as (bus, work):
        until(lambda: work.ticks >= 3)
        work.hold = threading.Event()
        work.entered.clear()
        until(work.entered.is_set)
        held = work.ticks
        time.sleep(0.3)  # fifteen grid points pass
        hold, work.hold = work.hold, None
        hold.set()
        until(lambda: work.ticks >= held + 2)
        assert bus.statistics.missed >= 10
        assert work.ticks < held + 10  # had they been queued up, all would have run at once


def test_an_urgent_job_does_not_wait_for_the_next_tick():
    with running(30.0) as (bus, work):
        until(lambda: work.ticks == 1)
        done = threading.Event()
        bus.urge(done.set)
        assert done.wait(5.0)
        assert work.ticks == 1


def test_urgent_jobs_overtake_ordinary_ones_that_were_there_before():
    order: list[str] = []
    with running(0.02) as (bus, work):
        work.hold = threading.Event()
        work.entered.clear()
        until(work.entered.is_set)
        bus.post(lambda: order.append("ordinary"))
        bus.urge(lambda: order.append("urgent"))
        hold, work.hold = work.hold, None
        hold.set()
        until(lambda: len(order) == 2)
    assert order == ["urgent", "ordinary"]


def test_a_tick_may_serve_the_urgent_lane_between_two_exchanges():
    seen: list[str] = []
    bus: Bus

    def tick() -> None:
        if not seen:
            bus.urge(lambda: seen.append("urgent"))
            bus.run_urgent()
            seen.append("rest of the tick")

    bus = Bus("t", 30.0, tick=tick, beat=lambda: None, crashed=lambda _: None)
    bus.start()
    until(lambda: len(seen) == 2)
    bus.finish()
    assert bus.join(PATIENCE_S)
    assert seen == ["urgent", "rest of the tick"]


def test_an_exception_in_a_tick_or_a_job_is_reported_and_the_thread_lives():
    with running() as (bus, work):
        work.fail = True
        until(lambda: len(work.errors) == 1)
        bus.post(lambda: 1 / 0)
        until(lambda: len(work.errors) == 2)
        ticks = work.ticks
        until(lambda: work.ticks > ticks)
        assert bus.alive
    assert isinstance(work.errors[1], ZeroDivisionError)


def test_the_result_or_the_exception_of_a_call_reaches_the_caller():
    with running() as (bus, work):
        assert bus.call(lambda: bus.here()).result(PATIENCE_S) is True
        assert not bus.here()
        with pytest.raises(CommandRefused):
            bus.call(refuse, urgent=True).result(PATIENCE_S)
    assert work.errors == []


def refuse() -> None:
    raise CommandRefused("busy")


def test_a_bug_in_a_call_reaches_the_caller_and_means_off_as_everywhere():
    with running() as (bus, work):
        with pytest.raises(ZeroDivisionError):
            bus.call(lambda: 1 / 0, urgent=True).result(PATIENCE_S)
        until(lambda: work.errors)
    assert isinstance(work.errors[0], ZeroDivisionError)


def test_a_call_whose_caller_gave_up_never_runs():
    ran: list[int] = []
    with running() as (bus, work):
        work.hold = threading.Event()
        work.entered.clear()
        until(work.entered.is_set)
        future = bus.call(lambda: ran.append(1))
        assert future.cancel()
        hold, work.hold = work.hold, None
        hold.set()
        bus.call(lambda: None).result(PATIENCE_S)
    assert ran == []


def test_a_bus_with_a_slow_grid_beats_while_it_waits():
    with running(60.0) as (_, work):
        until(lambda: work.ticks == 1)
        beats = work.beats
        until(lambda: work.beats > beats)
        assert work.ticks == 1


def test_what_is_urgent_is_still_done_when_a_bus_ends():
    done: list[int] = []
    with running(60.0) as (bus, work):
        work.hold = threading.Event()
        until(work.entered.is_set)
        bus.urge(lambda: done.append(1))
        bus.finish()
        work.hold.set()
    assert done == [1]


def test_exchanges_are_life_but_a_driver_that_exchanges_without_end_is_not(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("daq.bus.bus.monotonic", lambda: now[0])
    beats: list[float] = []
    bus = Bus("t", 1.0, tick=lambda: None, beat=lambda: beats.append(now[0]), crashed=print)
    bus.run_urgent()  # as between two instruments
    for _ in range(300):
        now[0] += 0.1
        bus.exchanged()
    assert beats[-1] == pytest.approx(1000.0 + LONGEST_S, abs=0.2)
    bus.run_urgent()
    bus.exchanged()
    assert beats[-1] == now[0]


# The heartbeat.


def test_a_beat_is_young_and_a_slot_that_was_never_used_or_has_retired_is_not(tmp_path):
    heartbeat = Heartbeat(tmp_path / "heartbeat")
    assert heartbeat.age_s(LOOP_SLOT) == float("inf")
    heartbeat.beat(LOOP_SLOT)
    assert heartbeat.age_s(LOOP_SLOT) < 5.0
    heartbeat.retire(LOOP_SLOT)
    assert heartbeat.age_s(LOOP_SLOT) == float("inf")


def test_a_new_heartbeat_forgets_and_leaves_an_old_reader_its_own(tmp_path):
    old = Heartbeat(tmp_path / "heartbeat")
    old.beat(FIRST_BUS_SLOT)
    new = Heartbeat(tmp_path / "heartbeat")
    assert new.age_s(FIRST_BUS_SLOT) == float("inf")
    assert old.age_s(FIRST_BUS_SLOT) < 5.0


def test_every_exchange_of_a_line_good_or_bad_is_a_sign_of_life():
    import socket

    from daq.bus.line import LineSettings
    from daq.bus.resource import make_line, parse_resource
    from daq.errors import NoReply

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        resource = parse_resource(f"TCPIP::127.0.0.1::{port}::SOCKET")
        line = make_line(resource, LineSettings(timeout_s=0.05))
        signs: list[int] = []
        line.exchanged = lambda: signs.append(1)
        line.open()
        assert len(signs) == 1
        with pytest.raises(NoReply):
            line.ask("*IDN?")
        assert len(signs) == 2
        line.close()


@pytest.mark.fault("F44")
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
def test_nothing_that_a_tick_raises_ends_the_thread(error):
    with running(0.02) as (bus, work):
        until(lambda: work.ticks >= 2)

        def job():
            raise error("whatever it is")

        bus.post(job)
        until(lambda: work.errors)
        ticks = work.ticks
        until(lambda: work.ticks > ticks + 2)
        assert bus.alive
        assert [type(one) for one in work.errors] == [error]


@pytest.mark.fault("F44")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_all_the_same_is_no_longer_alive_and_beats_no_more():
    beats = []

    def cannot(error):
        raise MemoryError("not even OFF")

    bus = Bus("test", 0.02, tick=lambda: 1 / 0, beat=lambda: beats.append(1), crashed=cannot)
    bus.start()
    assert bus.join(PATIENCE_S)
    assert not bus.alive
    assert beats == []


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_the_latest_latenesses_are_kept_in_order_and_no_more_than_there_is_room_for(count):
    latest = Latest(4)
    for n in range(count):
        latest.append(0.001 * n)
    assert latest.values() == [0.001 * n for n in range(count)][-4:]


def test_a_bus_holds_no_more_for_having_ticked_for_months():
    latest = Latest(4096)
    latest.append(0.001)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for n in range(10_000):
            latest.append(n / 1000.0)
        assert tracemalloc.get_traced_memory()[0] - before < 1000
    finally:
        tracemalloc.stop()
