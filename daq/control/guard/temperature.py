"""T3 T4 P4: what the cell's temperature says beside its limits.

All three need a sensor at the cell and a chamber that is measured besides; a station whose
chamber stands in for the sensor has none of them, and `daq doctor` says so. They run on the
thread that reads the sensor; what the cycler does is read from there, one value at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf, isfinite, nan

from daq.control.guard.output import Output
from daq.control.guard.rule import Caution, valid, valid_degC
from daq.model import Sample, Trip

WINDOW_S = 30.0
LOOK_S = 1.0
"""Between two points of the window; a faster sensor is not looked at more often."""
POINTS = 5
"""Fewer say nothing about a rate: with a slow sensor the window is longer."""
CELL, CHAMBER = 1, 2
WARNS_AT = 0.5
FAST_K_PER_S, FAST_S = 0.5, 3.0
"""Immediately: half of the rate that a standard calls thermal runaway."""
FAST_GAP_S = 5.0
CHAMBER_S = 20.0
"""A cell that is warmed by its chamber takes at least so long for it, or moves as the air does."""
MODEL_ERROR = 1.3
COOLS_S = 1800.0
"""The heat of an earlier, hotter chamber is in a cell for so long."""
AMBIENT_K = 0.3
WARM_K = 1.5
FELL_TO = 0.2
FELL_S = 30.0
REMEMBERS_S = 300.0
SAME_CURRENT = 0.9
"""Less current makes less heat: while it tapers a cell may cool."""
WORKS_C, WORKS_AH = 0.95, 1.0


class Rise:
    """T3: the cell warms faster than its chamber can warm it.

    The rate is the slope of a straight line through the last 30 s, so that noise of a few tenths
    of a kelvin does not trip; a thermal runaway is faster and is seen in 3 s. What the chamber
    can do is no alarm: its own rate, or that of a cell that follows it within 20 s.
    """

    def __init__(self, chamber_degC: Callable[[], float]) -> None:
        self.limit_K_min = inf
        self._chamber_degC = chamber_degC
        self._points: deque[tuple[float, float, float]] = deque()  # lab time, cell, chamber
        self._fast = 0
        self._warned = False
        self.caution: Caution | None = None

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cell's sensor; `caution` is what it would warn of."""
        self.caution = None
        now, degC = sample.time_s, sample.reading.temperature_degC
        points = self._points
        if not valid_degC(degC) or (points and now - points[-1][0] < LOOK_S):
            return None
        points.append((now, degC, self._chamber_degC()))
        while len(points) > POINTS and now - points[1][0] >= WINDOW_S:
            points.popleft()
        return self._runaway() or self._steady()

    def _runaway(self) -> Trip | None:
        now, degC, _ = self._points[-1]
        near = (point for point in reversed(self._points) if now - point[0] <= FAST_GAP_S)
        before = next((point for point in near if now - point[0] >= FAST_S), None)
        rate = (degC - before[1]) / (now - before[0]) if before else 0.0
        # Seen twice: one reading that jumps is a loose contact of the sensor.
        self._fast = self._fast + 1 if rate >= FAST_K_PER_S else 0
        if self._fast < 2 or self.limit_K_min == inf:
            return None
        return Trip("T3", f"the cell warms by {rate:.3g} K/s")

    def _steady(self) -> Trip | None:
        if len(self._points) < POINTS or self._points[-1][0] - self._points[0][0] < WINDOW_S:
            return None
        rate = 60.0 * (self._slope(CELL) - self._by_the_chamber())
        if rate > self.limit_K_min:
            return Trip(
                "T3", f"the cell warms by {rate:.3g} K/min, the limit is {self.limit_K_min:.3g}"
            )
        warns = rate > WARNS_AT * self.limit_K_min
        if warns and not self._warned:
            self.caution = Caution("T3", f"the cell warms by {rate:.3g} K/min")
        self._warned = warns
        return None

    def _slope(self, column: int) -> float:
        """Of the least-squares line through one column of the points, K/s."""
        count = len(self._points)
        mean_s = sum(point[0] for point in self._points) / count
        moment = sum((point[0] - mean_s) * point[column] for point in self._points)
        return moment / sum((point[0] - mean_s) ** 2 for point in self._points)

    def _by_the_chamber(self) -> float:
        """What the chamber explains, K/s; nothing where it does not tell, or is the colder one."""
        its_own = self._slope(CHAMBER)
        colder_K = max(chamber - cell for _, cell, chamber in self._points)
        explained = max(its_own, colder_K / CHAMBER_S, 0.0)
        return MODEL_ERROR * explained if isfinite(its_own) else 0.0


class Excess:
    """T4: the cell is far warmer than its chamber, and was not made so by an earlier setpoint."""

    def __init__(self, output: Output, chamber_degC: Callable[[], float]) -> None:
        self.limit_K = inf
        self._output = output
        self._chamber_degC = chamber_degC
        self._reference_degC = -inf
        self._at_s = nan
        self._count = 0

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cell's sensor."""
        degC, chamber = sample.reading.temperature_degC, self._chamber_degC()
        if not (valid_degC(degC) and valid_degC(chamber)):
            return None
        self._follow(chamber, sample.time_s)
        excess_K = degC - self._reference_degC
        if not self._output.commanded_on or excess_K <= self.limit_K:
            self._count = 0
            return None
        self._count += 1
        if self._count < 2:
            return None
        return Trip("T4", f"the cell is {excess_K:.3g} K warmer than its chamber")

    def _follow(self, chamber_degC: float, time_s: float) -> None:
        """The chamber's temperature, falling no faster than the heat leaves a cell."""
        behind = self._reference_degC - chamber_degC
        if behind > 0.0:
            chamber_degC += behind * max(0.0, 1.0 - (time_s - self._at_s) / COOLS_S)
        self._reference_degC, self._at_s = chamber_degC, time_s


class Attached:
    """P4: a cell that works is warmer than its chamber; a sensor that fell off is not.

    Two ways to see it: the warmth that there was is gone within moments although the current
    still flows; or a cell of an ampere-hour or more has been charged or discharged at 1C for ten
    minutes and is exactly as warm as its chamber.
    """

    def __init__(
        self,
        output: Output,
        chamber_degC: Callable[[], float],
        current_A: Callable[[], float],
    ) -> None:
        self.patience_s = inf
        self.nominal_Ah = inf
        self._output = output
        self._chamber_degC = chamber_degC
        self._current_A = current_A
        self._forget(nan, nan, nan)

    def _forget(self, edge_s: float, chamber_degC: float, now: float) -> None:
        """What was seen so far says nothing about what is seen from now on."""
        self._edge_s, self._chamber_was_degC, self._at_s = edge_s, chamber_degC, now
        self._warmth_K = self._warm_A = 0.0
        self._cold_since_s = self._ambient_since_s = inf

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cell's sensor."""
        degC, chamber = sample.reading.temperature_degC, self._chamber_degC()
        current_A, now = abs(self._current_A()), sample.time_s
        if not (valid_degC(degC) and valid_degC(chamber)) or self.patience_s == inf:
            return None
        self._begin_anew(chamber, now)
        if not (self._output.commanded_on and valid(current_A)):
            return None
        excess_K = degC - chamber
        self._remember(excess_K, current_A, now)
        return self._fell_off(excess_K, current_A, now) or self._never_warm(
            excess_K, current_A, now
        )

    def _begin_anew(self, chamber_degC: float, now: float) -> None:
        """At a step edge the heat changes, and while the chamber moves nothing is steady."""
        edge_s = self._output.edge_s  # another thread's: read once, or an edge would go unseen
        steady = abs(chamber_degC - self._chamber_was_degC) <= AMBIENT_K
        if edge_s != self._edge_s or not steady:
            self._forget(edge_s, chamber_degC, now)

    def _remember(self, excess_K: float, current_A: float, now: float) -> None:
        """The warmth of the last minutes: entropy cools a cell slowly, a fallen sensor at once."""
        faded_K = self._warmth_K * max(0.0, 1.0 - (now - self._at_s) / REMEMBERS_S)
        if excess_K >= faded_K:
            self._warm_A = current_A
        self._warmth_K, self._at_s = max(faded_K, excess_K), now

    def _fell_off(self, excess_K: float, current_A: float, now: float) -> Trip | None:
        warm = self._warmth_K >= WARM_K and current_A >= SAME_CURRENT * self._warm_A
        if not warm or excess_K > FELL_TO * self._warmth_K:
            self._cold_since_s = inf
            return None
        self._cold_since_s = min(self._cold_since_s, now)
        if now - self._cold_since_s < FELL_S:
            return None
        return Trip(
            "P4", f"the sensor was {self._warmth_K:.3g} K above the chamber and reads it now"
        )

    def _never_warm(self, excess_K: float, current_A: float, now: float) -> Trip | None:
        works = self.nominal_Ah >= WORKS_AH and current_A >= WORKS_C * self.nominal_Ah
        if not works or abs(excess_K) > AMBIENT_K:
            self._ambient_since_s = inf
            return None
        self._ambient_since_s = min(self._ambient_since_s, now)
        if now - self._ambient_since_s < self.patience_s:
            return None
        return Trip("P4", "the sensor reads the chamber's temperature while the cell works")
