"""The one YAML reader: strict YAML 1.2 with the line and column of every key and value.

Refused, each with its place: anchors, aliases, tags, merge keys, duplicate keys, tabs, several
documents, other encodings than UTF-8, infinite numbers, and files that are too large, too deep
or too dense. Built on parse events, so that a hostile file is refused before anything is expanded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamStartEvent,
)

from daq.errors import InputError, Place

LARGEST_FILE = 1 << 20  # bytes
DEEPEST = 32
MOST_NODES = 50_000
LONGEST_LINE = 10_000  # characters; the scanner is quadratic in a run of "!"

Where = tuple[str | int, ...]
"""The way to a value: keys and list indices from the top of the file."""

Mark = tuple[int, int]
"""1-based line and column."""


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain values, and where each of them stands.

    Attributes:
        file: the name that messages show.
        sha256: of the bytes as they were read.
        data: the top-level mapping; keys are always text, exactly as written.
        keys, values: marks by way; a list entry has a value mark only.
    """

    file: str
    text: str
    sha256: str
    data: Mapping[str, Any]
    keys: Mapping[Where, Mark]
    values: Mapping[Where, Mark]

    def place(self, where: Where = (), *, value: bool = False) -> Place:
        """Where a key (or its value) stands; the nearest enclosing one if it does not exist."""
        first, second = (self.values, self.keys) if value else (self.keys, self.values)
        mark = first.get(where) or second.get(where)
        if mark is not None:
            return Place(self.file, *mark)
        return self.place(where[:-1]) if where else Place(self.file, 1, 1)


def read(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        InputError: it cannot be read, or is not the YAML that battery-daq takes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return parse(content, str(path))


def parse(content: bytes | str, file: str = "<text>") -> Document:
    """Parse YAML from memory; `file` is the name that messages show.

    Raises:
        InputError: as for `read`.
    """
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    text = _decode(raw, file)
    _refuse_characters(text, file)
    reader = _Reader(file)
    data = reader.document(text)
    sha256 = hashlib.sha256(raw).hexdigest()
    return Document(file, text, sha256, data, reader.keys, reader.values)


def _decode(raw: bytes, file: str) -> str:
    if len(raw) > LARGEST_FILE:
        raise InputError(f"{file} is larger than {LARGEST_FILE >> 20} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - (before.rfind(b"\n") + 1) + 1
        raise InputError(
            f"byte 0x{raw[error.start]:02x} is not UTF-8",
            place=Place(file, line, column),
            remedy="save the file as UTF-8",
        ) from error


_CONTROL = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff"
_FORBIDDEN = re.compile(f"[\t{_CONTROL}]")
_UNPRINTABLE = re.compile(f"[{_CONTROL}\ud800-\udfff]")  # what a "\\u…" escape may smuggle in


def _refuse_characters(text: str, file: str) -> None:
    _refuse_long_lines(text, file)
    found = _FORBIDDEN.search(text)
    if found is None:
        return
    line = text.count("\n", 0, found.start()) + 1
    column = found.start() - text.rfind("\n", 0, found.start())
    place = Place(file, line, column)
    if found[0] == "\t":
        raise InputError("there is a tab", place=place, remedy="use spaces; YAML has no tabs")
    raise InputError(
        f"control character U+{ord(found[0]):04X}", place=place, remedy="remove this character"
    )


def _refuse_long_lines(text: str, file: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_LINE:
            raise InputError(
                f"the line is longer than {LONGEST_LINE} characters",
                place=Place(file, number, LONGEST_LINE + 1),
                remedy="break it",
            )


class _Reader:
    """Parse events -> plain values; every mark is noted on the way."""

    def __init__(self, file: str) -> None:
        self.keys: dict[Where, Mark] = {}
        self.values: dict[Where, Mark] = {}
        self._file = file
        self._nodes = 0
        self._events: Iterator[Any] = iter(())

    def document(self, text: str) -> dict[str, Any]:
        parser: Any = YAML(typ="safe", pure=True)
        self._events = parser.parse(text)
        try:
            return self._only_document()
        except MarkedYAMLError as error:
            raise _syntax_error(error, self._file) from error
        except (YAMLError, ValueError, OverflowError) as error:  # an escape beyond Unicode
            raise InputError(f"{self._file} is not YAML: {error}") from error

    def _only_document(self) -> dict[str, Any]:
        event = self._next()
        while isinstance(event, StreamStartEvent):
            event = self._next()
        if not isinstance(event, DocumentStartEvent):
            raise InputError(f"{self._file} is empty")
        self._check_version(event)
        top = self._next()
        if not isinstance(top, MappingStartEvent):
            self._refuse(
                top, "the file is not a list of `key: value` lines", "begin with one, at the margin"
            )
        self._check_node(top, ())
        self.values[()] = _mark(top)
        data = self._mapping(())
        while isinstance(event := self._next(), DocumentEndEvent):
            pass
        if isinstance(event, DocumentStartEvent):
            self._refuse(event, "a second document begins", "one file holds one document")
        return data

    def _next(self) -> Any:
        return next(self._events)

    def _check_version(self, event: Any) -> None:
        if event.version is not None and tuple(event.version) != (1, 2):
            self._refuse(event, "this is not YAML 1.2", "remove the %YAML line")

    def _mapping(self, where: Where) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            key = self._key(event)
            here = (*where, key)
            if key in data:
                first = self.keys[here][0]
                self._refuse(event, f"{key!r} is given twice; first in line {first}", "keep one")
            self.keys[here] = _mark(event)
            value = self._next()
            if self._has_no_colon(event, value):
                remedy = "write `key: value`; a number has a point, not a comma"
                self._refuse(event, f"{key!r} has no value", remedy)
            data[key] = self._value(value, here)
        return data

    def _has_no_colon(self, key: Any, value: Any) -> bool:
        """Whether a key stands alone between braces: to YAML it has an empty value."""
        alone = bool(value.start_mark.index == key.end_mark.index)
        return alone and isinstance(value, ScalarEvent) and self._is_empty(value)

    def _key(self, event: Any) -> str:
        self._count(event)
        if not isinstance(event, ScalarEvent) or self._is_empty(event):
            self._refuse(event, "a key must be one plain word")
        self._refuse_decoration(event)
        key = self._text(event)
        if key == "<<":
            self._refuse(event, "merge keys are not allowed", "write the lines out")
        return key

    @staticmethod
    def _is_empty(scalar: Any) -> bool:
        return scalar.value == "" and scalar.style is None

    def _sequence(self, where: Where) -> list[Any]:
        data: list[Any] = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            data.append(self._value(event, (*where, len(data))))
        return data

    def _value(self, event: Any, where: Where) -> Any:
        self._check_node(event, where)
        self.values[where] = _mark(event)
        if isinstance(event, ScalarEvent):
            return self._scalar(event)
        if isinstance(event, MappingStartEvent):
            return self._mapping(where)
        return self._sequence(where)

    def _check_node(self, event: Any, where: Where) -> None:
        self._count(event)
        self._refuse_decoration(event)
        if len(where) >= DEEPEST:
            self._refuse(event, f"nested deeper than {DEEPEST} levels")

    def _count(self, event: Any) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            self._refuse(event, f"more than {MOST_NODES} keys and values")

    def _refuse_decoration(self, event: Any) -> None:
        name = str(event.anchor)[:40]
        if isinstance(event, AliasEvent):
            self._refuse(event, f"aliases (*{name}) are not allowed", "write it out")
        if event.anchor is not None:
            self._refuse(event, f"anchors (&{name}) are not allowed", "write it out")
        if getattr(event, "tag", None) is not None:
            self._refuse(event, "tags (!) are not allowed", "put the text in quotes")

    def _scalar(self, event: Any) -> Any:
        if event.style is not None:
            return self._text(event)
        value = plain(str(event.value))
        if isinstance(value, float) and not isfinite(value):
            self._refuse(event, f"{str(event.value)[:40]} is not a finite number")
        return value

    def _text(self, event: Any) -> str:
        escaped = _UNPRINTABLE.search(event.value)
        if escaped:
            self._refuse(event, f"the text holds the character U+{ord(escaped[0]):04X}")
        return str(event.value)

    def _refuse(self, event: Any, message: str, remedy: str = "") -> NoReturn:
        raise InputError(message, place=Place(self._file, *_mark(event)), remedy=remedy)


def _mark(event: Any) -> Mark:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _syntax_error(error: Any, file: str) -> InputError:
    mark = error.problem_mark or error.context_mark
    place = Place(file, mark.line + 1, mark.column + 1) if mark else None
    parts = [str(part) for part in (error.context, error.problem) if part]
    said = ", ".join(parts) or "syntax error"
    return InputError(f"not YAML: {said}", place=place, remedy=_syntax_remedy(error))


_REMEDIES = (
    (
        "mapping values are not allowed",
        "put a text that holds ': ' in quotes; a key has a space behind its colon",
    ),
    ("flow", "is a { or [ closed, in line {line}?"),
    ("block", "begin each line of a list or of a step in the same column"),
    ("could not find expected ':'", "write `key: value`"),
    ("quoted scalar", "is the quote closed, in line {line}?"),
)


def _syntax_remedy(error: Any) -> str:
    """What most often is behind a message of the parser."""
    said = f"{error.problem or ''} {error.context or ''}"
    begun = error.context_mark or error.problem_mark
    remedy = next((remedy for sign, remedy in _REMEDIES if sign in said), "")
    return remedy.replace("{line}", str(begun.line + 1)) if begun else ""


_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BASED = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_SPECIAL = re.compile(r"([-+]?\.(inf|Inf|INF))|\.(nan|NaN|NAN)")


def plain(text: str) -> Any:
    """The value of an unquoted word by the YAML 1.2 core schema: 010 is ten, 1e3 is a number."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text
