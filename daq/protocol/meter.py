"""Time, charge and energy of a run and of its present step, from the real stamps."""

from __future__ import annotations

from math import nan
from operator import attrgetter
from typing import Any

from daq.model import Counters
from daq.protocol.program import Observation

_STAMPS = ("time_s", "start_s", "began_s", "stopped_s", "cycle_s")
_LAST = ("_stamp_s", "_current_A", "_power_W")
_TOTALS = ("_charge_C", "_discharge_C", "_charge_J", "_discharge_J")
_MARKS = ("_mark_charge_C", "_mark_discharge_C", "_mark_charge_J", "_mark_discharge_J")
_CYCLE_MARKS = ("_cycle_charge_C", "_cycle_discharge_C", "_cycle_charge_J", "_cycle_discharge_J")
_SLOTS = _STAMPS + _LAST + _TOTALS + _MARKS + _CYCLE_MARKS
_values = attrgetter(*_SLOTS)  # one call: a snapshot is taken with every record


class Meter:
    """Trapezoids over every observation, split by the sign of the current.

    The totals never reset; a step's share is the difference to the mark set when it began, and so
    is a cycle's. That costs nothing per sample, and the steps of a run add up to the run.

    Attributes:
        time_s: stamp of the last observation; nan before the first.
        start_s: stamp at which test time began.
        began_s: stamp from which the step's clock counts, moved on by every stop of it.
        stopped_s: stamp at which the step's clock stopped; nan while it runs.
        cycle_s: stamp at which the cycle began.
    """

    __slots__ = _SLOTS

    def __init__(self) -> None:
        self.time_s = self.start_s = self.began_s = self.stopped_s = self.cycle_s = nan
        self._stamp_s = self._current_A = self._power_W = nan
        self._charge_C = self._discharge_C = self._charge_J = self._discharge_J = 0.0
        self._mark_charge_C = self._mark_discharge_C = 0.0
        self._mark_charge_J = self._mark_discharge_J = 0.0
        self._cycle_charge_C = self._cycle_discharge_C = 0.0
        self._cycle_charge_J = self._cycle_discharge_J = 0.0

    def start(self, now: Observation) -> None:
        """Begin the run's clock with its first observation.

        Raises:
            ValueError: the stamp is not a number.
        """
        self.time_s = self.start_s = self.began_s = self.stopped_s = now.time_s
        self.cycle_s = now.time_s
        self.observe(now)

    def observe(self, now: Observation) -> None:
        """Count up to `now`.

        An observation without voltage or current does not count and does not move the previous
        stamp: the interval is integrated when the next valid one arrives.

        Raises:
            ValueError: time went backwards, or is not a number.
        """
        time_s = now.time_s
        if not time_s >= self.time_s:
            raise ValueError(f"time went from {self.time_s} s back to {time_s} s")
        self.time_s = time_s
        current = now.current_A
        power = now.voltage_V * current
        if power - power != 0.0:  # one comparison finds nan and infinity in both factors
            return
        half = 0.5 * (time_s - self._stamp_s)
        if self._current_A != self._current_A:  # it has only just been switched on
            self._current_A, self._power_W = current, power
        if half > 0.0:  # not before there is a previous stamp: nan is not greater
            self._add(half, current, power)
        self._stamp_s = time_s
        self._current_A = current
        self._power_W = power

    def _add(self, half: float, current: float, power: float) -> None:
        before = self._current_A
        if before >= 0.0 and current >= 0.0:
            self._charge_C += half * (before + current)
            self._charge_J += half * (self._power_W + power)
        elif before <= 0.0 and current <= 0.0:
            self._discharge_C -= half * (before + current)
            self._discharge_J -= half * (self._power_W + power)
        else:
            self._add_crossing(half, current, power)

    def _add_crossing(self, half: float, current: float, power: float) -> None:
        """Two triangles: current (and with it power) is zero where the straight line crosses."""
        first = half * (self._current_A / (self._current_A - current))
        self._add_triangle(first, self._current_A, self._power_W)
        self._add_triangle(half - first, current, power)

    def _add_triangle(self, half: float, current: float, power: float) -> None:
        if current > 0.0:
            self._charge_C += half * current
            self._charge_J += half * power
        else:
            self._discharge_C -= half * current
            self._discharge_J -= half * power

    def begin_step(self) -> None:
        """Mark the totals, and put the step's clock to zero, stopped."""
        self.began_s = self.stopped_s = self.time_s
        for mark, total in zip(_MARKS, _TOTALS, strict=True):
            setattr(self, mark, getattr(self, total))

    def begin_cycle(self) -> None:
        """Mark the totals for a cycle."""
        self.cycle_s = self.time_s
        for mark, total in zip(_CYCLE_MARKS, _TOTALS, strict=True):
            setattr(self, mark, getattr(self, total))

    def stop_clock(self) -> None:
        """Stop the step's clock (test time goes on)."""
        if self.stopped_s != self.stopped_s:
            self.stopped_s = self.time_s

    def run_clock(self) -> None:
        """Let the step's clock go on from where it stopped."""
        if self.stopped_s == self.stopped_s:
            self.began_s += self.time_s - self.stopped_s
            self.stopped_s = nan

    def energised(self, time_s: float) -> None:
        """The output went on between the last observation and the next: the step begins there.

        Nothing flowed before, and after it what the next observation shows.
        """
        if not self.time_s <= time_s or self.stopped_s == self.stopped_s:
            return
        self.began_s += time_s - self.time_s
        self._stamp_s = time_s
        self._current_A = self._power_W = nan

    def break_off(self) -> None:
        """Stop the step's clock, and leave out the stretch up to the next observation."""
        self.stop_clock()
        self._stamp_s = nan

    def step_time_at(self, time_s: float) -> float:
        """What the step's clock shows at a stamp, s; 0 for one from before it was energised."""
        shown_s = time_s if self.stopped_s != self.stopped_s else self.stopped_s
        return max(0.0, shown_s - self.began_s)

    @property
    def step_charge_C(self) -> float:
        """Net charge that the step has moved, A s; negative when it discharged."""
        return (self._charge_C - self._mark_charge_C) - (self._discharge_C - self._mark_discharge_C)

    @property
    def step_energy_J(self) -> float:
        """Net energy that the step has moved, W s; negative when it discharged."""
        return (self._charge_J - self._mark_charge_J) - (self._discharge_J - self._mark_discharge_J)

    @property
    def net_C(self) -> float:
        """Net charge that the run has moved, A s; negative when it discharged."""
        return self._charge_C - self._discharge_C

    @property
    def counters(self) -> Counters:
        """Charge and energy of the run."""
        return Counters(
            self._charge_C / 3600.0,
            self._discharge_C / 3600.0,
            self._charge_J / 3600.0,
            self._discharge_J / 3600.0,
        )

    @property
    def step_counters(self) -> Counters:
        """Charge and energy of the present step."""
        return Counters(
            (self._charge_C - self._mark_charge_C) / 3600.0,
            (self._discharge_C - self._mark_discharge_C) / 3600.0,
            (self._charge_J - self._mark_charge_J) / 3600.0,
            (self._discharge_J - self._mark_discharge_J) / 3600.0,
        )

    @property
    def cycle_counters(self) -> Counters:
        """Charge and energy of the present cycle."""
        return Counters(
            (self._charge_C - self._cycle_charge_C) / 3600.0,
            (self._discharge_C - self._cycle_discharge_C) / 3600.0,
            (self._charge_J - self._cycle_charge_J) / 3600.0,
            (self._discharge_J - self._cycle_discharge_J) / 3600.0,
        )

    def snapshot(self) -> dict[str, Any]:
        """Every number, with None for nan, which JSON does not know."""
        return {
            name: value if value == value else None
            for name, value in zip(self.__slots__, _values(self), strict=True)
        }

    @classmethod
    def restore(cls, snapshot: dict[str, Any]) -> Meter:
        """The meter that `snapshot` was taken of, bit for bit."""
        meter = cls()
        for name in cls.__slots__:
            value = snapshot[name]
            setattr(meter, name, nan if value is None else value)
        return meter
