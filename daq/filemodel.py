"""Base of the pydantic models of both YAML files, and the bridge to one readable error.

A `FileModel` is frozen and strict and knows its keys: an unknown one is answered with the nearest
known one, a missing one with an example. `validate` turns whatever pydantic found into the one
`InputError` that stands first in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, NoReturn, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from daq import units
from daq.errors import InputError, UnitError
from daq.units import Amount, Kind
from daq.yamlfile import Document, Where

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names become topics, file names and log fields: one short word without surprises."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]

_MISTAKE = "daq"  # type of our own pydantic errors; their context carries remedy and way


def mistake(
    message: str, remedy: str = "", where: Where = (), *, at_key: bool = False
) -> PydanticCustomError:
    """An error for a validator to raise; `where` is relative to what is validated."""
    context = {"message": message, "remedy": remedy, "where": where, "at_key": at_key}
    return PydanticCustomError(_MISTAKE, "{message}", context)


class FileModel(BaseModel):
    """A mapping of a YAML file: frozen, strict, finite, and without unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            keys = ", ".join(cls.keys())
            raise mistake(f"{_show(value)} is not a mapping", f"it has the keys: {keys}")
        given = cast(Mapping[str, Any], value)
        cls._refuse_unknown(given)
        cls._refuse_missing(given)
        return given

    @classmethod
    def keys(cls) -> list[str]:
        """The keys as they are written in the file."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    def _refuse_unknown(cls, given: Mapping[str, Any]) -> None:
        known = cls.keys()
        for key in given:
            if key not in known:
                raise mistake(f"unknown key {key!r}", nearest(key, known), (key,), at_key=True)

    @classmethod
    def _refuse_missing(cls, given: Mapping[str, Any]) -> None:
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if field.is_required() and key not in given:
                example = f", like `{field.examples[0]}`" if field.examples else ""
                raise mistake(f"the key {key!r} is missing", f"add it{example}", at_key=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy for a misspelt word: the nearest known one, or all of them."""
    candidates = list(known)
    close = get_close_matches(word.lower(), candidates, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(candidates)}" if candidates else ""


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
            example = self.kinds[0].example
            raise mistake(f"{_show(value)} is not a span", f"write it like [{example}, {example}]")
        low, high = self._end(ends, 0), self._end(ends, 1)
        if not low < high:
            raise mistake(f"{_show(ends)} is an empty span", "write the lower end first")
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

ModelT = TypeVar("ModelT", bound=BaseModel)


def validate(
    model: type[ModelT], document: Document, data: Mapping[str, Any] | None = None
) -> ModelT:
    """Validate a document (or data derived from it) against a model.

    Raises:
        InputError: the mistake that stands first in the file, with its place and a remedy.
    """
    try:
        return model.model_validate(document.data if data is None else data)
    except ValidationError as error:
        _refuse_first(error, document)


def _refuse_first(error: ValidationError, document: Document) -> NoReturn:
    found = [_translate(details, document) for details in error.errors(include_url=False)]
    first = min(found, key=lambda one: (one.place.line, one.place.column) if one.place else (0, 0))
    raise first from error


def _translate(details: ErrorDetails, document: Document) -> InputError:
    where = existing(details["loc"], document)
    context = details.get("ctx", {})
    if details["type"] == _MISTAKE:
        place = document.place((*where, *context["where"]), value=not context["at_key"])
        return InputError(context["message"], place=place, remedy=context["remedy"])
    return InputError(_said(where, details), place=document.place(where, value=True))


def existing(loc: Iterable[int | str], document: Document) -> Where:
    """Pydantic's way to an error without the segments that are not in the file (union tags)."""
    where: Where = ()
    for segment in loc:
        longer = (*where, segment)
        if longer in document.values or longer in document.keys:
            where = longer
    return where


_PLAIN: Mapping[str, str] = {
    "string_type": "must be text: put it in quotes",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
}


def _said(where: Where, details: ErrorDetails) -> str:
    name = where[-1] if where else "the file"
    text = _PLAIN.get(details["type"]) or details["msg"].removeprefix("Input ")
    return f"{name}: {_show(details['input'])} {text}"


def _show(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
