"""A protocol file as it was read: its text, its hash, its places, and its parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from daq.errors import InputError
from daq.filemodel import nearest, validate
from daq.protocol.context import Included, Reading, Value
from daq.protocol.files import Convert, Files
from daq.protocol.schema import ProtocolModel
from daq.yamlfile import Document, Where, parse, plain, read

_PARAMETER = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True, slots=True)
class ProtocolSource:
    """A protocol file.

    Attributes:
        model: with the parameters that the file itself gives.
        parameters: those parameters.
        files: name -> text of every file that it brings: what it includes, what it plays; with
            the parameters that the file itself gives, and with those that a start has chosen.
    """

    document: Document
    model: ProtocolModel
    parameters: Mapping[str, Value]
    files: Mapping[str, str]

    @property
    def text(self) -> str:
        """As it was read."""
        return self.document.text

    @property
    def sha256(self) -> str:
        """Of the file's bytes; with those of the files that it brings, if there are any."""
        if not self.files:
            return self.document.sha256
        digest = sha256(self.document.sha256.encode())
        for name, text in sorted(self.files.items()):
            digest.update(f"\n{name} {sha256(text.encode()).hexdigest()}".encode())
        return digest.hexdigest()

    def with_parameters(self, values: Mapping[str, Value]) -> tuple[dict[str, Any], ProtocolModel]:
        """The file's data with these parameters put in, and its model."""
        context = Reading(Files(known=self.files), _included)
        return _with(values, self.document, context)


def load_protocol(
    path: Path | str,
    convert: Mapping[str, Convert] | None = None,
    chosen: Mapping[str, Value] | None = None,
) -> ProtocolSource:
    """Read and check a protocol file, and the files that it brings.

    Args:
        path: the file.
        convert: by suffix, for profiles that are no text.
        chosen: parameters of a start; they may name other files.

    Raises:
        InputError: the first thing that is wrong, with its place.
    """
    return protocol_from(read(Path(path)), Files(Path(path).parent, convert=convert), chosen)


def parse_protocol(
    text: str,
    file: str = "<protocol>",
    files: Mapping[str, str] | None = None,
    chosen: Mapping[str, Value] | None = None,
) -> ProtocolSource:
    """The same from text, for a protocol that came in a command or rests in a journal."""
    return protocol_from(parse(text, file), Files(known=files), chosen)


def protocol_from(
    document: Document, files: Files, chosen: Mapping[str, Value] | None = None
) -> ProtocolSource:
    """Check a document as a protocol."""
    if "lab" in document.data and "stations" in document.data:
        raise InputError(f"{document.file} is a lab file, not a protocol")
    raw = document.data.get("parameters", {})
    parameters = _parameters(raw, document)
    context = Reading(files, _included)
    _, model = _with(parameters, document, context)
    if chosen:
        _with(replaced(parameters, chosen, f"protocol {model.protocol}"), document, context)
    return ProtocolSource(
        document, model, MappingProxyType(parameters), MappingProxyType(files.texts)
    )


def _included(name: str, values: Mapping[str, Value], context: Reading) -> Included:
    """A protocol that another one includes."""
    document = parse(context.files.text(name), name)
    own = _parameters(document.data.get("parameters", {}), document)
    data, model = _with(replaced(own, values, name), document, context)
    return Included(name, document, data, model)


def _with(
    parameters: Mapping[str, Value], document: Document, context: Reading
) -> tuple[dict[str, Any], ProtocolModel]:
    """A document's data with these parameters put in, and its model."""
    data = substitute(document, parameters)
    try:
        return data, validate(ProtocolModel, document, data, context)
    except InputError as error:
        raise _naming_parameters(error, document, parameters) from error


def _naming_parameters(
    error: InputError, document: Document, parameters: Mapping[str, Value]
) -> InputError:
    """The same; where parameters stand in what is wrong, with what they are."""
    place = error.place
    if place is None or place.file != document.file:
        return error
    line = document.text.splitlines()[place.line - 1]
    value = re.split(r"[]},]", line[place.column - 1 :])[0]
    used = [f"${name} is {parameters[name]}" for name in _PARAMETER.findall(value)]
    return InputError(", ".join([error.message, *used]), place=place, remedy=error.remedy)


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
    return replaced(source.parameters, overrides, f"protocol {source.model.protocol}")


def replaced(
    own: Mapping[str, Value], overrides: Mapping[str, Value], whose: str
) -> dict[str, Value]:
    """Parameters with others in their place.

    Raises:
        InputError: there is no such parameter.
    """
    for name in overrides:
        if name not in own:
            remedy = nearest(name, own) or "it has none"
            raise InputError(f"{whose} has no parameter {name!r}", remedy=remedy)
    typed = {
        name: plain(value) if isinstance(value, str) else value for name, value in overrides.items()
    }
    return {**own, **typed}


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
