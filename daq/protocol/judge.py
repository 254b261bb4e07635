"""Conditions made ready to be asked: closures over numbers, for they are asked at every sample."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from operator import attrgetter
from sys import float_info

from daq.protocol.condition import Condition, Quantity, Reference
from daq.protocol.history import History
from daq.protocol.meter import Meter
from daq.protocol.program import Observation
from daq.protocol.trend import Trends

Check = Callable[[Observation, Meter], bool]
Look = Callable[[Observation, Meter], float]
"""The present value of a quantity; nan where it is not known."""

_LARGEST = float_info.max


def judge(condition: Condition, history: History, trends: Trends | None = None) -> Check:
    """A function that says whether the condition holds.

    Args:
        condition: what to judge.
        history: what it may compare with.
        trends: of the step that it ends; None where one moment decides. Then nothing in the
            condition may look back.
    """
    check = _plain(condition, history, trends)
    if condition.after_s:
        check = _masked(check, condition.after_s)
    if condition.for_s and trends is not None:
        check = _held(check, condition.for_s, trends)
    return check


def _plain(condition: Condition, history: History, trends: Trends | None) -> Check:
    if condition.parts:
        # Each part is asked every time: one that must hold for a while may not miss a sample.
        parts = [judge(part, history, trends) for part in condition.parts]
        join = all if condition.quantity is Quantity.ALL else any
        return lambda now, meter: join([part(now, meter) for part in parts])
    if condition.reference is not None:
        return _against(_look(condition, history, trends), condition, condition.reference, history)
    # Closed spans with finite ends: one form for both directions, and neither nan nor infinity
    # is ever inside. A step that ends too early is as dangerous as one that never ends.
    value = condition.value
    low, high = (value, _LARGEST) if condition.at_least else (-_LARGEST, value)
    quick = _QUICK.get(condition.quantity)
    if quick is not None:
        return quick(low, high)
    look = _look(condition, history, trends)
    return lambda now, meter: low <= look(now, meter) <= high


def _against(look: Look, condition: Condition, reference: Reference, history: History) -> Check:
    at_least = condition.at_least

    def check(now: Observation, meter: Meter) -> bool:
        value, other = look(now, meter), history.look(reference)
        if not (isfinite(value) and isfinite(other)):
            return False
        return value >= other if at_least else value <= other

    return check


def _masked(check: Check, after_s: float) -> Check:
    return lambda now, meter: meter.step_time_at(now.time_s) >= after_s and check(now, meter)


def _held(check: Check, for_s: float, trends: Trends) -> Check:
    since_s, place = trends.since_s, trends.next_hold()

    def held(now: Observation, meter: Meter) -> bool:
        if not check(now, meter):
            since_s[place] = float("nan")
            return False
        if not isfinite(since_s[place]):
            since_s[place] = now.time_s
        return now.time_s - since_s[place] >= for_s

    return held


# What is asked most often has no second call inside.


def _voltage(low: float, high: float) -> Check:
    return lambda now, _: low <= now.voltage_V <= high


def _current(low: float, high: float) -> Check:
    return lambda now, _: low <= abs(now.current_A) <= high


def _temperature(low: float, high: float) -> Check:
    return lambda now, _: low <= now.temperature_degC <= high


def _time(low: float, high: float) -> Check:
    return lambda now, meter: low <= now.time_s - meter.began_s <= high


def _charge(low: float, high: float) -> Check:
    low, high = 3600.0 * low, min(3600.0 * high, _LARGEST)
    return lambda _, meter: low <= abs(meter.step_charge_C) <= high


def _energy(low: float, high: float) -> Check:
    low, high = 3600.0 * low, min(3600.0 * high, _LARGEST)
    return lambda _, meter: low <= abs(meter.step_energy_J) <= high


_QUICK: dict[Quantity, Callable[[float, float], Check]] = {
    Quantity.VOLTAGE: _voltage,
    Quantity.CURRENT: _current,
    Quantity.TEMPERATURE: _temperature,
    Quantity.TIME: _time,
    Quantity.CHARGE: _charge,
    Quantity.ENERGY: _energy,
}

_LOOKS: dict[Quantity, Look] = {
    Quantity.VOLTAGE: lambda now, _: now.voltage_V,
    Quantity.CURRENT: lambda now, _: abs(now.current_A),
    Quantity.POWER: lambda now, _: abs(now.voltage_V * now.current_A),
    Quantity.TEMPERATURE: lambda now, _: now.temperature_degC,
    Quantity.CHAMBER: lambda now, _: now.chamber_degC,
    Quantity.TIME: lambda now, meter: now.time_s - meter.began_s,
    Quantity.CHARGE: lambda _, meter: abs(meter.step_charge_C) / 3600.0,
    Quantity.ENERGY: lambda _, meter: abs(meter.step_energy_J) / 3600.0,
    Quantity.CYCLE_TIME: lambda now, meter: now.time_s - meter.cycle_s,
    Quantity.RUN_TIME: lambda now, meter: now.time_s - meter.start_s,
}
_SCOPES = {"step": "step_counters", "cycle": "cycle_counters", "run": "counters"}
_MEMBERS = {
    "charge": "charge_Ah",
    "discharge": "discharge_Ah",
    "charge_energy": "charge_Wh",
    "discharge_energy": "discharge_Wh",
}


def _look(condition: Condition, history: History, trends: Trends | None) -> Look:
    """How to see a quantity."""
    quantity = condition.quantity
    if quantity in _LOOKS:
        return _LOOKS[quantity]
    scope, _, member = quantity.partition(".")
    if member in _MEMBERS:
        value = attrgetter(f"{_SCOPES[scope]}.{_MEMBERS[member]}")
        return lambda _, meter: value(meter)
    if quantity is Quantity.SENSOR:
        return _sensor(condition.sensor)
    if quantity is Quantity.REFERENCE and condition.left is not None:
        left = condition.left
        return lambda _now, _meter: history.look(left)
    if quantity is Quantity.SOC:
        return lambda _now, _meter: history.soc()
    if quantity is Quantity.CYCLE:
        return lambda _now, _meter: float(history.cycle)
    return _looking_back(condition, trends)


def _sensor(name: str) -> Look:
    return lambda now, _: (now.sensors or {}).get(name, float("nan"))


def _looking_back(condition: Condition, trends: Trends | None) -> Look:
    if trends is None:
        raise ValueError(f"{condition.text!r} looks back, and nothing is remembered here")
    if condition.quantity is Quantity.DROP:
        return lambda now, _: trends.highest_V - now.voltage_V
    slope = trends.slope(condition)
    if condition.quantity is Quantity.SLOPE:
        return lambda _now, _meter: abs(slope.per_s())
    return lambda _now, _meter: slope.per_s()
