"""The two clocks of a simulated bench.

Physics and everything inside an instrument (relay time, sweep duration, chamber lag) runs on
bench time, which may be faster than real time. Communication (an instrument's I/O watchdog, a
fault on the line) runs on real time, because the daemon that polls the instrument does.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What a simulated instrument may know about time."""

    @property
    def factor(self) -> float:
        """Bench seconds that pass in one real second."""
        ...

    def now(self) -> float:
        """Bench time in seconds; starts at 0."""
        ...

    def real(self) -> float:
        """Real monotonic time in seconds, comparable between the processes of one machine."""
        ...


class BenchClock:
    """Bench time as a multiple of the machine's monotonic clock."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self._start = time.monotonic()

    def now(self) -> float:
        """Bench time in seconds since the clock was made."""
        return (time.monotonic() - self._start) * self.factor

    def real(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to, for tests."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self._now = 0.0
        self._real = 0.0

    def now(self) -> float:
        """Bench time in seconds."""
        return self._now

    def real(self) -> float:
        """Real time in seconds."""
        return self._real

    def advance(self, dt: float) -> None:
        """Let `dt` bench seconds pass, and with them `dt / factor` real ones."""
        self._now += dt
        self._real += dt / self.factor
