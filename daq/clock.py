"""The two clocks, and the only place that knows how time passes.

Things about wires (timeouts, staleness, heartbeats) use `monotonic()`: real seconds, which go
on counting while the machine sleeps. Things about cells (step times, integrals, stamps) use a
`LabClock`, which may run faster than real time when every instrument is simulated.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", None)


def monotonic() -> float:
    """Seconds since boot, suspended time included where the system can tell (Linux)."""
    if _BOOTTIME is None:
        return time.monotonic()
    return time.clock_gettime(_BOOTTIME)


def suspended() -> float:
    """Seconds that this machine has slept since boot; 0 where the system cannot tell."""
    return 0.0 if _BOOTTIME is None else time.clock_gettime(_BOOTTIME) - time.monotonic()


def wall() -> float:
    """Unix time as the system has it: it follows NTP, and may jump."""
    return time.time()


class LabClock:
    """Lab time: real time, or `factor` times as fast.

    At factor 1 Unix time is the system's (it follows NTP); otherwise it runs on from the
    moment of construction, so that stamps and durations agree.

    Args:
        factor: lab seconds a real second.
        since_utc_s: where accelerated lab time had got to before; it does not go back to the
            present when the daemon is started again.
    """

    def __init__(
        self,
        factor: float = 1.0,
        *,
        since_utc_s: float = 0.0,
        now: Callable[[], float] = monotonic,
    ) -> None:
        if not factor >= 1.0:
            raise ValueError(f"clock factor must be >= 1, not {factor}")
        self.factor = factor
        self._now = now
        self._start = now()
        self._start_utc = max(time.time(), since_utc_s)

    def at(self, stamp_s: float) -> float:
        """Lab seconds since construction at a `monotonic()` stamp."""
        return (stamp_s - self._start) * self.factor

    def utc(self, stamp_s: float) -> float:
        """Lab Unix time at a `monotonic()` stamp."""
        if self.factor == 1.0:
            return time.time() - (self._now() - stamp_s)
        return self._start_utc + self.at(stamp_s)

    def now(self) -> float:
        """Lab seconds since construction."""
        return self.at(self._now())
