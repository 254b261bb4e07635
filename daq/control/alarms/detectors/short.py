"""A sudden fall of the voltage that no change of the current explains."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

LONGEST_GAP_S = 15.0
"""Between two looks; over a longer gap a steep but sound curve falls as far."""
TREND = 3.0
"""A fall so many times as large as the one before it is sudden; the knee at the end is not."""
SAME_CURRENT = 0.01
"""Of the current, and of the nominal capacity per hour: within it the current is the same."""


@dataclass(frozen=True, slots=True)
class _Look:
    time_s: float
    voltage_V: float
    current_A: float


class InternalShort:
    """An internal short: the voltage steps down by itself and stays down.

    A single low reading is noise. It is a short when the next look, under the same current,
    still sees at least half of the fall.

    Args:
        fall_V: more than this, at once.
        nominal_Ah: of the cell.
    """

    def __init__(self, fall_V: float, nominal_Ah: float) -> None:
        self._fall_V = fall_V
        self._slack_A = SAME_CURRENT * nominal_Ah
        self._before: _Look | None = None
        self._slope_V = inf  # the last change under the same current, as a magnitude
        self._suspect: _Look | None = None  # the look before a fall
        self._seen_V = 0.0

    def see(self, time_s: float, voltage_V: float, current_A: float) -> str:
        """One look at the cell, under any current."""
        now, before = _Look(time_s, voltage_V, current_A), self._before
        if before and time_s <= before.time_s:
            return ""
        self._before = now
        if before is None or not self._is_steady(before, now):
            self._slope_V, self._suspect = inf, None  # a step of the current: settle anew
            return ""
        if self._suspect:
            return self._confirm(self._suspect, now)
        fall_V = before.voltage_V - voltage_V
        if fall_V > self._fall_V + TREND * self._slope_V:
            self._suspect, self._seen_V = before, fall_V
            return ""
        self._slope_V = abs(fall_V)
        return ""

    def _is_steady(self, before: _Look, now: _Look) -> bool:
        same_A = max(self._slack_A, SAME_CURRENT * abs(before.current_A))
        near = now.time_s - before.time_s <= LONGEST_GAP_S
        return near and abs(now.current_A - before.current_A) <= same_A

    def _confirm(self, suspect: _Look, now: _Look) -> str:
        self._suspect, self._slope_V = None, inf
        if suspect.voltage_V - now.voltage_V < 0.5 * self._seen_V:
            return ""
        return (
            f"the voltage fell by {1e3 * self._seen_V:.3g} mV at once, from "
            f"{suspect.voltage_V:.4f} V, at {now.current_A:.4g} A, and stayed down"
        )
