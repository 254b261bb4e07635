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
from pathlib import Path

import pytest

from simulators.client import RunningBench, running_bench

TAKEOVER_S = 3.0
LANES = 6
PATIENCE_S = 60.0
KILLED, STOPPED = [signal.SIGKILL], [signal.SIGSTOP]
HUNG = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM]  # the loop, the bus, the whole interpreter


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

    def control(self, folder: Path, endpoint: tuple[str, int]) -> int:
        """A control process that has energised its instrument; its process id."""
        order = {"folder": str(folder), "host": endpoint[0], "port": endpoint[1]}
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            return int(json.loads(self._process.stdout.readline())["pid"])

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

    def trials(self, ways: list[signal.Signals], count: int) -> list[float]:
        """Seconds from death to OFF, of so many trials; the ways in turn."""
        with ThreadPoolExecutor(LANES) as pool:
            jobs = [pool.submit(self._trial, n, ways[n % len(ways)]) for n in range(count)]
            return [job.result() for job in jobs]

    def _trial(self, number: int, way: signal.Signals) -> float:
        with self._lock:
            lane = self._lanes.pop()
        try:
            folder = self._folder / f"{way.name}-{number}"
            folder.mkdir()
            return self._strike(folder, lane, way)
        finally:
            with self._lock:
                self._lanes.append(lane)

    def _strike(self, folder: Path, lane: int, way: signal.Signals) -> float:
        control = self._nursery.control(folder, self._bench.endpoint(f"aps{lane}"))
        time.sleep(random.uniform(0.0, 0.2))
        assert self._edges(lane)[-1]["on"]
        struck_s = time.monotonic()
        os.kill(control, way)
        report = _report(folder)
        assert report[-1]["off"] == ["aps1"], report
        last = self._edges(lane)[-1]
        assert not last["on"], f"ON after {way.name}: {report}"
        assert not os.path.exists(f"/proc/{control}"), "control was not ended"
        return last["real_s"] - struck_s

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
        pytest.param(HUNG, 33, id="hung", marks=pytest.mark.fault("F43")),
    ],
)
def test_the_output_is_off_within_three_seconds_every_time(ways, share, ward, trials, figure):
    took_s = sorted(ward.trials(ways, trials(share)))
    figure("trials", len(took_s), "")
    figure("death to OFF, p50", took_s[len(took_s) // 2], "s")
    figure("death to OFF, p99", took_s[int(0.99 * (len(took_s) - 1))], "s")
    figure("death to OFF, max", took_s[-1], "s")
    assert took_s[0] > -0.01  # nothing else switched it off before
    assert took_s[-1] <= TAKEOVER_S
