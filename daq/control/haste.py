"""How often a cycler is read while a step asks for more than the period of its bus.

A step asks by its recording rule, for as long as that wants it (the first seconds of a pulse), and
by a profile whose values change faster. Only in real time: where the lab's clock is accelerated,
hours lie between two samples, however often it is read.
"""

from __future__ import annotations

from math import inf

from daq.bus.bus import Bus
from daq.control.instrument import Instrument
from daq.protocol.program import RecordRule, Step

TOLERANCE = 1.05
"""A rate that is missed by less is not worth a word."""
LOOKS = 4
"""Readings in the shortest interval of a profile, where the instrument is fast enough."""


def recorded_s(rule: RecordRule, step_time_s: float) -> float:
    """How often a recording rule wants a reading at a time of its step, s."""
    return rule.fastest_s if step_time_s < rule.first_for_s else rule.every_s


def finest_s(step: Step) -> float:
    """The shortest time between two values of a step's profile; infinite where it plays none."""
    times_s = step.course.times_s if step.course else ()
    return min((end - begin for begin, end in zip(times_s, times_s[1:], strict=False)), default=inf)


def played_s(step: Step, fastest_s: float) -> float:
    """How often a step's profile wants a reading: a few times in its shortest interval, s."""
    shortest_s = finest_s(step)
    if shortest_s == inf:
        return inf
    return shortest_s / min(LOOKS, max(1, int(shortest_s / fastest_s)) if fastest_s else LOOKS)


class Haste:
    """The hurry of one station, on its home bus.

    Args:
        name: of the station.
        bus: its home.
        instrument: its cycler.
        factor: of the lab's clock.

    Attributes:
        hurries: whether the cycler is to be read at each tick of the finer grid.
    """

    def __init__(self, name: str, bus: Bus, instrument: Instrument, factor: float) -> None:
        self._name = name
        self._bus = bus
        self._instrument = instrument
        self._real = factor == 1.0
        self._fastest_s = 0.0
        self.hurries = False
        self._told = False

    def begin(self) -> None:
        """A run begins: what cannot be reached is told once in each."""
        self._told = False

    def follow(self, step: Step, step_time_s: float, stamp_s: float) -> str:
        """Read as often as the step wants at this moment of it.

        The ticks lie on the step's own times, so that what changes there is done right after.

        Returns:
            What is not reached, in words, once in a run; else nothing.
        """
        if not self._real:
            return ""
        if not self.hurries:  # a grid that follows each reading would be none
            self._fastest_s = self._instrument.fastest_s
        wanted_s = recorded_s(step.record, step_time_s)
        reached_s = max(wanted_s, min(self._fastest_s, self._bus.period_s))
        period_s = min(reached_s, played_s(step, self._fastest_s))
        if period_s < self._bus.period_s:
            self.hurries = True
            self._bus.hurry(self._name, period_s, stamp_s - step_time_s)
        else:
            self.rest()
        return self._tell(wanted_s, reached_s)

    def rest(self) -> None:
        """Nothing wants to be read faster than the period of the bus."""
        if self.hurries:
            self.hurries = False
            self._bus.ease(self._name)

    def _tell(self, wanted_s: float, period_s: float) -> str:
        if self._told or period_s <= TOLERANCE * wanted_s:
            return ""
        self._told = True
        return (
            f"recorded every {1000.0 * period_s:.3g} ms instead of {1000.0 * wanted_s:.3g} ms: "
            f"{self._instrument.name} cannot be read faster"
        )
