"""A rest in which a cell loses voltage faster than it should, or than it used to."""

from __future__ import annotations

from collections import deque
from statistics import median

RELAXED_S = 3600.0
"""A rest is judged once, after so long; before that a sound cell relaxes."""
OVER_S = 900.0
"""The slope is taken over the last quarter of an hour of it."""
LEAST_LOOKS = 6
HISTORY, LEAST_HISTORY = 20, 3
TIMES = 3.0
REST_C = 0.002
"""Below this multiple of the nominal capacity per hour no current flows."""


class SelfDischarge:
    """A soft short: dV/dt at rest out of the band of the cell's own rests, or of all sound cells.

    Rests after a charge and after a discharge relax to different sides and have a history each.

    Args:
        fall_V: most that a sound cell loses in an hour.
        nominal_Ah: of the cell.
    """

    def __init__(self, fall_V: float, nominal_Ah: float) -> None:
        self._fall_V = fall_V
        self._rest_A = REST_C * nominal_Ah
        self._history: dict[bool, deque[float]] = {}
        self._charged = False
        self._began_s: float | None = None
        self._judged = False
        self._looks: deque[tuple[float, float]] = deque(maxlen=2000)

    def see(self, time_s: float, voltage_V: float, current_A: float) -> str:
        """One look at the cell, under any current."""
        if abs(current_A) > self._rest_A:
            self._charged, self._began_s = current_A > 0.0, None
            return ""
        if self._began_s is None:
            self._began_s, self._judged = time_s, False
            self._looks.clear()
        rested_s = time_s - self._began_s
        if self._judged or rested_s < RELAXED_S - OVER_S:
            return ""
        self._looks.append((time_s, voltage_V))
        if rested_s < RELAXED_S:
            return ""
        self._judged = True
        return self._judge() if len(self._looks) >= LEAST_LOOKS else ""

    def _judge(self) -> str:
        per_hour_V = self._slope_V()
        past = self._history.setdefault(self._charged, deque(maxlen=HISTORY))
        usual_V, band_V = self._usual(past)
        past.append(per_hour_V)
        if per_hour_V >= usual_V - band_V:
            return ""
        return (
            f"at rest the voltage falls by {-1e3 * per_hour_V:.3g} mV in an hour; "
            f"more than {1e3 * (band_V - usual_V):.3g} mV is not usual"
        )

    def _usual(self, past: deque[float]) -> tuple[float, float]:
        if len(past) < LEAST_HISTORY:
            return 0.0, self._fall_V
        usual_V = min(median(past), 0.0)
        spread_V = median(abs(value - median(past)) for value in past)
        return usual_V, min(max(TIMES * spread_V, 0.5 * self._fall_V), self._fall_V)

    def _slope_V(self) -> float:
        """Volts per hour between the medians of both ends: one noisy look moves neither."""
        looks = list(self._looks)
        third = max(1, len(looks) // 3)
        first, last = looks[:third], looks[-third:]
        apart_s = median(at for at, _ in last) - median(at for at, _ in first)
        fell_V = median(volt for _, volt in last) - median(volt for _, volt in first)
        return 3600.0 * fell_V / apart_s
