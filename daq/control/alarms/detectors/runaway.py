"""A cell that warms up faster than its chamber: what comes before a runaway."""

from __future__ import annotations

from collections import deque
from statistics import median

WINDOW_S = 60.0
END_S = 15.0
"""The rate is that between the medians of the first and the last so many seconds."""
LEAST_LOOKS = 3
FOR_S = 30.0
"""So long above the limit before it is told, so long below it before it is over."""


class Runaway:
    """dT/dt of the cell less that of its chamber.

    Args:
        limit_K_min: kelvin per minute.
    """

    def __init__(self, limit_K_min: float) -> None:
        self._limit = limit_K_min
        self._looks: deque[tuple[float, float]] = deque()
        self._since_s: float | None = None
        self._wrong = ""

    def see(self, time_s: float, cell_degC: float, chamber_degC: float | None) -> str:
        """One look; without a chamber of its own the cell's temperature is taken alone."""
        if self._looks and time_s <= self._looks[-1][0]:
            return self._wrong
        self._looks.append((time_s, cell_degC - (chamber_degC or 0.0)))
        while time_s - self._looks[0][0] > WINDOW_S:
            self._looks.popleft()
        rate = self._rate()
        if rate is None or (rate > self._limit) == bool(self._wrong):
            self._since_s = None
        elif self._since_s is None:
            self._since_s = time_s
        elif time_s - self._since_s >= FOR_S:
            self._since_s = None
            self._wrong = "" if self._wrong else self._text(rate, cell_degC)
        return self._wrong

    def _text(self, rate: float, cell_degC: float) -> str:
        return (
            f"the cell, at {cell_degC:.1f} degC, warms up by {rate:.2f} K/min more than its "
            f"chamber; {self._limit:g} K/min is the limit"
        )

    def _rate(self) -> float | None:
        began_s, now_s = self._looks[0][0], self._looks[-1][0]
        if now_s - began_s < WINDOW_S - END_S:
            return None
        first = [(at, kelvin) for at, kelvin in self._looks if at - began_s <= END_S]
        last = [(at, kelvin) for at, kelvin in self._looks if now_s - at <= END_S]
        if min(len(first), len(last)) < LEAST_LOOKS:
            return None
        apart_s = median(at for at, _ in last) - median(at for at, _ in first)
        return 60.0 * (median(k for _, k in last) - median(k for _, k in first)) / apart_s
