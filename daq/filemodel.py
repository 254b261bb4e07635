"""Base of the pydantic models of both YAML files, and the bridge to one readable error.

A `FileModel` is frozen and strict and knows its keys: an unknown one is answered with the nearest
known one, a missing one with an example. `validate` turns whatever pydantic found into the one
`InputError` that stands first in the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from daq.errors import InputError
from daq.yamlfile import Document, Where

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Names become topics, file names and log fields: one short word without surprises."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a pattern means, for whoever does not match it: "3 is not `what`"."""

    what: str
    remedy: str


FORMS: dict[str, Form] = {}
"""Pattern -> what it means."""


def text_of(pattern: str, what: str, remedy: str) -> StringConstraints:
    """Annotation of a text of a certain form."""
    FORMS[pattern] = Form(what, remedy)
    return StringConstraints(pattern=pattern)


Name = Annotated[
    str, text_of(NAME_PATTERN, "a name", "use up to 64 letters, digits, '.', '_' and '-'")
]

WORD_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
Word = Annotated[
    str, text_of(WORD_PATTERN, "a plain word", "use letters, digits and '_', no digit first")
]
"""Names within a protocol: of parameters, of labels."""

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
            raise mistake(f"{show(value)} is not a mapping", f"it has the keys: {keys}")
        given = cast(Mapping[str, Any], value)
        cls._refuse_unknown(given)
        cls._refuse_empty(given)
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
    def _refuse_empty(cls, given: Mapping[str, Any]) -> None:
        for key, value in given.items():
            if value is None:
                remedy = "give it one, or delete the line"
                raise mistake(f"the key {key!r} has no value", remedy, (key,), at_key=True)

    @classmethod
    def _refuse_missing(cls, given: Mapping[str, Any]) -> None:
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if field.is_required() and key not in given:
                example = f", like `{key}: {_flow(field.examples[0])}`" if field.examples else ""
                raise mistake(f"the key {key!r} is missing", f"add it{example}", at_key=True)


def _flow(value: Any) -> str:
    """A value as one line of YAML."""
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return f"{{{', '.join(f'{key}: {_flow(inner)}' for key, inner in items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(inner) for inner in cast(list[Any], value))}]"
    return str(value)


def nearest(word: str, known: Iterable[str]) -> str:
    """A remedy for a misspelt word: the nearest known one, or all of them."""
    candidates = {str(one).lower(): str(one) for one in known}
    close = get_close_matches(word.lower(), candidates, n=1, cutoff=0.6)
    if close:
        return f"did you mean {candidates[close[0]]!r}?"
    return f"known: {', '.join(candidates.values())}" if candidates else ""


ModelT = TypeVar("ModelT", bound=BaseModel)


def validate(
    model: type[ModelT],
    document: Document,
    data: Mapping[str, Any] | None = None,
    context: object = None,
) -> ModelT:
    """Validate a document (or data derived from it) against a model.

    Args:
        model: what the data shall be.
        document: gives the places of mistakes.
        data: default: the document's.
        context: what the model's own validators may ask for.

    Raises:
        InputError: the mistake that stands first in the file, with its place and a remedy.
    """
    return validate_part(model, document, (), document.data if data is None else data, context)


def validate_part(
    model: type[ModelT],
    document: Document,
    where: Where,
    data: Mapping[str, Any],
    context: object = None,
) -> ModelT:
    """Validate what stands at `where` in a document.

    Raises:
        InputError: as for `validate`.
    """
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        found = [
            _translate(details, document, where, model)
            for details in error.errors(include_url=False)
        ]
        raise min(found, key=_position) from error


def _position(error: InputError) -> tuple[int, int]:
    return (error.place.line, error.place.column) if error.place else (0, 0)


def _translate(
    details: ErrorDetails, document: Document, root: Where, model: type[BaseModel]
) -> InputError:
    where = existing((*root, *details["loc"]), document)
    context = details.get("ctx", {})
    if details["type"] == _MISTAKE:
        place = document.place((*where, *context["where"]), value=not context["at_key"])
        return InputError(context["message"], place=place, remedy=context["remedy"])
    if details["type"] == "extra_forbidden":  # a model of a driver's, which is no FileModel
        remedy = nearest(str(where[-1]), model.model_fields)
        return InputError(f"unknown key {where[-1]!r}", place=document.place(where), remedy=remedy)
    message, remedy = _said(where, details)
    return InputError(message, place=document.place(where, value=True), remedy=remedy)


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


def _said(where: Where, details: ErrorDetails) -> tuple[str, str]:
    """Message and remedy for what pydantic itself found."""
    name, given = where[-1] if where else "the file", show(details["input"])
    if details["type"] == "string_pattern_mismatch":
        form = FORMS[details.get("ctx", {})["pattern"]]
        return f"{name}: {given} is not {form.what}", form.remedy
    if details["type"] == "too_short":
        return f"{name}: there is nothing in it", "give it one entry at least"
    if details["type"] == "list_type" and isinstance(details["input"], Mapping):
        return f"{name}: {given} is not a list", "begin each entry with a dash: `- `"
    rule = _PLAIN.get(details["type"]) or details["msg"].removeprefix("Input ")
    return f"{name}: {given} {rule}", ""


def show(value: Any) -> str:
    """A value as a message shows it: short."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
