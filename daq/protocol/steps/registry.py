"""Which kinds of step there are, and how an entry of `steps` finds its model: by its key."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from daq.filemodel import mistake, nearest, show
from daq.protocol.steps.base import Instruction

KINDS: dict[str, type[Instruction]] = {}
"""Key in the file -> model."""

ModelT = TypeVar("ModelT", bound=type[Instruction])


def register(*models: type[Instruction]) -> None:
    """Make kinds of step known. Before the first protocol is read."""
    KINDS.update({model.kind: model for model in models})


def _tag(kind: str) -> str:
    return f"<{kind}>"  # no key of a file, so that the way to an error stays unambiguous


def _find_tag(value: Any) -> str | None:
    return next((_tag(kind) for kind in KINDS if kind in value), None)


def _check_kind(value: object) -> object:
    if not isinstance(value, Mapping):
        raise mistake(f"{show(value)} is not a step", "write it like `- rest: 30 min`")
    keys = list(cast(Mapping[str, Any], value))
    kinds = [key for key in keys if key in KINDS]
    if not kinds:
        close = (key for key in keys if get_close_matches(key, KINDS, n=1))
        key = next(close, keys[0] if keys else "")
        raise mistake(f"there is no step {key!r}", nearest(key, KINDS), (key,), at_key=True)
    if len(kinds) > 1:
        message = f"{kinds[0]!r} and {kinds[1]!r} are two steps"
        raise mistake(message, "begin each with a dash", (kinds[1],), at_key=True)
    return value  # pyright: ignore[reportUnknownVariableType]


class _Steps:
    """Annotation: a list of mappings -> a tuple of step models."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        choices = {_tag(kind): handler.generate_schema(model) for kind, model in KINDS.items()}
        one = core_schema.tagged_union_schema(choices, discriminator=_find_tag)
        checked = core_schema.no_info_before_validator_function(_check_kind, one)
        entries = core_schema.list_schema(checked, min_length=1, strict=True)
        return core_schema.no_info_after_validator_function(tuple, entries)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema)


Steps = Annotated[tuple[Instruction, ...], _Steps()]
"""A field that holds steps of any registered kind."""
