"""The one reader of JSON that others send: strict, finite, and bounded in size and depth.

Refused: duplicate keys, NaN and infinities (written out or as `1e999`), whole numbers beyond 64
bits, text that no file can hold (NUL, half a surrogate pair), and what is too large or too deep.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, cast

from daq.errors import InputError

LARGEST = 64 * 1024  # bytes
DEEPEST = 16
_UNHOLDABLE = re.compile("[\0\ud800-\udfff]")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BIGGEST_INTEGER = 1 << 63


def read_object(raw: bytes, largest: int = LARGEST) -> dict[str, Any]:
    """One JSON object.

    Args:
        raw: the bytes as received.
        largest: more than LARGEST only where long texts are expected; what is not text stays
            within LARGEST, because it is what makes parsing slow.

    Raises:
        InputError: it is none that battery-daq takes; says which rule it breaks, never its content.
    """
    if len(raw) > largest:
        raise InputError(f"more than {largest} bytes")
    if len(raw) > LARGEST:
        _refuse_wide(raw)
    try:
        value = json.loads(
            raw.decode(),
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_bounded,
            object_pairs_hook=_unique,
        )
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {_why(error)}") from None
    if not isinstance(value, dict):
        raise InputError("not a JSON object")
    document = cast("dict[str, Any]", value)
    _walk(document)
    return document


def _refuse_wide(raw: bytes) -> None:
    outside = end = 0
    for found in _STRING.finditer(raw):
        outside += found.start() - end + len('""')
        end = found.end()
        if outside > LARGEST:
            break
    if outside + len(raw) - end > LARGEST:
        raise InputError(f"more than {LARGEST} bytes that are no text")


def _why(error: Exception) -> str:
    """Which rule; the texts of `json` itself may quote what was sent."""
    return str(error) if isinstance(error, _Unfit) else type(error).__name__


class _Unfit(ValueError):
    """JSON by its grammar, and yet not for us."""


def _no_constant(text: str) -> float:
    raise _Unfit(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Unfit("a number out of range")
    return value


def _bounded(text: str) -> int:
    value = int(text) if len(text) <= 20 else _BIGGEST_INTEGER
    if not -_BIGGEST_INTEGER <= value < _BIGGEST_INTEGER:
        raise _Unfit("a number out of range")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Unfit("a duplicate key")
    return found


def _walk(document: dict[str, Any]) -> None:
    """Level by level, so that depth costs no stack."""
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [child for item in level for child in _children(item)]
    for item in level:
        if isinstance(item, (dict, list)):
            raise InputError(f"nested deeper than {DEEPEST}")
        _children(item)


def _children(value: Any) -> list[Any]:
    """What a value holds; its texts are judged on the way."""
    if isinstance(value, dict):
        mapping = cast("dict[str, Any]", value)
        for key in mapping:
            _children(key)
        return list(mapping.values())
    if isinstance(value, str) and _UNHOLDABLE.search(value):
        raise InputError("text that no file can hold")
    return cast("list[Any]", value) if isinstance(value, list) else []
