"""Fields of the file models that are written with a unit, and limits made of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from daq import units
from daq.checks import OFF, Checks
from daq.errors import UnitError
from daq.filemodel import FileModel, mistake, show
from daq.model import EVERYWHERE, Limits
from daq.units import Amount, Kind


@dataclass(frozen=True)
class Quantity:
    """Annotation of a field that is written with a unit.

    With one kind the field is a float in that kind's unit; with several it is an `Amount`.

    Args:
        above: the number must be greater than this.
        least, most: closed bounds, in the kind's unit.
    """

    kinds: tuple[Kind, ...]
    above: float | None = None
    least: float | None = None
    most: float | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return quantity_schema(*self.kinds)

    def validate(self, value: object) -> float | Amount:
        """Parse one value; errors are pydantic's, so that they carry their place."""
        try:
            amount = units.parse_any(value, *self.kinds)
        except UnitError as error:
            raise mistake(error.message, error.remedy) from error
        self._check(amount, value)
        return amount if len(self.kinds) > 1 else amount.value

    def _check(self, amount: Amount, value: object) -> None:
        unit = amount.kind.unit
        if self.above is not None and not amount.value > self.above:
            raise mistake(f"{value} is out of range", f"more than {self.above:g} {unit}")
        if self.least is not None and amount.value < self.least:
            raise mistake(f"{value} is out of range", f"at least {self.least:g} {unit}")
        if self.most is not None and amount.value > self.most:
            raise mistake(f"{value} is out of range", f"at most {self.most:g} {unit}")


def quantity_schema(*kinds: Kind) -> dict[str, Any]:
    """JSON Schema of a quantity: a pattern that catches a missing or wrong unit in an editor."""
    return {
        "type": "string",
        "pattern": units.pattern(*kinds),
        "description": "; or ".join(f"{kind}, like {kind.example!r}" for kind in kinds),
        "examples": [kind.example for kind in kinds],
    }


class SpanOf(Quantity):
    """Annotation of a `[low, high]` pair of quantities of one kind."""

    def validate(self, value: object) -> Any:
        """Two quantities, the smaller one first."""
        ends: list[Any] = cast(list[Any], value) if isinstance(value, list) else []
        if len(ends) != 2:
            example = f"[LOW, HIGH], each like {self.kinds[0].example!r}"
            raise mistake(f"{show(value)} is not a span", f"write it as {example}")
        low, high = self._end(ends, 0), self._end(ends, 1)
        if not low < high:
            raise mistake(f"{show(ends)} is an empty span", "write the lower end first")
        return low, high

    def _end(self, value: list[Any], index: int) -> float:
        try:
            amount = units.parse_any(value[index], *self.kinds)
            self._check(amount, value[index])
        except UnitError as error:
            raise mistake(error.message, error.remedy, (index,)) from error
        except PydanticCustomError as error:
            context = error.context or {}
            raise mistake(context["message"], context["remedy"], (index,)) from error
        return amount.value

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        item = quantity_schema(*self.kinds)
        return {"type": "array", "items": item, "minItems": 2, "maxItems": 2}


# Nothing on a battery bench is beyond these, so a slipped prefix is caught where it is typed.
_MOST_VOLTAGE, _MOST_CURRENT, _TEN_YEARS = 2000.0, 5000.0, 10 * 365.25 * 86400.0
_MOST_FREQUENCY = 100e6

Voltage = Annotated[float, Quantity((units.VOLTAGE,), least=-_MOST_VOLTAGE, most=_MOST_VOLTAGE)]
Duration = Annotated[float, Quantity((units.TIME,), above=0.0, most=_TEN_YEARS)]
Pause = Annotated[float, Quantity((units.TIME,), least=0.0, most=_TEN_YEARS)]
Temperature = Annotated[float, Quantity((units.TEMPERATURE,), least=-200.0, most=1000.0)]
VoltageSpan = Annotated[
    tuple[float, float], SpanOf((units.VOLTAGE,), least=-_MOST_VOLTAGE, most=_MOST_VOLTAGE)
]
CurrentSpan = Annotated[
    tuple[float, float], SpanOf((units.CURRENT,), least=-_MOST_CURRENT, most=_MOST_CURRENT)
]
TemperatureSpan = Annotated[
    tuple[float, float], SpanOf((units.TEMPERATURE,), least=-200.0, most=1000.0)
]
FrequencySpan = Annotated[
    tuple[float, float], SpanOf((units.FREQUENCY,), above=0.0, most=_MOST_FREQUENCY)
]
Capacity = Annotated[float, Quantity((units.CHARGE,), above=0.0, most=100_000.0)]


class LimitsModel(FileModel):
    """Limits of a cell, of a protocol (`safety`), or of one step; each may only tighten."""

    voltage: VoltageSpan | None = None
    """Of the cell."""
    current: CurrentSpan | None = None
    """Discharge is negative, charge positive."""
    temperature: TemperatureSpan | None = None
    """Of the cell."""
    charging_temperature: TemperatureSpan | None = None
    """Of the cell, while it may be charged; never below 0 degC, whatever is said."""
    discharging_temperature: TemperatureSpan | None = None
    """Of the cell, while it may be discharged."""

    def limits(self) -> Limits:
        """The same for the guard; what is not given does not limit."""
        return Limits(
            self.voltage or EVERYWHERE,
            self.current or EVERYWHERE,
            self.temperature or EVERYWHERE,
            charging_degC=self.charging_temperature or EVERYWHERE,
            discharging_degC=self.discharging_temperature or EVERYWHERE,
        )


class Threshold(Quantity):
    """Annotation of a check's threshold: a quantity, or `off`."""

    def validate(self, value: object) -> Any:
        """Parse one value; "off" stays as it is."""
        return value if value == "off" else super().validate(value)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        quantity = quantity_schema(*self.kinds)
        choices = [{"const": "off"}, {"type": "string", "pattern": quantity["pattern"]}]
        return {"anyOf": choices, "examples": [*quantity["examples"], "off"]}


Off = Literal["off"]
_Volts = Annotated[float | Off, Threshold((units.VOLTAGE,), above=0.0)]
_Seconds = Annotated[float | Off, Threshold((units.TIME,), above=0.0)]
_Kelvin = Annotated[float | Off, Threshold((units.TEMPERATURE_CHANGE,), above=0.0)]
_KelvinPerMinute = Annotated[float | Off, Threshold((units.TEMPERATURE_RATE,), above=0.0)]
_Part = Annotated[float | Off, Threshold((units.FRACTION,), above=0.0)]


class ChecksModel(FileModel):
    """Thresholds of the guard's checks, or `off`; docs/safety.md says what each check does."""

    V3: _Volts | None = None
    """Difference of the cycler's voltage and the independent one; default 50 mV, or 2 %."""
    I2: _Seconds | None = None
    """How long a constant current may miss its setpoint; default 2 s."""
    R1: Annotated[float, Field(gt=1.0)] | Off | None = None
    """How many times faster than usual the voltage jumps; default 20."""
    T3: _KelvinPerMinute | None = None
    """Rise of the cell's temperature beyond the chamber's; default 2 K/min, half of it warns."""
    T4: _Kelvin | None = None
    """Cell above its chamber; default 15 K."""
    Q1: _Part | None = None
    """Most that any protocol may charge, of the nominal capacity; default: what it says itself."""
    Q2: _Part | None = None
    """Net charge, of the nominal capacity; default 110 %."""
    E1: _Part | None = None
    """Least energy that a cycle gives back; default 50 %. Warns."""
    S2: _Seconds | None = None
    """How long a step to a far end lasts at least; default 10 s."""
    P2: _Seconds | None = None
    """How long a lively reading may stand still; default 60 s."""
    P4: _Seconds | None = None
    """How long a working cell may be exactly as warm as its chamber; default 10 min."""

    def checks(self, default: Checks) -> Checks:
        """The same for the guard, with the defaults for what is not given."""
        given = {name: getattr(self, name) for name in OFF if getattr(self, name) is not None}
        return replace(default, **{k: OFF[k] if v == "off" else float(v) for k, v in given.items()})
