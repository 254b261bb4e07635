"""Check U1: room on the disk, mains power, the wall clock; and what comes of it for the runs."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace

import pytest

from daq.config import UpsConfig
from daq.control import conditions
from daq.control.alarms import Cause
from daq.control.conditions import Conditions, Disk, Mains, WallClock
from daq.control.health import Check, Health
from daq.model import EventKind
from tests.unit.fakes import Stand, TurnedClock

GB = 1e9


class Filesystem:
    def __init__(self, total_GB: float) -> None:
        self.total = total_GB * GB
        self.free = self.total

    def __call__(self, folder):
        block = 4096
        return SimpleNamespace(
            f_bavail=self.free / block, f_blocks=self.total / block, f_frsize=block
        )


@pytest.mark.parametrize(
    ("total_GB", "free_GB", "full"),
    [
        (100, 5.01, False),
        (100, 4.99, True),
        (4000, 10.1, False),
        (4000, 9.9, True),
        (0.1, 0.0049, True),
    ],
)
def test_a_disk_is_full_below_five_percent_or_ten_gigabytes(
    total_GB, free_GB, full, tmp_path, monkeypatch
):
    disk = Filesystem(total_GB)
    monkeypatch.setattr(os, "statvfs", disk)
    disk.free = free_GB * GB
    assert bool(Disk(tmp_path).judge(0.0)) == full


def test_a_disk_that_was_full_has_room_again_at_six_percent(tmp_path, monkeypatch):
    system = Filesystem(100)
    monkeypatch.setattr(os, "statvfs", system)
    disk, found = Disk(tmp_path), []
    for percent in (6, 4.9, 5.5, 5.9, 6.1, 5.5):
        system.free = percent * GB
        found.append(bool(disk.judge(0.0)))
    assert found == [False, True, True, True, False, False]


def test_a_disk_that_cannot_be_looked_at_is_wrong_too(tmp_path):
    assert "cannot be looked at" in Disk(tmp_path / "gone").judge(0.0)


def test_the_mains_may_fail_for_as_long_as_the_lab_file_says(tmp_path):
    word = tmp_path / "on-battery"
    mains = Mains(UpsConfig(word, 60.0))
    assert mains.judge(0.0) == ""
    word.touch()
    assert [bool(mains.judge(at)) for at in (10.0, 69.9, 70.0, 200.0)] == [False, False, True, True]
    word.unlink()
    assert mains.judge(201.0) == ""
    word.touch()
    assert mains.judge(202.0) == ""


@pytest.mark.fault("F35")
@pytest.mark.fault("F37")
@pytest.mark.parametrize(
    ("by_s", "told"),
    [(3600.0, True), (-3600.0, True), (2.5, True), (1.0, False), (-1.0, False), (0.0, False)],
    ids=["hour on", "hour back", "past a leap second", "leap second", "its repetition", "none"],
)
def test_a_jump_of_the_wall_clock_is_told_once_and_a_leap_second_is_none(by_s, told, monkeypatch):
    jumps, shift = [], [0.0]
    monkeypatch.setattr(conditions, "wall", lambda: time.time() + shift[0])
    clock = WallClock(jumps.append)
    for at in range(4):
        shift[0] = by_s if at >= 2 else 0.0
        assert clock.judge(0.0) == ""
    assert jumps == ([pytest.approx(by_s, abs=0.2)] if told else [])


class Broken:
    name = "broken"

    def judge(self, now_s):
        raise RuntimeError("a bug")


class Bad:
    name = "bad"

    def judge(self, now_s):
        return "it is bad"


class Hanging:
    name = "hanging"

    def __init__(self):
        self.release = threading.Event()
        self.looks = 0

    def judge(self, now_s):
        self.looks += 1
        if self.looks > 1:
            self.release.wait(20.0)
        return ""


def test_one_that_fails_is_what_is_wrong_and_the_next_is_asked_all_the_same():
    asked = Conditions([Broken(), Bad()])
    asked.look()
    assert asked.wrong == {"broken": "broken: RuntimeError: a bug", "bad": "it is bad"}


def test_a_file_system_that_does_not_answer_holds_up_nobody_and_is_told(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(conditions, "monotonic", lambda: now[0])
    monkeypatch.setattr(conditions, "LOOK_S", 0.001)
    hanging = Hanging()
    asked = Conditions([hanging])
    asked.start()
    deadline = time.monotonic() + 20.0
    while hanging.looks < 2:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert asked.silence() == ""
    now[0] += 11.0
    assert asked.silence() == "the disk has not answered for 11 s"
    asked.finish()
    hanging.release.set()


# What comes of it.


class House:
    """A station with a run, and a condition that a test sets."""

    def __init__(self, monkeypatch):
        clock = TurnedClock()
        clock.put_into(monkeypatch)
        self.stand = Stand(clock)
        self.why = ""
        self.alarms, self.notes = [], []
        self.second = ""
        checks = [
            Check(lambda: self.why, Cause.DISK_LOW),
            Check(lambda: self.second, Cause.MAINS_FAILED),
            Check(lambda: ""),
        ]
        self.health = Health([self.stand.station], checks, self)  # type: ignore[arg-type]

    def raise_(self, cause, message):
        self.alarms.append((cause, message))

    def end(self, cause):
        self.notes.append(cause)

    def tend(self):
        self.health.tend()
        self.stand.tick()


@pytest.fixture
def house(monkeypatch):
    return House(monkeypatch)


def test_every_run_is_paused_off_and_told_once(house):
    house.stand.energised()
    house.why = "the disk is nearly full"
    for _ in range(5):
        house.tend()
    assert not house.stand.driver.is_on
    assert house.stand.conductor.paused == "the disk is nearly full"
    assert house.alarms == [(Cause.DISK_LOW, "the disk is nearly full; every run is paused")]
    assert len(house.stand.journal.events(EventKind.PAUSED)) == 1
    assert house.health.why_not == "the disk is nearly full"


def test_when_it_is_over_nothing_goes_on_by_itself(house):
    house.stand.energised()
    house.why = "the disk is nearly full"
    house.tend()
    house.why = ""
    for _ in range(10):
        house.tend()
    assert house.health.why_not == ""
    assert house.notes == [Cause.DISK_LOW]
    assert not house.stand.driver.is_on
    assert house.stand.conductor.resume("ana") == ""
    house.stand.tick(3)
    assert house.stand.driver.is_on


def test_a_run_that_is_paused_already_keeps_its_own_reason(house):
    house.stand.energised()
    house.stand.conductor.pause("lunch", house.stand.station.last)
    house.why = "the disk is nearly full"
    house.tend()
    assert house.stand.conductor.paused == "lunch"


def test_a_second_reason_is_told_beside_the_first(house):
    house.why = "the disk is nearly full"
    house.tend()
    house.second = "the mains has failed"
    house.tend()
    assert [cause for cause, _ in house.alarms] == [Cause.DISK_LOW, Cause.MAINS_FAILED]
