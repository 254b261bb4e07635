"""Who must live: a sentinel that ends or hangs, a bus thread that ends."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from daq.bus.heartbeat import SENTINEL_SLOT, Heartbeat
from daq.control.alarms import Cause
from daq.control.living import GONE_S, HUNG_S, Living


class Child:
    """A child process that a test lets die or hang."""

    def __init__(self, name):
        self.name = name
        self.lived_s = 100.0
        self.died = False
        self.killed = 0

    def tend(self):
        died, self.died = self.died, False
        return died

    def kill(self):
        self.killed += 1
        self.died = True


class House:
    def __init__(self, folder, monkeypatch):
        self.now_s = 1000.0
        for module in ("daq.bus.heartbeat", "daq.control.living"):
            monkeypatch.setattr(f"{module}.monotonic", lambda: self.now_s)
        self.heartbeat = Heartbeat(folder / "heartbeat")
        self.sentinel, self.recorder = Child("sentinel"), Child("recorder")
        self.bus = SimpleNamespace(alive=True)
        self.alarms, self.ended = [], []
        self.living = Living(
            self.sentinel,  # type: ignore[arg-type]
            [self.recorder],  # type: ignore[list-item]
            {"home": self.bus},  # type: ignore[dict-item]
            self.heartbeat,
            self,  # type: ignore[arg-type]
        )

    def raise_(self, cause, message, **about):
        self.alarms.append((cause, message))

    def end(self, cause, **about):
        self.ended.append(cause)

    def after(self, seconds):
        self.now_s += seconds
        self.living.tend()


@pytest.fixture
def house(tmp_path, monkeypatch):
    made = House(tmp_path, monkeypatch)
    made.heartbeat.beat(SENTINEL_SLOT)
    return made


def test_while_all_live_nobody_is_told(house):
    house.after(1.0)
    assert house.alarms == []


@pytest.mark.fault("F48")
def test_a_sentinel_that_ends_pages_somebody(house):
    house.sentinel.died = True
    house.after(0.1)
    ((cause, message),) = house.alarms
    assert cause is Cause.SENTINEL_DIED
    assert "nothing is energised until it is back" in message
    house.heartbeat.beat(SENTINEL_SLOT)
    house.after(0.1)
    assert house.ended[-1] is Cause.SENTINEL_DIED


@pytest.mark.fault("F48")
def test_a_sentinel_that_hangs_is_ended_so_that_it_can_be_started_again(house):
    house.after(HUNG_S - 0.1)
    assert house.sentinel.killed == 0
    house.after(0.2)
    assert house.sentinel.killed == 1
    assert [cause for cause, _ in house.alarms] == [Cause.SENTINEL_DIED]


def test_a_sentinel_that_was_just_started_is_given_time_to_beat(house):
    house.sentinel.lived_s = 0.2
    house.after(HUNG_S + 1.0)
    assert house.sentinel.killed == 0


@pytest.mark.fault("F48")
@pytest.mark.parametrize(("silent_s", "gone"), [(GONE_S - 0.1, False), (GONE_S + 0.1, True)])
def test_nothing_stays_energised_for_long_without_one(silent_s, gone, house):
    house.now_s += silent_s
    assert bool(house.living.sentinel_gone()) == gone


def test_before_the_first_beat_it_is_not_gone_but_on_its_way(tmp_path, monkeypatch):
    made = House(tmp_path, monkeypatch)
    assert made.living.sentinel_gone() == ""
    made.now_s += GONE_S + 1.0
    assert made.living.sentinel_gone() == f"there has been no sentinel for {GONE_S:g} s"


@pytest.mark.fault("F44")
def test_a_bus_thread_that_ends_pages_once(house):
    house.bus.alive = False
    for _ in range(3):
        house.after(0.1)
    assert house.alarms == [
        (Cause.BUS_THREAD_DIED, "the thread of bus home has ended; the sentinel takes over")
    ]


def test_a_hung_child_is_killed_for_good_by_its_own_method():
    from daq.control.children import Child as RealChild

    child = RealChild("sleeper", ["-c", "import time; time.sleep(600)"])
    child.kill()  # was never started: nothing to do
    child.tend()
    assert child.lived_s >= 0.0
    child.kill()
    assert not child.alive
    assert child.lived_s == 0.0
    assert child.tend()
