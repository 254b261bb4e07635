"""V1 V2 I1 T1 T2: a quantity stays within its span.

A violation must be seen twice in a row, or once beyond 1 % past the limit (1 K for temperatures):
one noisy sample must not end a week-long test, a real excursion must not wait.
"""

from __future__ import annotations

from math import inf

from daq.control.guard.output import Output
from daq.control.guard.rule import valid, valid_degC
from daq.model import EVERYWHERE, NO_CHARGE_BELOW_DEGC, Limits, Sample, Span, Trip, intersect

FAR_FRACTION = 0.01
"""Beyond this fraction past a limit one sample is enough."""
FAR_KELVIN = 1.0


class SpanRule:
    """A quantity must stay within a span: twice in a row past it, or once far past it, trips."""

    def __init__(self, over: str, under: str, quantity: str, unit: str, far: float) -> None:
        self.span: Span = (-inf, inf)
        self._names = {True: over, False: under}
        self._quantity = quantity
        self._unit = unit
        self._far = far
        self._count = 0

    def judge(self, value: float, span: Span) -> Trip | None:
        """Judge one valid value."""
        low, high = span
        if low <= value <= high:
            self._count = 0
            return None
        self._count += 1
        over = value > high
        limit = high if over else low
        if self._count < 2 and abs(value - limit) <= self._tolerance(limit):
            return None
        return Trip(
            self._names[over],
            f"{self._quantity} {value:.6g} {self._unit} is {'above' if over else 'below'} "
            f"the limit of {limit:.6g} {self._unit}",
        )

    def _tolerance(self, limit: float) -> float:
        return self._far * abs(limit)


class Voltage(SpanRule):
    """V1 over-voltage, V2 under-voltage."""

    def __init__(self) -> None:
        super().__init__("V1", "V2", "voltage", "V", FAR_FRACTION)

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler; an invalid one neither trips nor forgives."""
        value = sample.reading.voltage_V
        return self.judge(value, self.span) if valid(value) else None


class Current(SpanRule):
    """I1: current beyond the limits, in either direction."""

    def __init__(self) -> None:
        super().__init__("I1", "I1", "current", "A", FAR_FRACTION)

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler; an invalid one neither trips nor forgives."""
        value = sample.reading.current_A
        return self.judge(value, self.span) if valid(value) else None


class Temperature(SpanRule):
    """T1 over-temperature, T2 under-temperature: one span always, one more for each direction.

    Args:
        output: tells what the cycler may do to the cell; it is of another thread, perhaps.
    """

    def __init__(self, output: Output | None = None) -> None:
        super().__init__("T1", "T2", "temperature", "degC", FAR_KELVIN)
        self._output = output
        self._charging: Span = EVERYWHERE
        self._discharging: Span = EVERYWHERE

    def set(self, limits: Limits) -> None:
        """Hold these limits from now on."""
        self.span = limits.temperature_degC
        self._charging = intersect(limits.charging_degC, (NO_CHARGE_BELOW_DEGC, inf))
        self._discharging = limits.discharging_degC

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of whatever measures the cell's temperature."""
        value = sample.reading.temperature_degC
        return self.judge(value, self._now()) if valid_degC(value) else None

    def _now(self) -> Span:
        span, output = self.span, self._output
        if output and output.may_charge:
            span = intersect(span, self._charging)
        if output and output.may_discharge:
            span = intersect(span, self._discharging)
        return span

    def _tolerance(self, limit: float) -> float:
        return self._far
