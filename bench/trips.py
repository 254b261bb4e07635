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
GIVE_UP_S = 5.0
"""OFF that has not come by then does not come; until then it is late, and counted as it is."""
AFTER_CLEAR_S = 2.2
"""Nothing starts in the first two seconds after a trip was cleared."""
AT_ONCE = 48
OFF = "OUTP 0"

Tape = list[tuple[float, str, str]]
"""(stamp, "heard" or "said", text) of a simulated line."""
NO_OFF = "no OFF after a reading beyond the limit"


@dataclass(slots=True)
class Trips:
    """The trips of one run.

    Attributes:
        reactions_s: from the reply to OFF, one per trip.
        unseen: pushes that fell between two readings, or found the output OFF already: no trip.
        failed: what went otherwise, in words.
    """

    reactions_s: list[float] = field(default_factory=list[float])
    unseen: int = 0
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
        tape = self._tape(cycler, began)
        while unanswered(tape, began) and time.monotonic() < began + GIVE_UP_S:
            time.sleep(LOOK_AFTER_S)
            tape = self._tape(cycler, began)
        self._note(cycler, began, tape)
        self._go_on(files.station(cycler))

    def _tape(self, cycler: str, began: float) -> Tape:
        with self._lock:
            return self._daemon.bench.tape(cycler, since=began - 1.0)

    def _note(self, cycler: str, began: float, tape: Tape) -> None:
        reaction_s = reaction(tape, began)
        if reaction_s is not None:
            self.trips.reactions_s.append(reaction_s)
        elif unanswered(tape, began):
            self.trips.failed.append(f"{cycler}: {NO_OFF}: {tape}")
        else:
            self.trips.unseen += 1

    def _go_on(self, station: str) -> None:
        try:
            self._daemon.call("clear", station, reason="bench")
            time.sleep(AFTER_CLEAR_S)
            self._daemon.call("resume", station)
        except DaqError as error:
            self.trips.failed.append(str(error))


def reaction(tape: Tape, began: float) -> float | None:
    """Seconds from the first reply beyond the limit after `began` to the OFF after it."""
    left_at = _left_at(tape, began)
    if left_at is None:
        return None
    offs = (at for at, way, text in tape if way == "heard" and at >= left_at and _is_off(text))
    off_at = next(offs, None)
    return None if off_at is None else off_at - left_at


def unanswered(tape: Tape, began: float) -> bool:
    """Whether a reading beyond the limit has left and no OFF has come since."""
    return _left_at(tape, began) is not None and reaction(tape, began) is None


def _left_at(tape: Tape, began: float) -> float | None:
    """When the first reading left that was beyond the limit while the output was ON."""
    question = ""
    for stamp, way, text in tape:
        if way == "heard":
            question = text
        elif stamp >= began and _beyond(question, text):
            return stamp
    return None


def _is_off(text: str) -> bool:
    return text.startswith(OFF)


def _beyond(question: str, reply: str) -> bool:
    """Whether a reply says ON and a voltage beyond the limit; the driver asks in two forms."""
    names = (unit.strip(":\n").upper() for unit in question.split(";"))
    values = dict(zip(names, reply.strip().split(";"), strict=False))
    return values.get("OUTP?") == "1" and float(values.get("MEAS:VOLT?", 0.0)) > files.LIMIT_V
