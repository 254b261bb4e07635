"""Courses: what a setpoint follows while its step runs: a power, a resistance, a table."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isfinite

from daq.model import Limits, Setpoint


class Follows(StrEnum):
    """What the values of a course are."""

    CURRENT = "current"  # A, charge positive
    POWER = "power"  # W, charge positive
    RESISTANCE = "resistance"  # ohm; only ever discharges
    VOLTAGE = "voltage"  # V


@dataclass(frozen=True, slots=True)
class Course:
    """Values over the step's time.

    Attributes:
        times_s: rising from 0; one time only for a constant.
        values: one for each time; the first may be nan: from where the cell is.
        linear: straight lines between the values, else each holds until the next.
        rate, target: instead of times, for what goes from the first value at this many units a
            second to there.
        top_V, bottom_V: the setpoint's voltage while charging, and while discharging.
    """

    follows: Follows
    times_s: tuple[float, ...]
    values: tuple[float, ...]
    linear: bool = False
    top_V: float = 0.0
    bottom_V: float = 0.0
    rate: float = 0.0
    target: float = 0.0

    @property
    def is_constant(self) -> bool:
        """Whether it never is over."""
        return not (self.rate or self.times_s[-1])

    def length_s(self, start: float) -> float:
        """When it is over."""
        if self.rate:
            return abs(self.target - self._first(start)) / self.rate
        return self.times_s[-1]

    def at(self, time_s: float, start: float) -> float:
        """Its value at a step time; `start` stands for a first value that is nan."""
        if self.rate:
            return towards(self._first(start), self.target, self.rate * time_s)
        index = bisect_right(self.times_s, time_s) - 1
        value = self.values[index] if index else self._first(start)
        if not self.linear or index + 1 >= len(self.times_s):
            return value
        begin_s, end_s = self.times_s[index], self.times_s[index + 1]
        return value + (self.values[index + 1] - value) * (time_s - begin_s) / (end_s - begin_s)

    def _first(self, start: float) -> float:
        return self.values[0] if isfinite(self.values[0]) else start


def towards(start: float, target: float, way: float) -> float:
    """Where something is that has gone so far, and stops at its target."""
    return min(start + way, target) if target > start else max(start - way, target)


def setpoint_at(
    course: Course, value: float, base: Setpoint, limits: Limits, voltage_V: float
) -> Setpoint:
    """What the cycler is told for one value of a course.

    Args:
        course: what is followed.
        value: of it, now.
        base: the step's setpoint; it caps the currents of a course of voltages.
        limits: of the step; they bound the current that a power asks for.
        voltage_V: of the cell.
    """
    if course.follows is Follows.VOLTAGE:
        return replace(base, voltage_V=value)
    current_A = _current_A(course.follows, value, limits, voltage_V)
    if current_A > 0.0 or (current_A == 0.0 and base.charge_A > 0.0):
        return Setpoint(course.top_V, current_A, 0.0)
    return Setpoint(course.bottom_V, 0.0, -current_A)


def _current_A(follows: Follows, value: float, limits: Limits, voltage_V: float) -> float:
    """Within the step's limits; none at all for a cell that shows no voltage."""
    low, high = limits.current_A
    if follows is Follows.CURRENT:
        return min(max(value, low), high)
    if not voltage_V > 0.0:
        return 0.0
    current_A = value / voltage_V if follows is Follows.POWER else -voltage_V / value
    return min(max(current_A, min(low, 0.0)), max(high, 0.0))
