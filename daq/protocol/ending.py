"""End conditions and start limits of a step, made ready to be asked at every sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from sys import float_info

from daq.model import Limits
from daq.protocol.meter import Meter
from daq.protocol.program import Condition, Observation, Quantity, Soak, Step

Check = Callable[[Observation, Meter], bool]
Ending = tuple[Check, str]
"""A check, and the reason that it gives."""

_KNOWN_BEFORE = frozenset({Quantity.VOLTAGE, Quantity.TEMPERATURE, Quantity.TIME})
_SI = {Quantity.CHARGE: 3600.0, Quantity.ENERGY: 3600.0}
_LARGEST = float_info.max


@dataclass(frozen=True, slots=True)
class Endings:
    """The end conditions of one step, in the author's order.

    Attributes:
        before: those that can hold before the output goes on: voltage, temperature, time.
        ramping: those that count while the output ramps: all but current.
        settled: all.
    """

    before: tuple[Ending, ...]
    ramping: tuple[Ending, ...]
    settled: tuple[Ending, ...]


def endings(step: Step) -> Endings:
    """Prepare the `until` of a step."""
    checks = [(condition.quantity, (_check(condition), condition.text)) for condition in step.until]
    return Endings(
        before=tuple(ending for quantity, ending in checks if quantity in _KNOWN_BEFORE),
        ramping=tuple(ending for quantity, ending in checks if quantity is not Quantity.CURRENT),
        settled=tuple(ending for _, ending in checks),
    )


def _check(condition: Condition) -> Check:
    # Closed spans with finite ends: one form for both directions, and neither nan nor infinity
    # is ever inside. A step that ends too early is as dangerous as one that never ends.
    value = condition.value * _SI.get(condition.quantity, 1.0)
    span = (value, _LARGEST) if condition.at_least else (-_LARGEST, value)
    return _CHECKS[condition.quantity](*span)


def _voltage(low: float, high: float) -> Check:
    return lambda now, _: low <= now.voltage_V <= high


def _current(low: float, high: float) -> Check:
    return lambda now, _: low <= abs(now.current_A) <= high


def _temperature(low: float, high: float) -> Check:
    return lambda now, _: low <= now.temperature_degC <= high


def _time(low: float, high: float) -> Check:
    return lambda now, meter: low <= now.time_s - meter.began_s <= high


def _charge(low: float, high: float) -> Check:
    return lambda _, meter: low <= abs(meter.step_charge_C) <= high


def _energy(low: float, high: float) -> Check:
    return lambda _, meter: low <= abs(meter.step_energy_J) <= high


_CHECKS: dict[Quantity, Callable[[float, float], Check]] = {
    Quantity.VOLTAGE: _voltage,
    Quantity.CURRENT: _current,
    Quantity.TEMPERATURE: _temperature,
    Quantity.TIME: _time,
    Quantity.CHARGE: _charge,
    Quantity.ENERGY: _energy,
}


def violation(limits: Limits, now: Observation) -> str:
    """Which limit on voltage or temperature `now` is outside of; empty when none.

    What is not measured is not judged: a station without a thermocouple may still test.
    """
    return _outside("voltage", "V", now.voltage_V, limits.voltage_V) or _outside(
        "temperature", "degC", now.temperature_degC, limits.temperature_degC
    )


def _outside(name: str, unit: str, value: float, span: tuple[float, float]) -> str:
    low, high = span
    if not isfinite(value) or low <= value <= high:
        return ""
    side, limit = ("below", low) if value < low else ("above", high)
    return f"{name} {value:.6g} {unit} is {side} the step's limit of {limit:.6g} {unit}"


def soaked(soak: Soak, chamber_degC: float) -> bool | None:
    """Whether the chamber is near its target; None when it did not say.

    A soak without tolerance is content with any temperature, and with none.
    """
    if soak.within_K == inf:
        return True
    if not isfinite(chamber_degC):
        return None
    return abs(chamber_degC - soak.temperature_degC) <= soak.within_K
