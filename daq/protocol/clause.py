"""Clauses: conditions that are understood, and not yet resolved against a cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import nan

from daq import units
from daq.protocol.condition import Condition, Exit, Quantity, Reference
from daq.units import Amount, Kind

_TEMPERATURES, _VOLTAGES, _TIMES = (units.TEMPERATURE,), (units.VOLTAGE,), (units.TIME,)
_CHARGES, _ENERGIES = (units.CHARGE, units.FRACTION), (units.ENERGY,)

KINDS: Mapping[Quantity, tuple[Kind, ...]] = {
    Quantity.VOLTAGE: _VOLTAGES,
    Quantity.CURRENT: (units.CURRENT, units.RATE),
    Quantity.POWER: (units.POWER,),
    Quantity.TEMPERATURE: _TEMPERATURES,
    Quantity.CHAMBER: _TEMPERATURES,
    Quantity.SENSOR: (*_TEMPERATURES, *_VOLTAGES),
    Quantity.TIME: _TIMES,
    Quantity.CHARGE: _CHARGES,
    Quantity.ENERGY: _ENERGIES,
    Quantity.SLOPE: (units.VOLTAGE_RATE,),
    Quantity.WARMING: (units.TEMPERATURE_RATE,),
    Quantity.DROP: _VOLTAGES,
    Quantity.SOC: (units.FRACTION,),
    Quantity.CYCLE: (),
    **{
        quantity: _ENERGIES if quantity.endswith("energy") else _CHARGES
        for quantity in Quantity
        if "." in quantity and not quantity.endswith("time")
    },
    Quantity.CYCLE_TIME: _TIMES,
    Quantity.RUN_TIME: _TIMES,
}
"""Quantity -> the units that it may be compared with."""

MEMBERS: Mapping[str, tuple[Kind, ...]] = {
    "charge": _CHARGES,
    "energy": _ENERGIES,
    "voltage": _VOLTAGES,
    "temperature": _TEMPERATURES,
    "time": _TIMES,
}
"""What a step that saves keeps."""

MEMBER_OF: Mapping[Quantity, str] = {
    Quantity.VOLTAGE: "voltage",
    Quantity.TEMPERATURE: "temperature",
    **{quantity: "charge" for quantity, kinds in KINDS.items() if kinds is _CHARGES},
    **{quantity: "energy" for quantity, kinds in KINDS.items() if kinds is _ENERGIES},
    **{quantity: "time" for quantity, kinds in KINDS.items() if kinds is _TIMES},
}
_PER_MINUTE = 1.0 / 60.0


@dataclass(frozen=True, slots=True)
class Way:
    """Where the program goes on when a clause has ended its step, as it was written."""

    exit: Exit
    label: str = ""
    times: int = 0


@dataclass(frozen=True, slots=True)
class Clause:
    """One condition, not yet resolved against a cell. As in `Condition`, but for the amount."""

    quantity: Quantity
    at_least: bool
    amount: Amount | None
    text: str
    reference: Reference | None = None
    left: Reference | None = None
    sensor: str = ""
    over_s: float = 0.0
    for_s: float = 0.0
    after_s: float = 0.0
    parts: tuple[Clause, ...] = ()
    way: Way | None = None

    def resolve(self, nominal_capacity_Ah: float) -> Condition:
        """The same in SI: C-rates and percentages refer to the nominal capacity."""
        return Condition(
            quantity=self.quantity,
            at_least=self.at_least,
            value=self._value(nominal_capacity_Ah),
            text=self.text,
            reference=self.reference,
            left=self.left,
            sensor=self.sensor,
            unit=self._unit,
            over_s=self.over_s,
            for_s=self.for_s,
            after_s=self.after_s,
            parts=tuple(part.resolve(nominal_capacity_Ah) for part in self.parts),
        )

    def _value(self, nominal_capacity_Ah: float) -> float:
        if self.amount is None:
            return nan
        value, kind = self.amount.value, self.amount.kind
        if kind is units.TEMPERATURE_RATE:
            return value * _PER_MINUTE
        relative = kind is units.RATE or (kind is units.FRACTION and self._is_charge)
        return value * (nominal_capacity_Ah if relative else 1.0)

    @property
    def _unit(self) -> str:
        if not self.sensor or self.amount is None:
            return ""
        return "V" if self.amount.kind is units.VOLTAGE else "degC"

    @property
    def _is_charge(self) -> bool:
        member = self.left.member if self.left else ""
        return KINDS.get(self.quantity) is _CHARGES or member == "charge"

    def every(self) -> Iterator[Clause]:
        """It and all its parts."""
        yield self
        for part in self.parts:
            yield from part.every()

    @property
    def is_plain(self) -> bool:
        """Whether it is one comparison with a value."""
        return not self.parts and self.reference is None and self.left is None
