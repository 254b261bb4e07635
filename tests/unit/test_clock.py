"""The two clocks: that of the wires never jumps, that of the lab may run faster."""

from __future__ import annotations

import time

import pytest

from daq.clock import LabClock, monotonic


def test_monotonic_never_runs_back():
    stamps = [monotonic() for _ in range(1000)]
    assert stamps == sorted(stamps)


def test_it_counts_the_time_that_the_machine_sleeps():
    if not hasattr(time, "CLOCK_BOOTTIME"):
        assert monotonic() == pytest.approx(time.monotonic(), abs=0.5)
        return
    assert monotonic() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=0.5)


@pytest.mark.parametrize("factor", [1.0, 500.0])
def test_lab_time_runs_so_many_times_as_fast(factor):
    now = [100.0]
    clock = LabClock(factor, now=lambda: now[0])
    assert clock.now() == 0.0
    now[0] += 2.0
    assert clock.now() == clock.at(102.0) == pytest.approx(2.0 * factor)


@pytest.mark.parametrize("factor", [0.5, 0.0, -1.0, float("nan")])
def test_it_never_runs_slower_than_real_time(factor):
    with pytest.raises(ValueError, match="clock factor"):
        LabClock(factor)


def test_at_real_time_unix_time_is_the_systems_as_of_the_stamp(monkeypatch):
    now = [100.0]
    clock = LabClock(now=lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    now[0] = 103.0
    assert clock.utc(101.0) == pytest.approx(4998.0)


def test_a_clock_that_is_put_back_moves_stamps_and_not_lab_time(monkeypatch):
    now = [100.0]
    clock = LabClock(now=lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    before = (clock.utc(100.0), clock.at(100.0))
    monkeypatch.setattr(time, "time", lambda: 1400.0)
    assert clock.utc(100.0) == before[0] - 3600.0
    assert clock.at(100.0) == before[1]


def test_accelerated_unix_time_agrees_with_durations(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 5000.0)
    clock = LabClock(100.0, now=lambda: 10.0)
    monkeypatch.setattr(time, "time", lambda: 9999.0)
    assert clock.utc(12.0) - clock.utc(11.0) == pytest.approx(100.0)
    assert clock.utc(10.0) == 5000.0
