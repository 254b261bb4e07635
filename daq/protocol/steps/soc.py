"""`soc`: what the state of charge is when a step ends."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from daq import units
from daq.errors import UnitError
from daq.filemodel import mistake, nearest, show
from daq.protocol.program import Charged
from daq.quantities import quantity_schema

_EXAMPLE = "write it like `soc: 100 %`, or {is: 100 %, of: initial}"


class _Soc:
    """Annotation: a percentage, or one with what it is a part of -> `Charged`."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: object) -> Charged:
        if not isinstance(value, dict):
            return Charged(_fraction(value))
        given = cast(dict[str, object], value)
        for key in given:
            if key not in ("is", "of"):
                raise mistake(f"unknown key {key!r}", nearest(key, ("is", "of")), (key,))
        of = given.get("of", "")
        if "is" not in given or not isinstance(of, str):
            raise mistake(f"{show(value)} is no state of charge", _EXAMPLE)
        return Charged(_fraction(given["is"]), of)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        part = quantity_schema(units.FRACTION)
        both = {
            "type": "object",
            "properties": {
                "is": part,
                "of": {"type": "string", "description": "what was saved as the capacity"},
            },
            "required": ["is"],
            "additionalProperties": False,
        }
        return {"anyOf": [part, both]}


def _fraction(value: object) -> float:
    try:
        fraction = units.parse(value, units.FRACTION)
    except UnitError as error:
        raise mistake(error.message, _EXAMPLE) from error
    if not 0.0 <= fraction <= 1.0:
        raise mistake(f"{value} is no state of charge", "0 % to 100 %")
    return fraction


StateOfCharge = Annotated[Charged, _Soc()]
