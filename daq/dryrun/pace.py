"""How far a program may be played at once: fine where something happens, coarse where nothing does.

Ends are not foreseen but found: whoever plays goes back and halves the way where a step ended too
far beyond what ended it, or where the current moved too much. Only what the time alone decides is
foreseen, and met exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from math import inf
from typing import NamedTuple

from daq.protocol.condition import LOOKS_BACK, Condition, Quantity
from daq.protocol.course import Course, Follows
from daq.protocol.program import Observation, Step

FIRST_S = 1e-3
"""After a switching; the first point of a step shows the cell before anything has moved."""
LEAST_S = 2e-3
"""No end is looked for more closely than this."""
GROWTH = 3.0
END_V, END_PART, CURRENT_PART = 3e-4, 5e-4, 0.01
"""How far beyond its end a step may go: in volt, and as a part of its time or its current; and how
much of its largest current may change at once."""
_PARTS = 8  # of the window of a slope, and of a time for which something is to hold
_RAMP_V = 1e-3
_POINTS = 2000  # of a ramp, at most
_SOAK_S = 30.0
_WARMER_K = 0.1
_ROUNDING_S = 1e-6


class Reach(NamedTuple):
    """How far to play; `exact`: to the moment that the time alone decides."""

    seconds: float
    exact: bool


class Pace:
    """The pace of one execution of a step."""

    def __init__(self, step: Step, sweep_s: float) -> None:
        self._step = step
        self._most_s = _most_s(step)
        self._times_s = sorted(_moments(step, sweep_s))
        self._next_s = FIRST_S

    def switched(self) -> None:
        """The setpoint has jumped: begin finely again."""
        self._next_s = FIRST_S

    def slower(self, seconds: float) -> None:
        """So much was too much."""
        self._next_s = max(seconds, LEAST_S)

    def reach(self, step_time_s: float, longest_s: float) -> Reach:
        """From here, where the step's clock shows `step_time_s`."""
        seconds = min(self._next_s, self._most_s, longest_s)
        self._next_s = GROWTH * seconds
        left_s = self._left_s(step_time_s)
        return Reach(left_s, True) if left_s <= seconds else Reach(seconds, False)

    def _left_s(self, step_time_s: float) -> float:
        index = bisect_right(self._times_s, step_time_s + _ROUNDING_S / 2)
        foreseen = self._times_s[index] if index < len(self._times_s) else inf
        left_s = foreseen - step_time_s
        # The last bit of a long time may be missing, and the step would go on for one.
        return left_s + _ROUNDING_S / 4


def _most_s(step: Step) -> float:
    """What the conditions and the course of a step ask for."""
    every = [part for condition in step.until for part in condition.every()]
    windows = [part.over_s for part in every if part.quantity in LOOKS_BACK and part.over_s]
    windows += [part.for_s for part in every if part.for_s]
    found = [window / _PARTS for window in windows]
    if step.course is not None:
        found.append(_course_s(step.course))
    if step.soak is not None:
        found.append(_WARMER_K / step.soak.ramp_K_s if step.soak.ramp_K_s else _SOAK_S)
    return min(found, default=inf)


def _course_s(course: Course) -> float:
    if course.follows is Follows.VOLTAGE:
        return _RAMP_V / course.rate if course.rate else inf
    return course.times_s[-1] / _POINTS if course.linear else inf


def _moments(step: Step, sweep_s: float) -> Iterable[float]:
    """Step times at which something happens whatever the cell does."""
    yield step.at_most_s
    yield from _times(step.until)
    if step.course is not None:
        yield from step.course.times_s[1:]
    if step.spectrum is not None:
        yield sweep_s


def _times(conditions: Iterable[Condition]) -> Iterable[float]:
    for condition in conditions:
        for part in condition.every():
            if part.quantity is Quantity.TIME and part.reference is None:
                yield part.value
            if part.after_s:
                yield part.after_s


def too_far(before: Observation, now: Observation, seconds: float, most_A: float) -> bool:
    """Whether the current has moved too much for the charge between two points to be exact."""
    if seconds <= 10 * LEAST_S:
        return False
    return abs(now.current_A - before.current_A) > CURRENT_PART * most_A


def overshot(
    before: Observation, now: Observation, seconds: float, step_time_s: float, most_A: float
) -> bool:
    """Whether a step went too far beyond its end."""
    if seconds <= LEAST_S:
        return False
    return (
        abs(now.voltage_V - before.voltage_V) > END_V
        or seconds > max(END_PART * step_time_s, LEAST_S)
        or abs(now.current_A - before.current_A) > END_PART * most_A
    )
