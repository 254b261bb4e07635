"""The guard's limits beside a program that is played: would it have cut off?"""

from __future__ import annotations

from math import inf, nan

from daq.control.guard.charge import Charge
from daq.control.guard.limits import Current, Temperature, Voltage
from daq.model import ChannelRef, Reading, Sample, Trip
from daq.protocol.program import Observation, Step

_SOURCE = ChannelRef("model")


class Watch:
    """The guard's own rules V1, V2, I1, T1, T2, Q1 and Q2, with the limits of the present step.

    Args:
        nominal_Ah: of the cell.
        window: Q2, the net charge that may be drawn, as a part of that.
    """

    def __init__(self, nominal_Ah: float, window: float) -> None:
        self._voltage, self._current, self._temperature = Voltage(), Current(), Temperature()
        self._charge = Charge()
        self._charge.window_Ah = window * nominal_Ah if window < inf else inf
        self._rules = (self._voltage, self._current, self._temperature, self._charge)

    def enter(self, step: Step) -> None:
        """Hold the limits of a step from now on."""
        limits = step.limits
        self._voltage.span = limits.voltage_V
        self._current.span = limits.current_A
        self._temperature.span = limits.temperature_degC
        self._charge.limit_Ah = limits.charge_Ah

    def check(self, seen: Observation) -> Trip | None:
        """The first rule that cuts off, if one does."""
        reading = Reading(seen.voltage_V, seen.current_A, seen.temperature_degC)
        sample = Sample(_SOURCE, seen.time_s, nan, nan, reading)
        for rule in self._rules:
            if trip := rule.check(sample):
                return trip
        return None
