"""How fast a cell loses capacity, cycle by cycle, judged by a line that outliers do not bend."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import combinations
from statistics import median

LEAST, MOST = 10, 30
"""Fewer capacities say nothing; older ones than the last so many are history."""
WORTH = 0.01
"""A loss below this share of the capacity is not worth a word, whatever its slope."""


class Fade:
    """Capacity fade of one step of a program that repeats: like is compared with like.

    A rate test that lowers its C-rate from step to step has a series for each step and alarms
    nobody. The slope is Theil-Sen's: the median of the slopes of all pairs, so that neither a
    cycle that was cut short nor a check-up among ordinary cycles bends it.

    Args:
        limit: share of the capacity that may be lost in a cycle.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._points: deque[tuple[float, float]] = deque(maxlen=MOST)

    def see(self, cycle: int, capacity_Ah: float) -> str:
        """One discharge of this step, to its end; what is wrong as of now."""
        if self._points and cycle <= self._points[-1][0]:  # a program that does not count cycles
            cycle = int(self._points[-1][0]) + 1
        self._points.append((float(cycle), capacity_Ah))
        if len(self._points) < LEAST:
            return ""
        points = list(self._points)
        capacity_Ah = median(capacity for _, capacity in points)
        if capacity_Ah <= 0.0:
            return ""
        loss = -theil_sen(points) / capacity_Ah
        lost = loss * (points[-1][0] - points[0][0])
        if loss <= self._limit or lost < WORTH:
            return ""
        return (
            f"{100.0 * loss:.3g} % of its capacity is lost in a cycle, over the last "
            f"{len(points)} discharges; {100.0 * self._limit:.3g} % is the limit"
        )


def theil_sen(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes of all pairs."""
    return median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))
