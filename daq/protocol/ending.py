"""End conditions and start limits of a step, made ready to be asked at every sample."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import NamedTuple

from daq.model import Limits
from daq.protocol.condition import MOVED, Condition, Goes
from daq.protocol.history import History
from daq.protocol.judge import Check, judge
from daq.protocol.meter import Meter
from daq.protocol.program import Observation, Soak, Step
from daq.protocol.trend import Trends


class Ending(NamedTuple):
    """A check, the reason that it gives, and where the program goes on then."""

    check: Check
    reason: str
    goes: Goes | None = None


def always(_now: Observation, _meter: Meter) -> bool:
    """A check that holds."""
    return True


@dataclass(frozen=True, slots=True)
class Endings:
    """The end conditions of one step, in the author's order.

    Attributes:
        before: those that can hold before the output goes on: voltage, temperature, time ...
        ramping: those that count while the output ramps: all but current and power.
        settled: all.
    """

    before: tuple[Ending, ...]
    ramping: tuple[Ending, ...]
    settled: tuple[Ending, ...]


def endings(step: Step, history: History, trends: Trends) -> Endings:
    """Prepare the `until` of a step."""
    made = [
        (condition, Ending(judge(condition, history, trends), condition.text, condition.goes))
        for condition in step.until
    ]
    return Endings(
        before=tuple(ending for condition, ending in made if _known_before(condition)),
        ramping=tuple(ending for condition, ending in made if not condition.needs_current),
        settled=tuple(ending for _, ending in made),
    )


def _known_before(condition: Condition) -> bool:
    """Whether it can hold before the step has done anything."""
    moved = any(part.quantity in MOVED for part in condition.comparisons())
    return not (moved or condition.needs_current or condition.looks_back)


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
