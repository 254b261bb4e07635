"""What the tests of the whole daemon are made of: a simulated bench, a lab file, the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML

from daq.control.client import ControlClient
from daq.errors import DaqError
from daq.journal import JournalReader
from daq.model import Event, EventKind, Reply
from simulators.client import RunningBench, running_bench

PATIENCE_S = 40.0  # most of what is waited for takes less than a second; the machine may be busy
T = TypeVar("T")

CHARGE = """
protocol: charge
version: 1.0.0
record: {every: 1 s}
safety: {voltage: [2.6 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
  - charge: 1C
    until: voltage >= 4.2 V
    at_most: 2 h
"""

SHORT = """
protocol: short
version: 1.0.0
record: {every: 30 s, voltage: 5 mV}
safety: {voltage: [2.4 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
  - rest: 5 min
  - repeat: 2
    steps:
      - discharge: 1C
        until: charge >= 10 %
        at_most: 20 min
      - rest: 5 min
      - charge: 1C
        until: charge >= 10 %
        at_most: 20 min
"""


def wait_until(
    look: Callable[[], T], what: str | Callable[[], str], timeout_s: float = PATIENCE_S
) -> T:
    """Poll; the first true answer."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s:g} s: {what if isinstance(what, str) else what()}")


@dataclass(frozen=True)
class Family:
    """What differs between two families of cyclers in a lab file."""

    driver: str
    period: str


FAMILIES = {
    "keysight_aps": Family("keysight_aps", "50 ms"),
    "ea_psb": Family("ea_psb", "150 ms"),  # two messages, 50 ms before each
}
"""By the dialect of the bench. A test of a fault that touches the wire runs over all of them:

    @pytest.mark.parametrize("family", [
        pytest.param(name, marks=pytest.mark.fault("F01", family=name)) for name in FAMILIES
    ])
    def test_...(family, tmp_path):
        with running_daemon(tmp_path, dialect=family) as (bench, daemon):
"""


def bench_file(
    stations: int = 1,
    factor: float = 1.0,
    soc: float = 0.5,
    *,
    dialect: str = "keysight_aps",
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A bench of cyclers and one chamber around all cells; `options` of every cycler.

    The cyclers are called aps1, aps2 ... whatever their dialect, a key of `FAMILIES`, so that a
    test may be run over all of them as it stands.
    """
    cells = [f"cell-{number}" for number in range(1, stations + 1)]
    instruments: dict[str, Any] = {
        f"aps{number}": {
            "dialect": dialect,
            "listen": "tcp://127.0.0.1:0",
            "channels": {1: cell},
            "options": {"serial": f"MY{number}", "voltage_V": 9, "current_A": 10}
            | ({"sink": 1.0} if dialect == "keysight_aps" else {})
            | dict(options or {}),
        }
        for number, cell in enumerate(cells, start=1)
    }
    instruments["mk56"] = {
        "dialect": "binder",
        "listen": "modbus+rtu+tcp://127.0.0.1:0",
        "chamber": "room",
        "cells": cells,
        "options": {"controller": "mb2"},
    }
    return {
        "clock": {"factor": factor},
        "seed": 7,
        "cells": {
            cell: {"model": "nmc", "capacity": 2.5, "soc": soc, "formed": True} for cell in cells
        },
        "chambers": {"room": {"temperature": 25.0}},
        "instruments": instruments,
    }


def lab_file(
    bench: RunningBench, factor: float = 1.0, *, dialect: str = "keysight_aps", **changes: Any
) -> dict[str, Any]:
    """A lab for such a bench, made with the same dialect."""
    family = FAMILIES[dialect]
    cyclers = sorted(name for name in bench.addresses if name.startswith("aps"))
    instruments: dict[str, Any] = {}
    for name in cyclers:
        host, port = bench.endpoint(name)
        resource = f"TCPIP::{host}::{port}::SOCKET"
        instruments[name] = {
            "driver": family.driver,
            "resource": resource,
            "period": family.period,
        }
    host, port = bench.endpoint("mk56")
    instruments["mk56"] = {
        "driver": "binder",
        "resource": f"modbus+rtu+tcp://{host}:{port}",
        "period": "200 ms",
    }
    limits = {
        "voltage": ["2.0 V", "4.35 V"],
        "current": ["-10 A", "10 A"],
        "temperature": ["0 degC", "60 degC"],
    }
    return {
        "lab": "test",
        "data": "data",
        "clock": {"factor": factor},
        "mqtt": {"broker": "none"},
        "restarts": {"crashes": 1000},  # a test may kill it as often as it likes
        "instruments": instruments,
        "stations": {
            f"A{number}": {
                "cycler": name,
                "chamber": "mk56",
                "limits": limits,
                "watchdog": "2 s",
            }
            for number, name in enumerate(cyclers, start=1)
        },
        "cells": {
            f"c{number}": {"nominal_capacity": "2.5 Ah", "chemistry": "NMC"}
            for number in range(1, len(cyclers) + 1)
        },
    } | changes


class Daemon:
    """`daq serve` as a process, and the ways to look at it."""

    def __init__(self, lab: Path) -> None:
        self.lab = lab
        self.data = lab.parent / "data"
        self.client = ControlClient(self.data)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until every station is online."""
        log = (self.lab.parent / "daemon.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "daq.cli", "serve", str(self.lab)], stdout=log, stderr=log
        )
        log.close()
        wait_until(self._ready, self.log)

    def _ready(self) -> bool:
        assert self.process is not None and self.process.poll() is None, self.log()
        stations = self.status()
        return bool(stations) and all(
            station["mode"] != "offline" and station["temperature_degC"] is not None
            for station in stations.values()
        )

    def status(self) -> dict[str, Any]:
        """Station -> status; {} while nobody answers."""
        try:
            return dict(self.client.call("status").data["stations"])
        except (DaqError, KeyError):
            return {}

    def station(self, name: str = "A1") -> dict[str, Any]:
        """The status of one station."""
        return self.status().get(name, {})

    def call(self, verb: str, station: str = "A1", **arguments: Any) -> Reply:
        """Send a command."""
        return self.client.call(verb, station, **arguments)

    def run(self, text: str, station: str = "A1", cell: str = "c1", **arguments: Any) -> str:
        """Start a protocol; its run id."""

        def started() -> str:
            reply = self.call("start", station, text=text, name="t.yaml", cell=cell, **arguments)
            assert reply.state == "done", reply.reason
            return str(reply.data["run"])

        return started()

    def wait_for(self, station: str = "A1", **wanted: Any) -> dict[str, Any]:
        """Wait until a station's status has these values."""

        def look() -> dict[str, Any]:
            seen = self.station(station)
            return seen if seen and all(seen[key] == value for key, value in wanted.items()) else {}

        return wait_until(look, lambda: f"{wanted}; {self.station(station)}\n{self.log()}")

    def energised(self, station: str = "A1", at_least_A: float = 2.0) -> dict[str, Any]:
        """Wait until current flows."""

        def look() -> dict[str, Any]:
            seen = self.station(station)
            return seen if seen and abs(seen["current_A"] or 0) > at_least_A else {}

        return wait_until(look, lambda: f"current flows; {self.station(station)}\n{self.log()}")

    def events(self, *kinds: EventKind) -> list[Event]:
        """What the journal says, of these kinds."""
        with JournalReader(self.data / "journal.sqlite") as journal:
            return journal.events(kinds=frozenset(kinds) or None)

    def log(self) -> str:
        """What it wrote."""
        path = self.lab.parent / "daemon.log"
        return path.read_text()[-4000:] if path.exists() else ""

    def children(self) -> dict[str, int]:
        """Module -> process id of its children."""
        assert self.process is not None
        import psutil

        found = {}
        for child in psutil.Process(self.process.pid).children():
            try:
                words = child.cmdline()
            except psutil.NoSuchProcess:  # it has just ended; a zombie is one, too
                continue
            if "-m" in words:
                found[words[words.index("-m") + 1]] = child.pid
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to control."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


def write_lab(folder: Path, document: dict[str, Any]) -> Path:
    """Write a lab file."""
    path = folder / "lab.yaml"
    YAML(typ="safe", pure=True).dump(json.loads(json.dumps(document)), path)
    return path


@contextmanager
def running_daemon(
    folder: Path,
    *,
    stations: int = 1,
    factor: float = 1.0,
    soc: float = 0.5,
    dialect: str = "keysight_aps",
    options: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Iterator[tuple[RunningBench, Daemon]]:
    """A bench and a daemon on it, for the length of a `with` block."""
    described = bench_file(stations, factor, soc, dialect=dialect, options=options)
    with running_bench(described) as bench:
        lab = lab_file(bench, factor, dialect=dialect, **changes)
        daemon = Daemon(write_lab(folder, lab))
        daemon.start()
        try:
            yield bench, daemon
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()


def on(bench: RunningBench, cell: str = "cell-1") -> bool:
    """Whether current can flow, as the cell itself knows."""
    edges = bench.ledger(cell)["edges"]
    return bool(edges) and bool(edges[-1]["on"])


def last_edge_s(bench: RunningBench, cell: str = "cell-1") -> float:
    """Real stamp of the last switching of the output."""
    return float(bench.ledger(cell)["edges"][-1]["real_s"])
