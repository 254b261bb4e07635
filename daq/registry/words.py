"""Plain data as YAML that our own reader reads back as the same data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

from daq.errors import InputError
from daq.yamlfile import parse, plain

_BARE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./%^+_-]*(?<! )")
_BARE_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def as_yaml(data: Mapping[str, Any], heading: str = "") -> str:
    """The text of a file.

    Args:
        data: texts, numbers, truth values, lists and mappings of them.
        heading: a comment above it.

    Raises:
        InputError: something in it cannot be written so that it is read back as it is.
    """
    text = "".join(f"# {line}\n" for line in heading.splitlines()) + _mapping(data, "")
    if parse(text, "what is to be written").data != data:
        raise InputError("this cannot be written as YAML and read back as it is")
    return text


def _mapping(data: Mapping[str, Any], indent: str) -> str:
    return "".join(f"{indent}{_key(key)}:{_value(value, indent)}" for key, value in data.items())


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _value(value: Any, indent: str) -> str:
    if isinstance(value, Mapping) and value:
        return "\n" + _mapping(cast("Mapping[str, Any]", value), indent + "  ")
    return f" {_flow(value)}\n"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return f"{{{', '.join(f'{_key(key)}: {_flow(inner)}' for key, inner in items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_flow(inner) for inner in cast('list[Any]', value))}]"
    if isinstance(value, str) and _BARE.fullmatch(value) and plain(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
