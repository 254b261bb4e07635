"""End conditions as they are written: `voltage >= 4.2 V`, one or a list of which any ends."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from daq import units
from daq.errors import UnitError
from daq.filemodel import mistake, nearest, show
from daq.protocol.program import Condition, Quantity
from daq.units import Amount, Kind
from daq.yamlfile import Where

KINDS: Mapping[Quantity, tuple[Kind, ...]] = {
    Quantity.VOLTAGE: (units.VOLTAGE,),
    Quantity.CURRENT: (units.CURRENT, units.RATE),
    Quantity.TEMPERATURE: (units.TEMPERATURE,),
    Quantity.TIME: (units.TIME,),
    Quantity.CHARGE: (units.CHARGE, units.FRACTION),
    Quantity.ENERGY: (units.ENERGY,),
}
_FORM = re.compile(r"\s*(\w+)\s*([<>=!]+)\s*(\S.*?)\s*")
_EXAMPLE = "write it like `voltage >= 4.2 V`"


@dataclass(frozen=True, slots=True)
class Clause:
    """One end condition, not yet resolved against a cell."""

    quantity: Quantity
    at_least: bool
    amount: Amount
    text: str

    def resolve(self, nominal_capacity_Ah: float) -> Condition:
        """The same in SI: C-rates and percentages refer to the nominal capacity."""
        scale = nominal_capacity_Ah if self.amount.kind in (units.RATE, units.FRACTION) else 1.0
        return Condition(self.quantity, self.at_least, self.amount.value * scale, self.text)


def parse_clause(text: object, where: Where = ()) -> Clause:
    """Understand one end condition; errors are pydantic's, so that they carry their place."""
    match = _FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise mistake(f"{show(text)} is not an end condition", _EXAMPLE, where)
    name, operator, value = match.groups()
    if name not in KINDS:
        raise mistake(f"there is no quantity {name!r}", nearest(name, KINDS), where)
    if operator not in (">=", "<="):
        raise mistake(f"{operator!r} is not allowed here", "write >= or <=", where)
    quantity = Quantity(name)
    try:
        amount = units.parse_any(value, *KINDS[quantity])
    except UnitError as error:
        raise mistake(error.message, error.remedy, where) from error
    return Clause(quantity, operator == ">=", amount, f"{name} {operator} {value}")


class _Until:
    """Annotation: a string or a list of strings -> a tuple of clauses."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: object) -> tuple[Clause, ...]:
        if not isinstance(value, list):
            return (parse_clause(value),)
        texts = cast(list[object], value)
        if not texts:
            raise mistake("the list of end conditions is empty", _EXAMPLE)
        return tuple(parse_clause(text, (index,)) for index, text in enumerate(texts))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        one = {"type": "string", "pattern": pattern(), "examples": ["voltage >= 4.2 V"]}
        many = {"type": "array", "items": one, "minItems": 1}
        return {"anyOf": [one, many], "description": "any of these ends the step"}


Until = Annotated[tuple[Clause, ...], _Until()]


def pattern() -> str:
    """A regular expression of what `parse_clause` accepts, for JSON Schemas."""
    forms = [
        rf"{quantity}\s*[<>]=\s*(?:\$\w+|{_inner(units.pattern(*kinds))})"
        for quantity, kinds in KINDS.items()
    ]
    return rf"^\s*(?:{'|'.join(forms)})\s*$"


def _inner(anchored: str) -> str:
    return anchored.removeprefix(r"^\s*").removesuffix(r"\s*$")


def texts(clauses: Sequence[Clause]) -> str:
    """As a sentence."""
    return " or ".join(clause.text for clause in clauses)
