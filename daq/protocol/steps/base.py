"""What every step kind is: a pydantic model of its keys that compiles itself.

A new kind is one class in this folder and one line in `daq.protocol.steps`.
"""

from __future__ import annotations

from abc import abstractmethod
from math import inf
from typing import Annotated, Any, ClassVar, cast

from pydantic import Field

from daq import units
from daq.filemodel import FileModel
from daq.model import NO_CHARGE_BELOW_DEGC, Limits, Setpoint, intersect
from daq.protocol.build import Builder, Ends, Site
from daq.protocol.program import RecordRule, Step, StepKind
from daq.protocol.until import Until
from daq.quantities import Duration, LimitsModel
from daq.quantities import Quantity as WithUnit
from daq.units import Amount
from daq.yamlfile import Where

CHARGES, DISCHARGES = "charges", "discharges"

_RECORD_CURRENT = (units.CURRENT, units.RATE, units.FRACTION)


class RecordModel(FileModel):
    """Which samples are kept, beside the first and the last of every step."""

    every: Duration | None = None
    """Longest time between records."""
    voltage: Annotated[float, WithUnit((units.VOLTAGE,), above=0.0)] | None = None
    """Change since the last record that makes one."""
    current: Annotated[Amount, WithUnit(_RECORD_CURRENT, above=0.0)] | None = None
    """Change that makes a record; a percentage is of 1C."""
    temperature: Annotated[float, WithUnit((units.TEMPERATURE_CHANGE,), above=0.0)] | None = None
    """Change that makes a record."""

    def rule(self, above: RecordRule, nominal_capacity_Ah: float) -> RecordRule:
        """This, with what is not given taken from the rule above it."""
        return RecordRule(
            every_s=self.every or above.every_s,
            voltage_V=self.voltage or above.voltage_V,
            current_A=self._current_A(nominal_capacity_Ah) or above.current_A,
            temperature_K=self.temperature or above.temperature_K,
        )

    def _current_A(self, nominal_capacity_Ah: float) -> float | None:
        if self.current is None:
            return None
        relative = self.current.kind is not units.CURRENT
        return self.current.value * (nominal_capacity_Ah if relative else 1.0)


class Instruction(FileModel):
    """One entry of a list of `steps`."""

    kind: ClassVar[str]
    """The key that names it in the file."""

    @abstractmethod
    def compile(self, builder: Builder, where: Where) -> None:
        """Add what this stands for to a program.

        Raises:
            InputError: it cannot be carried out within the limits; with its place.
        """

    def moves(self) -> frozenset[str]:
        """Which ways charge flows: for the counting of cycles."""
        return frozenset()

    def counts_cycles(self) -> bool:
        """Whether it, or something in it, is a loop whose passes are cycles."""
        return False


class StepModel(Instruction):
    """A step: something that a station does until it ends."""

    ends: ClassVar[Ends] = frozenset()
    """What may end it."""

    record: RecordModel | None = None
    """Recording rule of this step."""
    limits: LimitsModel | None = None
    """Limits of this step; they may only tighten."""

    def compile(self, builder: Builder, where: Where) -> None:
        """Add this one step."""
        limits: Limits | None = self.limits.limits() if self.limits else None
        nominal = builder.cell.nominal_capacity_Ah
        record = self.record.rule(builder.record, nominal) if self.record else builder.record
        site = builder.site(where, self.kind, limits, record)
        step, expected_s = self.plan(site)
        builder.add(step, expected_s)

    @abstractmethod
    def plan(self, site: Site) -> tuple[Step, float]:
        """The step, and how long it should take in seconds."""

    def step(self, site: Site, at_most_s: float, **more: Any) -> Step:
        """A `Step` with all that the site knows."""
        setpoint: Setpoint | None = more.get("setpoint")
        return Step(
            number=site.number,
            kind=StepKind(self.kind),
            line=site.line,
            text=describe(site.raw, site.key),
            limits=site.limits if setpoint is None else _directed(site, setpoint),
            record=site.record,
            at_most_s=at_most_s,
            **more,
        )


class MovingStep(StepModel):
    """A step that moves charge: it says what ends it and what it must never exceed."""

    until: Until = Field(examples=["voltage >= 4.2 V"])
    """What ends it; any one of a list."""
    at_most: Duration = Field(examples=["25 h"])
    """Longest duration; reaching it means that something is wrong, and fails the run."""


def _directed(site: Site, setpoint: Setpoint) -> Limits:
    """The temperatures at which current may flow the way that a setpoint lets it."""
    limits = site.limits
    if setpoint.charge_A > 0.0:
        charging = intersect(limits.charging_degC, (NO_CHARGE_BELOW_DEGC, inf))
        limits = limits.tighten(Limits(temperature_degC=charging))
    if setpoint.discharge_A > 0.0:
        limits = limits.tighten(Limits(temperature_degC=limits.discharging_degC))
    low, high = limits.temperature_degC
    if not low < high:
        message = f"no temperature is left for it: at least {low:g} and at most {high:g} degC"
        site.refuse(message, (site.key,), "no cell is charged below 0 degC")
    return limits


def describe(raw: dict[str, Any], key: str) -> str:
    """A step on one line, as its author wrote it, the numbers put in."""
    text = f"{key} {_inline(raw[key])}"
    if "soak" in raw:
        text += f" soak {_inline(raw['soak'])}"
    if "until" in raw:
        text += f" until {_inline(raw['until'], ' or ')}"
    return text


def _inline(value: Any, between: str = " ") -> str:
    if isinstance(value, dict):
        items = cast(dict[str, Any], value).items()
        return " ".join(f"{key} {_inline(inner)}" for key, inner in items)
    if isinstance(value, list):
        return between.join(_inline(inner) for inner in cast(list[Any], value))
    return str(value)
