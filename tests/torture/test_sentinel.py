"""The sentinel's promise, by the hundred: from the death of control to OFF at most 3 s, every time.

    python -m pytest tests/torture/test_sentinel.py --trials 1000 -s

A real sentinel watches a control process made of the daemon's own parts (stand_in.py), which has
energised a simulated cycler and is then killed, stopped, or made to hang, at a moment of no
particular kind. What counts is in the simulated cell's ledger, which neither of them can touch.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from simulators.client import RunningBench, running_bench

TAKEOVER_S = 3.0
LANES = 6
EA_LANE = LANES
PATIENCE_S = 60.0
STARTS = 10
BETWEEN_STARTS_S = 3.0  # the sentinel of the one before has the line until it is done
KILLED, STOPPED = [signal.SIGKILL], [signal.SIGSTOP]
HUNG = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGHUP]
"""The loop, the bus, the whole interpreter; and a bus thread that has ended."""
NEVER_S = 3600.0
"""A watchdog that is not what switches off."""
WATCHDOG_S = 2.0
BOTH_DEAD_S = 5.0


class NotUp(Exception):
    """A control process did not come up: of a busy machine's doing, and no part of a trial."""


class Nursery:
    """Where control processes come from, one at a time for whoever asks first."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.stand_in"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lock = threading.Lock()

    def control(
        self, folder: Path, endpoint: tuple[str, int], driver: str, watchdog_s: float
    ) -> tuple[int, int]:
        """A control process that has energised its instrument; its id, and its sentinel's.

        Raises:
            NotUp: it did not come up.
        """
        folder.mkdir()
        order = {
            "folder": str(folder),
            "host": endpoint[0],
            "port": endpoint[1],
            "driver": driver,
            "watchdog_s": watchdog_s,
        }
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            reply = json.loads(self._process.stdout.readline())
            if "error" in reply:
                raise NotUp(reply["error"])
            return int(reply["pid"]), int(reply["sentinel"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Ward:
    """One bench with an instrument for each lane, and the trials on it."""

    def __init__(self, folder: Path, bench: RunningBench, nursery: Nursery) -> None:
        self._folder = folder
        self._bench = bench
        self._nursery = nursery
        self._lock = threading.Lock()  # the bench has one control connection
        self._lanes = list(range(LANES))
        self.repeated = 0

    def trials(self, ways: list[signal.Signals], count: int) -> list[float]:
        """Seconds from death to OFF, of so many trials; the ways in turn."""
        with ThreadPoolExecutor(LANES) as pool:
            jobs = [pool.submit(self._trial, n, ways[n % len(ways)]) for n in range(count)]
            return [job.result() for job in jobs]

    def _trial(self, number: int, way: signal.Signals) -> float:
        with self._lock:
            lane = self._lanes.pop()
        try:
            return self._strike(self._folder / f"{way.name}-{number}", lane, way)
        finally:
            with self._lock:
                self._lanes.append(lane)

    def _strike(self, folder: Path, lane: int, way: signal.Signals) -> float:
        folder, control = self._up(folder, lane)
        struck_s = time.monotonic()
        os.kill(control, way)
        report = _report(folder)
        assert report[-1]["off"] == ["aps1"], report
        last = self._edges(lane)[-1]
        assert not last["on"], f"ON after {way.name}: {report}"
        assert not os.path.exists(f"/proc/{control}"), "control was not ended"
        return last["real_s"] - struck_s

    def _up(self, folder: Path, lane: int) -> tuple[Path, int]:
        """A control process that is up and has energised its instrument, and its folder.

        On a machine that is too busy one may fail to, or be ended by its sentinel before it is
        struck. Then it is started again: its start is not what is measured.
        """
        endpoint = self._bench.endpoint(f"aps{lane}")
        for attempt in range(STARTS):
            place = folder.with_name(f"{folder.name}-{attempt}")
            with suppress(NotUp):
                control, _ = self._nursery.control(place, endpoint, "keysight_aps", NEVER_S)
                time.sleep(random.uniform(0.0, 0.2))
                if self._edges(lane)[-1]["on"]:
                    return place, control
            with self._lock:
                self.repeated += 1
            time.sleep(BETWEEN_STARTS_S)
        raise AssertionError(f"no control process came up in {STARTS} starts")

    def both_die(self, driver: str, number: int) -> float:
        """Seconds from the death of control and sentinel to OFF by the instrument itself."""
        lane = 0 if driver == "keysight_aps" else EA_LANE
        folder = self._folder / f"both-{driver}-{number}"
        endpoint = self._bench.endpoint(f"aps{lane}")
        control, sentinel = self._nursery.control(folder, endpoint, driver, WATCHDOG_S)
        struck_s = time.monotonic()
        os.kill(sentinel, signal.SIGKILL)
        os.kill(control, signal.SIGKILL)
        while self._edges(lane)[-1]["on"]:
            assert time.monotonic() < struck_s + PATIENCE_S
            time.sleep(0.05)
        assert not list(folder.glob("sentinel-*.jsonl"))
        return self._edges(lane)[-1]["real_s"] - struck_s

    def _edges(self, lane: int) -> list[dict[str, float]]:
        with self._lock:
            return self._bench.ledger(f"cell-{lane}")["edges"]


def _report(folder: Path) -> list[dict[str, object]]:
    """What the sentinel wrote, once it is done."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        for path in folder.glob("sentinel-*.jsonl"):
            lines = path.read_text().splitlines()
            if lines and '"event": "done"' in lines[-1]:
                return [json.loads(line) for line in lines]
        time.sleep(0.02)
    raise AssertionError("the sentinel did nothing")


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    cells = [f"cell-{lane}" for lane in range(LANES)]
    config = {
        "cells": {cell: {"model": "nmc", "capacity": 2.5} for cell in cells},
        "instruments": {
            f"aps{lane}": {
                "dialect": "keysight_aps",
                "listen": "tcp://127.0.0.1:0",
                "channels": {1: cell},
                "options": {"serial": f"MY{lane}", "voltage_V": 9, "current_A": 10, "sink": 1.0},
            }
            for lane, cell in enumerate(cells)
        },
    }
    config["cells"][f"cell-{EA_LANE}"] = {"model": "nmc", "capacity": 2.5}
    config["instruments"][f"aps{EA_LANE}"] = {
        "dialect": "ea_psb",
        "listen": "tcp://127.0.0.1:0",
        "channels": {1: f"cell-{EA_LANE}"},
        "options": {"serial": "MYEA", "voltage_V": 9, "current_A": 10},
    }
    nursery = Nursery()
    try:
        with running_bench(config) as bench:
            yield Ward(tmp_path_factory.mktemp("ward"), bench, nursery)
    finally:
        nursery.close()


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    ("ways", "share"),
    [
        pytest.param(KILLED, 34, id="killed", marks=pytest.mark.fault("F41")),
        pytest.param(STOPPED, 33, id="stopped", marks=pytest.mark.fault("F42")),
        pytest.param(HUNG, 33, id="hung", marks=[pytest.mark.fault("F43", "F44")]),
    ],
)
def test_the_output_is_off_within_three_seconds_every_time(ways, share, ward, trials, figure):
    took_s = sorted(ward.trials(ways, trials(share)))
    figure("trials", len(took_s), "")
    figure("control processes that were not up at the first start, so far", ward.repeated, "")
    figure("death to OFF, p50", took_s[len(took_s) // 2], "s")
    figure("death to OFF, p99", took_s[int(0.99 * (len(took_s) - 1))], "s")
    figure("death to OFF, max", took_s[-1], "s")
    assert took_s[0] > -0.01  # nothing else switched it off before
    assert took_s[-1] <= TAKEOVER_S


@pytest.mark.timeout(0)
@pytest.mark.parametrize(
    "driver",
    [
        pytest.param("keysight_aps", marks=pytest.mark.fault("F49", family="keysight_aps")),
        pytest.param("drivers.ea_psb:EaPsb", marks=pytest.mark.fault("F49", family="ea_psb")),
    ],
)
def test_when_control_and_sentinel_die_the_instruments_own_watchdog_opens_the_output(
    driver, ward, trials, figure
):
    took_s = sorted(ward.both_die(driver, number) for number in range(min(trials(2), 50)))
    figure(f"both dead to OFF by a watchdog of {WATCHDOG_S:g} s, max", took_s[-1], "s")
    assert took_s[0] > 0.5  # it was the watchdog, and nothing before it
    assert took_s[-1] <= BOTH_DEAD_S
