"""SI floats -> quantities as a person would write them; exact: parsing gives the same float."""

from __future__ import annotations

from decimal import Decimal

_WHOLE_RATE = 1e-9
"""How far 1/rate may be from a whole number to be written as a fraction: 0.3333333333 is C/3."""


def number(value: float | Decimal) -> str:
    """Shortest plain decimal: no exponent, no trailing zeros."""
    exact = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
    return format(exact.normalize() + 0, "f")


def scaled(value: float, power: int) -> float:
    """`value` times ten to a power, without the last digit's noise: 0.1 mA is 0.0001 A."""
    return float(Decimal(repr(float(value))).scaleb(power))


def duration(seconds: float) -> str:
    """Whole hours, else whole minutes, else seconds: 12 h, 90 min, 0.5 s."""
    if seconds >= 3600.0 and seconds % 3600.0 == 0.0:
        return f"{number(seconds / 3600.0)} h"
    if seconds >= 60.0 and seconds % 60.0 == 0.0:
        return f"{number(seconds / 60.0)} min"
    return f"{number(seconds)} s"


def voltage(volts: float) -> str:
    """4.2 V, and 5 mV for what is less than 0.1 V."""
    return _small(volts, "V", 0.1)


def current(amperes: float) -> str:
    """2.5 A; 500 mA below one ampere; 20 uA below 0.1 mA."""
    return _small(amperes, "A", 1.0)


def power(watts: float) -> str:
    """2 W, 500 mW."""
    return _small(watts, "W", 1.0) if abs(watts) >= 1e-4 else f"{number(scaled(watts, 3))} mW"


def _small(value: float, unit: str, below: float) -> str:
    if value == 0.0 or abs(value) >= below:
        return f"{number(value)} {unit}"
    if abs(value) >= 1e-4:
        return f"{number(scaled(value, 3))} m{unit}"
    return f"{number(scaled(value, 6))} u{unit}"


def charge(ampere_hours: float) -> str:
    """2.5 Ah, 80 mAh."""
    if abs(ampere_hours) >= 1.0:
        return f"{number(ampere_hours)} Ah"
    return f"{number(scaled(ampere_hours, 3))} mAh"


def rate(multiple: float) -> str:
    """C/20, 2C, 0.75C."""
    times = 1.0 / multiple
    whole = round(times)
    if whole > 1 and abs(times - whole) <= _WHOLE_RATE * whole:
        return f"C/{whole}"
    return f"{number(multiple)}C"


def frequency(hertz: float) -> str:
    """10 kHz, 10 mHz."""
    if hertz >= 1000.0:
        return f"{number(scaled(hertz, -3))} kHz"
    return f"{number(hertz)} Hz" if hertz >= 1.0 else f"{number(scaled(hertz, 3))} mHz"


def temperature(celsius: float) -> str:
    """25 degC."""
    return f"{number(celsius)} degC"
