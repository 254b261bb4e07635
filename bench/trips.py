"""Provokes trips while everything runs, and measures on the simulated instrument's own side.

A reading is pushed over the limit on its way out. The tape of the simulated line holds the moment
at which the reply with that reading left, and the moment at which the next OFF arrived: between
them lies everything that safety depends on. Then the trip is cleared and the run resumed, so that
the next one finds a bench on which everything runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

from bench import files
from bench.daemon import Daemon
from daq.errors import DaqError

PUSHED_FOR_S = 0.25
"""Longer than two periods: at least one reading is pushed."""
LOOK_AFTER_S = 0.4
AFTER_CLEAR_S = 2.2
"""Nothing starts in the first two seconds after a trip was cleared."""
AT_ONCE = 48
OFF = "OUTP 0"
NO_OFF = "no OFF after a reading beyond the limit"


@dataclass(slots=True)
class Trips:
    """The trips of one run.

    Attributes:
        reactions_s: from the reply to OFF, one per trip.
        failed: what went otherwise, in words.
    """

    reactions_s: list[float] = field(default_factory=list[float])
    failed: list[str] = field(default_factory=list[str])


class Provoker:
    """Trips one station after the other.

    Args:
        daemon: with a run at every station.
        rate_hz: trips a second, on all stations together.
        cyclers: whose stations; all by default.
    """

    def __init__(
        self, daemon: Daemon, rate_hz: float, *, cyclers: Sequence[str] | None = None
    ) -> None:
        self.trips = Trips()
        self._daemon = daemon
        self._rate_hz = rate_hz
        self._cyclers = cyclers or daemon.cyclers
        self._lock = Lock()  # the bench has one control connection

    def run(self, seconds: float) -> None:
        """Provoke for so long; returns when all stations run again."""
        count = int(seconds * self._rate_hz)
        began = time.monotonic()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            jobs: list[Future[None]] = []
            for number in range(count):
                time.sleep(max(0.0, began + number / self._rate_hz - time.monotonic()))
                cycler = self._cyclers[number % len(self._cyclers)]
                jobs.append(pool.submit(self._provoke, cycler))
        for job in jobs:
            job.result()
        time.sleep(max(0.0, began + seconds - time.monotonic()))

    def _provoke(self, cycler: str) -> None:
        began = time.monotonic()
        with self._lock:
            self._daemon.bench.fault(
                cycler, "offset", quantity="voltage_V", by=files.PUSH_V, lasts=PUSHED_FOR_S
            )
        time.sleep(LOOK_AFTER_S)
        with self._lock:
            tape = self._daemon.bench.tape(cycler, since=began - 1.0)
        self._note(cycler, began, tape)
        self._go_on(files.station(cycler))

    def _note(self, cycler: str, began: float, tape: list[tuple[float, str, str]]) -> None:
        reaction_s = reaction(tape, began)
        if reaction_s is None:
            self.trips.failed.append(f"{cycler}: {NO_OFF}")
        else:
            self.trips.reactions_s.append(reaction_s)

    def _go_on(self, station: str) -> None:
        try:
            self._daemon.call("clear", station, reason="bench")
            time.sleep(AFTER_CLEAR_S)
            self._daemon.call("resume", station)
        except DaqError as error:
            self.trips.failed.append(str(error))


def reaction(tape: list[tuple[float, str, str]], began: float) -> float | None:
    """Seconds from the first reply beyond the limit after `began` to the OFF after it."""
    question, left_at = "", None
    for stamp, way, text in tape:
        if way == "heard":
            if left_at is not None and text.startswith(OFF):
                return stamp - left_at
            question = text
        elif left_at is None and stamp >= began and _voltage(question, text) > files.LIMIT_V:
            left_at = stamp
    return None


def _voltage(question: str, reply: str) -> float:
    """The voltage in a reply; the driver asks for it in two forms."""
    places = [unit.strip(":\n").upper() for unit in question.split(";")]
    return float(reply.split(";")[places.index("MEAS:VOLT?")]) if "MEAS:VOLT?" in places else 0.0
