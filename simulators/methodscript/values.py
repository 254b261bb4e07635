"""Numbers of the dialect: literals in scripts, variables in packages, and its errors."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_EXPONENTS = {
    "a": -18, "f": -15, "p": -12, "n": -9, "u": -6, "m": -3, " ": 0,
    "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_ZERO = 0x8000000
_LARGEST = 0xFFFFFFFF
_LITERAL = re.compile(r"(-?\d+)([afpnumkMGTPEi]?)|0x([0-9A-Fa-f]+)i?|0b([01]+)i?")


class ScriptError(Exception):
    """The instrument reports an error `!XXXX`.

    Attributes:
        code: its number.
        where: "Line 3, Col 8" for a script that was not accepted, "Line 3" at run time.
    """

    def __init__(self, code: int, where: str = "") -> None:
        super().__init__(f"{code:04X} {where}")
        self.code = code
        self.where = where

    def __str__(self) -> str:
        return f"!{self.code:04X}" + (f": {self.where}" if self.where else "")


@dataclass(frozen=True, slots=True)
class Value:
    """What a variable holds; `kind` and `metadata` travel with it into a package.

    Attributes:
        kind: two letters that say what is measured ("ab" volts, "dc" hertz ...).
        metadata: items such as "10" (status OK) and "288" (range 88).
    """

    number: float
    kind: str = "ja"
    integer: bool = False
    metadata: tuple[str, ...] = ()


def literal(text: str) -> Value:
    """Read `15m`, `200k`, `-3`, `10i`, `0x0F`, `0b101`.

    Raises:
        ValueError: it is none of these.
    """
    match = _LITERAL.fullmatch(text)
    if match is None:
        raise ValueError(text)
    digits, prefix, hexadecimal, binary = match.groups()
    if digits is None:
        number = int(hexadecimal, 16) if hexadecimal else int(binary, 2)
    else:
        number = int(digits)
    if abs(number) > _LARGEST:
        raise ValueError(text)
    if digits is None or prefix == "i":
        return Value(number, integer=True)
    return Value(float(f"{number}e{_EXPONENTS[prefix or ' ']}"))


def package(values: Iterable[Value]) -> str:
    """A package line without its line end."""
    return "P" + ";".join(_variable(value) for value in values)


def _variable(value: Value) -> str:
    return ",".join((value.kind + _number(value), *value.metadata))


def _number(value: Value) -> str:
    if not abs(value.number) < _ZERO * 1e18:
        return "     nan"
    if value.integer and abs(value.number) < _ZERO:
        return f"{_ZERO + int(value.number):07X}i"
    if value.number == 0.0:
        return f"{_ZERO:07X} "
    for prefix, exponent in _EXPONENTS.items():
        mantissa = round(value.number * 10.0**-exponent)
        if -_ZERO <= mantissa < _ZERO:
            return f"{_ZERO + mantissa:07X}{prefix}"
    return "     nan"
