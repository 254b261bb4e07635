"""Quantities as people write them -> SI floats: "4.2 V", "30 min", "C/20", "25 degC".

The parsing edge, and the only user of pint: it is imported with the first quantity that is parsed
(half a second) and never again touched afterwards. Which spellings are accepted is a closed list
per kind, so that "4.2 MV" or "5 Ms" is an error here and a red line in an editor alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, lru_cache
from math import isfinite
from typing import Any, NoReturn

from daq.errors import UnitError

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_QUANTITY = re.compile(rf"({_NUMBER})\s*([^\s\d.,].*)?", re.ASCII)
_RATE = re.compile(r"(\d+\.?\d*|\.\d+)?\s*C(?:\s*/\s*(\d+\.?\d*|\.\d+))?", re.ASCII)
_COMMA = re.compile(r"[+-]?\d+,\d+\D*", re.ASCII)
_LOOKALIKES = {0x03BC: "µ", 0x2126: "Ω"}  # Greek mu for the micro sign, the ohm sign for Omega
_LONGEST = 64  # characters; the longest honest quantity has about twenty


@dataclass(frozen=True, slots=True)
class Kind:
    """What a quantity measures.

    Attributes:
        name: as it reads in a message, without article.
        unit: the unit of the float that `parse` returns.
        spellings: units that may be written, in pint's notation.
        example: a quantity of this kind, as a person would write it.
    """

    name: str
    unit: str
    spellings: tuple[str, ...]
    example: str

    def __str__(self) -> str:
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"


VOLTAGE = Kind("voltage", "V", ("V", "mV", "uV", "µV"), "4.2 V")
CURRENT = Kind("current", "A", ("A", "mA", "uA", "µA"), "500 mA")
POWER = Kind("power", "W", ("W", "mW", "kW"), "2 W")
TIME = Kind("time", "s", ("s", "ms", "min", "h", "d"), "30 min")
FREQUENCY = Kind("frequency", "Hz", ("Hz", "mHz", "uHz", "µHz", "kHz", "MHz"), "10 kHz")
TEMPERATURE = Kind("temperature", "degC", ("degC", "°C", "K"), "25 degC")
TEMPERATURE_CHANGE = Kind("temperature difference", "K", ("K", "mK"), "0.5 K")
TEMPERATURE_RATE = Kind("rate of temperature", "K/min", ("K/min", "K/s", "K/h"), "2 K/min")
VOLTAGE_RATE = Kind(
    *("rate of voltage", "V/s"),
    ("V/s", "mV/s", "uV/s", "µV/s", "mV/min", "V/h", "mV/h", "uV/h", "µV/h"),
    "1 mV/h",
)
RESISTANCE = Kind("resistance", "ohm", ("ohm", "mohm", "kohm", "Ω", "mΩ", "kΩ"), "5 ohm")
CHARGE = Kind("charge", "Ah", ("Ah", "mAh"), "80 mAh")
ENERGY = Kind("energy", "Wh", ("Wh", "mWh", "kWh"), "10 Wh")
FRACTION = Kind("percentage", "1", ("%",), "80 %")
MASS = Kind("mass", "g", ("g", "mg", "ug", "µg", "kg"), "18.2 mg")
LENGTH = Kind("length", "m", ("m", "cm", "mm", "um", "µm"), "80 um")
AREAL_MASS = Kind("areal mass", "mg/cm²", ("mg/cm^2", "mg/cm²", "g/m^2", "g/m²"), "12.3 mg/cm^2")
RATE = Kind("C-rate", "C", (), "C/20")
"""Multiples of the nominal capacity per hour: "C/20" is 0.05, "2C" is 2."""

KINDS = (
    *(VOLTAGE, CURRENT, POWER, TIME, FREQUENCY, TEMPERATURE, TEMPERATURE_CHANGE, TEMPERATURE_RATE),
    *(VOLTAGE_RATE, RESISTANCE, CHARGE, ENERGY, FRACTION, MASS, LENGTH, AREAL_MASS, RATE),
)


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with its kind, where a file allows several kinds in one place."""

    value: float
    kind: Kind

    def __str__(self) -> str:
        return f"{self.value:g} {self.kind.unit}"

    def current_A(self, nominal_capacity_Ah: float) -> float:
        """A C-rate or a current, in ampere."""
        if self.kind is RATE:
            return self.value * nominal_capacity_Ah
        if self.kind is CURRENT:
            return self.value
        raise TypeError(f"{self} is not a current")


def parse(text: object, kind: Kind) -> float:
    """The quantity in `kind.unit`.

    Raises:
        UnitError: no number, no unit, the unit of another kind, or not finite.
    """
    return parse_any(text, kind).value


def parse_any(text: object, *kinds: Kind) -> Amount:
    """The quantity, which may be of any of these kinds.

    Raises:
        UnitError: as for `parse`.
    """
    if not isinstance(text, str):
        _refuse_bare(text, kinds)
    if len(text) > _LONGEST:
        raise UnitError(f"{text[:20]!r}… is too long for {_one_of(kinds)}")
    return _parse(text.strip().translate(_LOOKALIKES), kinds)


@lru_cache(maxsize=4096)
def _parse(text: str, kinds: tuple[Kind, ...]) -> Amount:
    if RATE in kinds and (rate := _RATE.fullmatch(text)):
        return Amount(_rate(text, rate[1], rate[2]), RATE)
    if RATE in kinds and _RATE.fullmatch(text.removeprefix("-").lstrip()):
        raise UnitError(f"{text!r} is negative", remedy="the step says in which direction it flows")
    match = _QUANTITY.fullmatch(text)
    if match is None and _RATE.fullmatch(text):
        _refuse_unit(text, "C", kinds)
    if match is None:
        hint = "a number has a point, not a comma; " if _COMMA.fullmatch(text) else ""
        raise UnitError(f"{text!r} is not {_one_of(kinds)}", remedy=hint + _write(kinds))
    number, unit = match.groups()
    if unit is None:
        _refuse_bare(number, kinds)
    kind = next((kind for kind in kinds if unit in kind.spellings), None)
    if kind is None:
        _refuse_unit(text, unit, kinds)
    return Amount(_convert(text, number, unit, kind), kind)


def _rate(text: str, times: str | None, hours: str | None) -> float:
    numerator, denominator = float(times or 1), float(hours or 1)
    if not (0 < numerator < 1e6 and 0 < denominator < 1e6):
        raise UnitError(f"{text!r} is not a usable C-rate", remedy=_write((RATE,)))
    return numerator / denominator


def _convert(text: str, number: str, unit: str, kind: Kind) -> float:
    value = float(number)
    if unit == "%":
        value = float(Decimal(number) / 100) if isfinite(value) else value
    elif unit != kind.unit and isfinite(value):
        quantity = _registry().Quantity(Decimal(number), unit)
        value = float(quantity.to(kind.unit).magnitude)
    if not isfinite(value):
        raise UnitError(f"{text!r} is beyond what a number can hold", remedy=_write((kind,)))
    return value


@cache
def _registry() -> Any:
    """Pint's registry; decimal, so that "35 mV" is exactly the float 0.035."""
    import pint

    make: Any = pint.UnitRegistry  # pint's hints know float only
    return make(non_int_type=Decimal, cache_folder=None)


def _refuse_bare(value: object, kinds: tuple[Kind, ...]) -> NoReturn:
    if value is None:
        said = "there is no value"
    elif isinstance(value, bool) or not isinstance(value, (int, float, str)):
        said = f"{_shorten(value)} is not a quantity"
    else:
        said = f"{_shorten(value)} has no unit"
    raise UnitError(f"{said}: {_one_of(kinds)} is expected", remedy=_write(kinds))


def _refuse_unit(text: str, unit: str, kinds: tuple[Kind, ...]) -> NoReturn:
    other = next((kind for kind in KINDS if unit in kind.spellings), None)
    if other is None and _RATE.fullmatch(text):
        other = RATE
    said = f"{text!r} is {other}" if other else f"{unit!r} is not a unit that is known here"
    raise UnitError(
        f"{said}; {_one_of(kinds)} is expected", remedy=_nearest(unit, kinds) + _write(kinds)
    )


def _nearest(unit: str, kinds: tuple[Kind, ...]) -> str:
    known = {spelling.lower(): spelling for kind in kinds for spelling in kind.spellings}
    close = get_close_matches(unit.lower(), known, n=1)
    return f"did you mean {known[close[0]]!r}? " if close else ""


def _one_of(kinds: tuple[Kind, ...]) -> str:
    return " or ".join(str(kind) for kind in kinds)


def _write(kinds: tuple[Kind, ...]) -> str:
    return "write it like " + " or ".join(f'"{kind.example}"' for kind in kinds)


def _shorten(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def pattern(*kinds: Kind) -> str:
    """A regular expression of what `parse_any` accepts, for JSON Schemas (ECMA dialect)."""
    units = sorted({_escape(unit) for kind in kinds for unit in kind.spellings}, reverse=True)
    forms = [rf"{_NUMBER}\s*(?:{'|'.join(units)})"] if units else []
    if RATE in kinds:
        forms.append(_RATE.pattern)
    return rf"^\s*(?:{'|'.join(forms)})\s*$"


def _escape(unit: str) -> str:
    return unit.replace("^", r"\^").replace("/", r"\/").replace("µ", "[µ\u03bc]")
