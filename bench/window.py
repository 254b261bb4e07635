"""A stretch of time in which a daemon does its work, and what each process spent on it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.daemon import Daemon
from bench.idle import idling
from bench.processes import cpu_s, machine_busy_s, peak_mb

Figures = dict[str, Any]
OURS = ("control", "sentinel", "recorder", "gateway", "broker", "broker tether")


@dataclass(frozen=True, slots=True)
class Window:
    """What happened between two moments.

    Attributes:
        samples: readings of all channels: one a tick.
        lateness_s: of each tick of every bus.
        machine_s: of each wake-up of a process that does nothing else.
        cpu_s: per process; `others` is everything else on this machine, our own
            listeners included.
    """

    seconds: float
    samples: int
    missed: int
    lateness_s: list[float]
    machine_s: list[float]
    cpu_s: dict[str, float]
    peak_mb: dict[str, float]
    load: float

    @property
    def control_us(self) -> float:
        """CPU time of control for one sample, microseconds."""
        return 1e6 * self.cpu_s["control"] / self.samples

    def figures(self) -> Figures:
        """As they go into the report."""
        due = self.samples + self.missed
        kilo = self.samples / 1000
        ours = {name: used for name, used in self.cpu_s.items() if name in OURS}
        return {
            "seconds": self.seconds,
            "samples": self.samples,
            "missed_ticks": self.missed,
            "missed_ticks_percent": 100 * self.missed / due,
            "jitter_ms": spread([1000 * late for late in self.lateness_s], 50, 99, 99.9),
            "machine_jitter_ms": spread([1000 * late for late in self.machine_s], 50, 99, 99.9),
            "cpu_s_per_1000_samples": {name: used / kilo for name, used in ours.items()}
            | {"all": sum(ours.values()) / kilo},
            "cpu_s_per_1000_samples_beside": {
                name: self.cpu_s[name] / kilo for name in ("simulator", "others")
            },
            "peak_memory_mb": self.peak_mb,
            "load_average": self.load,
        }


def watch(daemon: Daemon, work: Callable[[], None]) -> Window:
    """Do `work` (which takes its time) and see what the daemon did meanwhile."""
    pids = daemon.pids()
    before = daemon.call("timing")
    began, busy_s, spent = time.monotonic(), machine_busy_s(), cpu_s(pids)
    with idling() as machine_s:
        work()
    used = {name: now - spent[name] for name, now in cpu_s(pids).items()}
    seconds, busy_s = time.monotonic() - began, machine_busy_s() - busy_s
    after = daemon.call("timing")
    return Window(
        seconds=seconds,
        samples=_grown("ticks", before, after),
        missed=_grown("missed", before, after),
        lateness_s=[late for name in after for late in _latest(before[name], after[name])],
        machine_s=machine_s,
        # The kernel counts the two sides differently; on a quiet machine this may fall below 0.
        cpu_s=used | {"others": max(0.0, busy_s - sum(used.values()))},
        peak_mb=peak_mb(pids),
        load=round(os.getloadavg()[0], 2),
    )


def _grown(what: str, before: Figures, after: Figures) -> int:
    return sum(bus[what] for bus in after.values()) - sum(bus[what] for bus in before.values())


def _latest(before: Figures, after: Figures) -> list[float]:
    ticks = after["ticks"] - before["ticks"]
    return after["lateness_s"][-ticks:] if ticks else []


def spread(values: list[float], *percentiles: float) -> dict[str, float]:
    """Percentiles by name, and the largest value; {} of nothing."""
    ordered = sorted(values)
    if not ordered:
        return {}
    last = len(ordered) - 1
    found = {f"p{p:g}": ordered[round(p / 100 * last)] for p in percentiles}
    return found | {"max": ordered[-1]}
