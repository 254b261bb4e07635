"""Records given as pairs of dotted keys and texts: columns of a CSV file, words of a command line.

    nominal_capacity        2.5 Ah
    positive.active_mass    14.1 g
    limits.voltage          2.5 V to 4.2 V
    metadata.filling_line   2

Texts stay texts: an id such as 0012 must not become the number twelve.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from daq.errors import InputError
from daq.filemodel import FileModel, nearest

FREE = "metadata"
_LIMITS = "limits"
_LONGEST = 500
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_SPAN = re.compile(r"(.+?)\s+to\s+(.+)")


def known_keys(model: type[BaseModel]) -> list[str]:
    """Every dotted key of a model, as one would write it."""
    return list(_keys(model))


def _keys(model: type[BaseModel], before: str = "") -> Iterable[str]:
    for name, field in model.model_fields.items():
        if inner := _inner(field.annotation):
            yield from _keys(inner, f"{before}{name}.")
        elif name != FREE:
            yield before + name


def _inner(annotation: Any) -> type[FileModel] | None:
    for choice in (annotation, *get_args(annotation)):
        if isinstance(choice, type) and issubclass(choice, FileModel):
            return choice
    return None


def check_key(key: str, known: Iterable[str]) -> None:
    """Refuse a key that no record has.

    Raises:
        InputError: with the nearest one that there is.
    """
    head, dot, free = key.partition(".")
    if head == FREE and dot and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}", free):
        return
    known = list(known)
    if key not in known:
        remedy = f"{nearest(key, known)} If it is a fact of your own: {FREE}.{key or 'name'}"
        raise InputError(f"unknown key {key!r}", remedy=remedy)


def check_text(key: str, text: str) -> None:
    """Refuse a text that no file should hold.

    Raises:
        InputError: a control character, or an absurd length.
    """
    if found := _CONTROL.search(text):
        raise InputError(f"{key}: the control character U+{ord(found[0]):04X} is in it")
    if len(text) > _LONGEST:
        raise InputError(f"{key}: {len(text)} characters are too many; {_LONGEST} at most")


def put(data: dict[str, Any], key: str, text: str, unit: str = "") -> None:
    """Put a text into a record under a dotted key; its parent mappings are made.

    Args:
        data: the record.
        key: checked by `check_key`.
        text: checked by `check_text`, not empty.
        unit: of a bare number; empty when the text has its own.
    """
    *parents, name = key.split(".", 1) if key.startswith(f"{FREE}.") else key.split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
    span = _SPAN.fullmatch(text) if parents == [_LIMITS] else None
    data[name] = [_with(end, unit) for end in span.groups()] if span else _with(text, unit)


def _with(text: str, unit: str) -> str:
    return f"{text} {unit}" if unit else text


def take(data: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The record without what stands under a dotted key."""
    head, _, rest = key.partition(".")
    if not rest:
        return {name: value for name, value in data.items() if name != head}
    inner = data.get(head)
    left = take(inner, rest) if isinstance(inner, Mapping) else {}  # type: ignore[arg-type]
    others = {name: value for name, value in data.items() if name != head}
    return {**others, head: left} if left else others
