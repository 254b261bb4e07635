"""What a step remembers of its own samples: slopes, the highest voltage, how long it held."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf, isfinite, nan
from typing import Any

from daq.protocol.condition import Condition, Quantity
from daq.protocol.program import Observation

POINTS = 32
"""Of a window: enough that the noise of single readings averages out, few enough to sum often."""
_FULL = 0.97  # of a window: the oldest point kept may lie a little inside it


class Slope:
    """The slope of a quantity over its last seconds: least squares through thinned-out samples.

    Args:
        over_s: window, lab seconds.
    """

    def __init__(self, over_s: float) -> None:
        self._over_s = over_s
        self._points: deque[tuple[float, float]] = deque()

    def add(self, time_s: float, value: float) -> None:
        """Take a sample; what is not measured is left out."""
        points = self._points
        if not isfinite(value) or (points and time_s - points[-1][0] < self._over_s / POINTS):
            return
        points.append((time_s, value))
        while len(points) > 2 and time_s - points[1][0] >= self._over_s:
            points.popleft()

    def per_s(self) -> float:
        """Unit of the quantity per second; nan until the window is full."""
        points = self._points
        if len(points) < 2 or points[-1][0] - points[0][0] < _FULL * self._over_s:
            return nan
        count = len(points)
        mean_s = sum(time_s for time_s, _ in points) / count
        mean = sum(value for _, value in points) / count
        above = sum((time_s - mean_s) * (value - mean) for time_s, value in points)
        below = sum((time_s - mean_s) ** 2 for time_s, _ in points)
        return above / below

    def snapshot(self) -> list[list[float]]:
        """JSON-able state."""
        return [list(point) for point in self._points]

    def load(self, snapshot: Iterable[Iterable[float]]) -> None:
        """Take up what `snapshot` said."""
        self._points = deque((time_s, value) for time_s, value in snapshot)


class Trends:
    """Everything that the conditions of one step look back on.

    Attributes:
        highest_V: since the step began, or went on.
        since_s: since when each condition with a `for` has held, in their order; nan: it does not.
    """

    def __init__(self, until: Iterable[Condition]) -> None:
        every = [part for condition in until for part in condition.every()]
        self._voltage = _slopes(every, Quantity.SLOPE)
        self._temperature = _slopes(every, Quantity.WARMING)
        self._holds = sum(part.for_s > 0.0 for part in every)
        self._drops = any(part.quantity is Quantity.DROP for part in every)
        self.wanted = bool(self._voltage or self._temperature or self._drops or self._holds)
        self.highest_V = -inf
        self.since_s = [nan] * self._holds
        self._given = 0

    def begin(self) -> None:
        """Forget: the step begins or goes on after a pause."""
        self.highest_V = -inf
        self.since_s[:] = [nan] * self._holds  # the checks hold on to this very list
        for slope in (*self._voltage.values(), *self._temperature.values()):
            slope.load(())

    def observe(self, now: Observation) -> None:
        """Take one sample."""
        if now.voltage_V > self.highest_V:
            self.highest_V = now.voltage_V
        for slope in self._voltage.values():
            slope.add(now.time_s, now.voltage_V)
        for slope in self._temperature.values():
            slope.add(now.time_s, now.temperature_degC)

    def slope(self, condition: Condition) -> Slope:
        """Of the window that a condition looks at."""
        of = self._voltage if condition.quantity is Quantity.SLOPE else self._temperature
        return of[condition.over_s]

    def next_hold(self) -> int:
        """A place in `since_s`, for the condition that asks."""
        self._given += 1
        return self._given - 1

    def snapshot(self) -> dict[str, Any] | None:
        """JSON-able state; nothing where nothing is looked back on."""
        if not self.wanted:
            return None
        return {
            "highest_V": self.highest_V if isfinite(self.highest_V) else None,
            "since_s": [value if value == value else None for value in self.since_s],
            "voltage": [slope.snapshot() for slope in self._voltage.values()],
            "temperature": [slope.snapshot() for slope in self._temperature.values()],
        }

    def load(self, snapshot: dict[str, Any] | None) -> None:
        """Take up what `snapshot` said."""
        if snapshot is None:
            return
        highest_V = snapshot["highest_V"]
        self.highest_V = -inf if highest_V is None else highest_V
        self.since_s[:] = [nan if value is None else value for value in snapshot["since_s"]]
        for slopes, name in ((self._voltage, "voltage"), (self._temperature, "temperature")):
            for slope, points in zip(slopes.values(), snapshot[name], strict=True):
                slope.load(points)


def _slopes(conditions: Iterable[Condition], quantity: Quantity) -> dict[float, Slope]:
    windows = (condition.over_s for condition in conditions if condition.quantity is quantity)
    return {over_s: Slope(over_s) for over_s in windows}
