"""A simulated bench for hours: does anything grow, is anything missed, does anything trip falsely?

    python -m bench.soak --hours 1
    python -m bench.soak --hours 0.1 --factor 100     # a hundred times as much lab time

Every station cycles its cell between two states of charge, with the noise of the instruments' data
sheets on every reading; a run that has ended is followed by the next. Memory, descriptors and
threads of every process are looked at every few seconds. Exit code 1 when something tripped, a
descriptor or a thread came and stayed, or a run ended otherwise than completed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import files
from bench.daemon import Daemon, serving
from bench.processes import descriptors, end_in_order, machine_busy_s, rss_mb, threads
from bench.window import Figures
from daq.errors import DaqError
from daq.journal import JournalReader
from daq.model import EventKind
from simulators.client import running_bench

PERIOD_S = 0.2
LOOK_S = 5.0
SAY_S = 300.0
WARM_S = 3600.0
WARM_SHARE = 0.5
"""No slope is taken from the first hour, nor from the first half of a shorter time: caches fill,
buffers find their size."""
ENOUGH_LOOKS = 60
"""Five minutes, in which runs begin and end."""
CHAMBER = "mk56"

PROTOCOL = """
protocol: soak
version: 1.0.0
record: {every: 1 s}
safety: {voltage: [2.6 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
  - repeat: 4
    steps:
      - charge: 1C
        until: charge >= 2 %
        at_most: 10 min
      - rest: 20 s
      - discharge: 1C
        until: charge >= 2 %
        at_most: 10 min
      - rest: 20 s
"""


@dataclass(slots=True)
class Watched:
    """What one process held, look by look: seconds since the start, MB, descriptors, threads."""

    at_s: list[float] = field(default_factory=list[float])
    rss_mb: list[float] = field(default_factory=list[float])
    descriptors: list[int] = field(default_factory=list[int])
    threads: list[int] = field(default_factory=list[int])

    def figures(self, hours: float) -> Figures:
        """After the warm-up: the slope of memory, and the range of the others."""
        warm_s = min(WARM_S, WARM_SHARE * hours * 3600.0)
        warm = [at for at, s in enumerate(self.at_s) if s >= warm_s]
        first = warm[0] if warm else 0
        days, held = np.array(self.at_s[first:]) / 86400.0, np.array(self.rss_mb[first:])
        slope, error = _slope(days, held)
        return {
            "rss_mb": [round(held[0], 1), round(held[-1], 1)],
            "rss_mb_per_day": slope,
            "rss_mb_per_day_error": error,
            "descriptors": [min(self.descriptors[first:]), max(self.descriptors[first:])],
            "threads": [min(self.threads[first:]), max(self.threads[first:])],
            "grown": _grown(self.descriptors[first:]) or _grown(self.threads[first:]),
        }


def _grown(counts: list[int]) -> bool:
    """Whether something came and stayed: never again as few as there were at most.

    A short box says nothing about it: each run that begins opens files, and closes them at its end.
    """
    third = len(counts) // 3
    return third >= ENOUGH_LOOKS and min(counts[-third:]) > max(counts[:third])


def _slope(days: Any, held: Any) -> tuple[float, float]:
    """Of the straight line through the points, and its standard error."""
    if len(days) < 4:
        return 0.0, float("inf")
    (slope, offset), covariance = np.polyfit(days, held, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0][0]))


def run(hours: float, stations: int, factor: float) -> Figures:
    """Let the bench run, and say what was seen."""
    with (
        tempfile.TemporaryDirectory(prefix="daq-soak-") as name,
        running_bench(_bench(stations, factor)) as bench,
    ):
        folder, cyclers = Path(name), files.names(stations)
        (folder / "soak.yaml").write_text(PROTOCOL, encoding="utf-8")
        endpoints = {found: bench.endpoint(found) for found in (*cyclers, CHAMBER)}
        (folder / "lab.yaml").write_text(json.dumps(_lab(endpoints, factor), indent=1))
        with serving(folder, bench, cyclers) as daemon:
            return _soak(daemon, hours, factor)


def _bench(stations: int, factor: float) -> dict[str, Any]:
    document = files.bench(stations)
    cells = list(document["cells"])
    document["clock"] = {"factor": factor}
    document["chambers"] = {"room": {"temperature": 25.0}}
    document["instruments"][CHAMBER] = {
        "dialect": "binder",
        "listen": "modbus+rtu+tcp://127.0.0.1:0",
        "chamber": "room",
        "cells": cells,
        "options": {"controller": "mb2"},
    }
    return document


def _lab(endpoints: dict[str, tuple[str, int]], factor: float) -> dict[str, Any]:
    host, port = endpoints.pop(CHAMBER)
    document = files.lab(endpoints)
    document["clock"] = {"factor": factor}
    for instrument in document["instruments"].values():
        instrument["period"] = f"{1000 * PERIOD_S:g} ms"
    document["instruments"][CHAMBER] = {
        "driver": "binder",
        "resource": f"modbus+rtu+tcp://{host}:{port}",
        "period": f"{1000 * PERIOD_S:g} ms",
    }
    for station in document["stations"].values():
        station["chamber"] = CHAMBER
    return document


def _soak(daemon: Daemon, hours: float, factor: float) -> Figures:
    watched: dict[str, Watched] = {}
    pids = daemon.pids()
    began, busy_s = time.monotonic(), machine_busy_s()
    said = began
    while (now := time.monotonic()) - began < 3600.0 * hours:
        _start_idle(daemon)
        _look(watched, pids, now - began)
        if now - said >= SAY_S:
            said = now
            print(_line(daemon, watched, now - began), flush=True)
        time.sleep(LOOK_S)
    timing = daemon.call("timing")
    seconds = time.monotonic() - began
    daemon.call("stop", "*")
    return {
        "hours": seconds / 3600.0,
        "lab_hours": seconds / 3600.0 * factor,
        "stations": len(daemon.cyclers),
        "processes": {name: found.figures(hours) for name, found in watched.items()},
        "ticks": sum(bus["ticks"] for bus in timing.values()),
        "missed": sum(bus["missed"] for bus in timing.values()),
        "machine_busy_cores": (machine_busy_s() - busy_s) / seconds,
        **_events(daemon),
    }


def _start_idle(daemon: Daemon) -> None:
    """The next run at every station whose run has ended."""
    for station, mode in daemon.modes().items():
        if mode == "idle":
            cycler = station.replace("S", "aps")
            with contextlib.suppress(DaqError):  # it comes to it in the next round
                daemon.call("start", station, protocol="soak.yaml", cell=files.cell(cycler))


def _look(watched: dict[str, Watched], pids: dict[str, int], at_s: float) -> None:
    for name, held_mb in rss_mb(pids).items():
        seen = watched.setdefault(name, Watched())
        seen.at_s.append(at_s)
        seen.rss_mb.append(held_mb)
        seen.descriptors.append(descriptors(pids[name]))
        seen.threads.append(threads(pids[name]))


def _line(daemon: Daemon, watched: dict[str, Watched], at_s: float) -> str:
    memory = "  ".join(f"{name} {seen.rss_mb[-1]:.1f}" for name, seen in watched.items())
    modes = ", ".join(f"{count} {mode}" for mode, count in Counter(daemon.modes().values()).items())
    return f"{at_s / 60:5.0f} min  {modes}  MB: {memory}"


def _events(daemon: Daemon) -> Figures:
    with JournalReader(daemon.data / "journal.sqlite") as reader:
        wanted = frozenset({EventKind.TRIP, EventKind.RUN_ENDED, EventKind.ALARM, EventKind.GAP})
        events = reader.events(kinds=wanted)
        entries = reader.head()
    ended = Counter(e.data["outcome"] for e in events if e.kind is EventKind.RUN_ENDED)
    trips = [e.data["message"] for e in events if e.kind is EventKind.TRIP]
    alarms = [e.data["message"] for e in events if e.kind is EventKind.ALARM]
    gaps = sum(event.kind is EventKind.GAP for event in events)
    return {
        "entries": entries, "ended": dict(ended), "trips": trips, "alarms": alarms, "gaps": gaps,
    }  # fmt: skip


def report(found: Figures) -> bool:
    """Print the figures; whether all is well."""
    print(
        f"{found['hours']:.2f} h, {found['lab_hours']:.1f} h of lab time, {found['stations']} "
        f"stations; the machine was busy with {found['machine_busy_cores']:.2f} cores"
    )
    print(f"{'process':14} {'RSS MB':>15} {'MB a day':>18} {'descriptors':>12} {'threads':>9}")
    for name, held in found["processes"].items():
        print(_row(name, held))
    ticks = found["ticks"] + found["missed"]
    print(f"ticks missed   {found['missed']} of {ticks} = {100 * found['missed'] / ticks:.4f} %")
    print(f"false trips    {len(found['trips'])} {found['trips'][:3]}")
    print(f"runs ended     {found['ended']}")
    print(f"alarms         {len(found['alarms'])} {found['alarms'][:3]}")
    print(f"journal        {found['entries']} entries, {found['gaps']} gaps")
    grown = [name for name, held in found["processes"].items() if held["grown"]]
    wrong = [*grown, *found["trips"], *(["gaps"] if found["gaps"] else [])]
    return not wrong and not _failed(found["ended"])


def _row(name: str, held: Figures) -> str:
    (first, last), (low, high) = held["rss_mb"], held["descriptors"]
    few, many = held["threads"]
    slope = f"{held['rss_mb_per_day']:+.1f} +-{2 * held['rss_mb_per_day_error']:.1f}"
    row = f"{name:14} {first:7.1f}-{last:7.1f} {slope:>18} {low:6}-{high:<5} {few:4}-{many:<4}"
    return f"{row} {'GROWN' if held['grown'] else ''}".rstrip()


def _failed(ended: dict[str, int]) -> int:
    return sum(count for outcome, count in ended.items() if outcome not in ("completed", "stopped"))


def main() -> int:
    """Soak for as long as it is told."""
    end_in_order()
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--stations", type=int, default=16)
    parser.add_argument("--factor", type=float, default=1.0, help="lab seconds a real second")
    options = parser.parse_args()
    return 0 if report(run(options.hours, options.stations, options.factor)) else 1


if __name__ == "__main__":
    sys.exit(main())
