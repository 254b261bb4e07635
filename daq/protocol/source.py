"""A protocol file as it was read: its text, its hash, its places, and its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from daq.errors import InputError
from daq.filemodel import nearest, validate
from daq.protocol.schema import ProtocolModel
from daq.yamlfile import Document, Where, parse, plain, read

_PARAMETER = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
Value = str | int | float


@dataclass(frozen=True, slots=True)
class ProtocolSource:
    """A protocol file.

    Attributes:
        model: with the parameters that the file itself gives.
        parameters: those parameters.
    """

    document: Document
    model: ProtocolModel
    parameters: Mapping[str, Value]

    @property
    def text(self) -> str:
        """As it was read."""
        return self.document.text

    @property
    def sha256(self) -> str:
        """Of the file's bytes."""
        return self.document.sha256


def load_protocol(path: Path | str) -> ProtocolSource:
    """Read and check a protocol file.

    Raises:
        InputError: the first thing that is wrong, with its place.
    """
    return protocol_from(read(Path(path)))


def parse_protocol(text: str, file: str = "<protocol>") -> ProtocolSource:
    """The same from text, for a protocol that came in a command or rests in a journal."""
    return protocol_from(parse(text, file))


def protocol_from(document: Document) -> ProtocolSource:
    """Check a document as a protocol."""
    raw = document.data.get("parameters", {})
    parameters = _parameters(raw, document)
    model = validate(ProtocolModel, document, substitute(document, parameters))
    return ProtocolSource(document, model, MappingProxyType(parameters))


def _parameters(raw: Any, document: Document) -> dict[str, Value]:
    if not isinstance(raw, dict):
        return {}  # the model says what is wrong with it
    given = cast(dict[str, Any], raw)
    for name, value in given.items():
        if isinstance(value, (dict, list)) or (isinstance(value, str) and "$" in value):
            raise InputError(
                f"parameter {name!r} is not a plain value",
                place=document.place(("parameters", name), value=True),
                remedy="write it like `v_max: 4.2 V`",
            )
    return given


def overridden(source: ProtocolSource, overrides: Mapping[str, Value]) -> dict[str, Value]:
    """The parameters of a run: the file's, with those that were given at its start.

    Raises:
        InputError: the protocol has no such parameter.
    """
    for name in overrides:
        if name not in source.parameters:
            raise InputError(
                f"protocol {source.model.protocol} has no parameter {name!r}",
                remedy=nearest(name, source.parameters) or "it has none",
            )
    typed = {
        name: plain(value) if isinstance(value, str) else value for name, value in overrides.items()
    }
    return {**source.parameters, **typed}


def substitute(document: Document, parameters: Mapping[str, Value]) -> dict[str, Any]:
    """The file's data with every `$name` replaced.

    Raises:
        InputError: a `$name` that the protocol does not define.
    """
    data = {
        key: value if key == "parameters" else _put_in(value, (key,), document, parameters)
        for key, value in document.data.items()
    }
    return data


def _put_in(value: Any, where: Where, document: Document, parameters: Mapping[str, Value]) -> Any:
    if isinstance(value, dict):
        mapping = cast(dict[str, Any], value)
        return {
            key: _put_in(inner, (*where, key), document, parameters)
            for key, inner in mapping.items()
        }
    if isinstance(value, list):
        entries = cast(list[Any], value)
        return [
            _put_in(inner, (*where, index), document, parameters)
            for index, inner in enumerate(entries)
        ]
    return _fill(value, where, document, parameters) if isinstance(value, str) else value


def _fill(text: str, where: Where, document: Document, parameters: Mapping[str, Value]) -> Value:
    for name in _PARAMETER.findall(text):
        if name not in parameters:
            raise InputError(
                f"there is no parameter ${name}",
                place=document.place(where, value=True),
                remedy=nearest(name, parameters) or "define it under `parameters`",
            )
    whole = _PARAMETER.fullmatch(text)
    if whole:
        return parameters[whole[1]]
    return _PARAMETER.sub(lambda match: str(parameters[match[1]]), text)
