"""Cells as a CSV table: a header row of keys, a row for each cell.

    cell,batch,nominal_capacity [Ah],positive.active_mass [g],limits.voltage,metadata.tray
    C-0042,B2025-07,2.5,14.1,2.5 V to 4.2 V,7

A unit stands in the header, as `key [g]` or `key / g`, or in the values. An empty field says
nothing: the batch's word holds. Every row that is wrong is reported with its line, so that a table
can be mended in one go.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daq.cellfile import CellFileModel
from daq.errors import InputError, Place
from daq.filemodel import nearest, validate
from daq.registry.fields import check_key, check_text, known_keys, put
from daq.yamlfile import Document, Mark, Where

LARGEST = 8 << 20  # bytes
MOST_ROWS = 20_000
MOST_COLUMNS = 200
LONGEST_LINE = 100_000  # characters
_ID = "cell"
_NUMBERS = re.compile(r"[-+0-9.eE]+(\s+to\s+[-+0-9.eE]+)?")
_HEADING = re.compile(r"([^\[/]+?)(?:\s*\[\s*(.+?)\s*\]|\s+/\s+(.+?))?")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table; `unit` is empty where the values have their own."""

    key: str
    unit: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row that is a cell by itself; whether its batch exists is not known here."""

    place: Place
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """What a file came to: the good rows, and what is wrong with each bad one."""

    rows: list[Row]
    mistakes: list[InputError]


def read_table(path: Path) -> Table:
    """Read a CSV file.

    Raises:
        InputError: it cannot be read, or its header is wrong, so that no row can be understood.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_table(raw, str(path))


def parse_table(raw: bytes, file: str) -> Table:
    """The same from memory; `file` is the name that messages show.

    Raises:
        InputError: as for `read_table`.
    """
    text = _text(raw, file)
    separator = _separator(text.partition("\n")[0])
    lines = _lines(text, separator, file)
    header = next(lines, None)
    if header is None:
        raise InputError(f"{file} is empty", remedy="the first line names the columns")
    columns = _columns(header, file)
    table, first = Table([], []), dict[str, int]()
    for line in lines:
        try:
            row = _row(line, columns, file)
            _refuse_twice(row, first)
            table.rows.append(row)
        except InputError as error:
            table.mistakes.append(error)
    return table


def _text(raw: bytes, file: str) -> str:
    if len(raw) > LARGEST:
        raise InputError(f"{file} is larger than {LARGEST >> 20} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = Place(file, raw.count(b"\n", 0, error.start) + 1, 1)
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise InputError(message, place=place, remedy="save the table as UTF-8") from error


def _separator(header: str) -> str:
    """Comma, semicolon (where the comma is the decimal sign) or tab: what the header has most."""
    return max(",;\t", key=header.count)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    fields: list[str]
    starts: list[int]

    def place(self, file: str, column: int = 0) -> Place:
        start = self.starts[column] if column < len(self.starts) else 1
        return Place(file, self.number, start)


def _lines(text: str, separator: str, file: str) -> Iterator[_Line]:
    """The lines that are not blank; a field never goes on in the next line."""
    for number, line in enumerate(re.split("\r\n|\n|\r", text), 1):
        if not line.strip(f" {separator}"):
            continue
        if len(line) > LONGEST_LINE:
            raise InputError(f"line {number} of {file} is longer than {LONGEST_LINE} characters")
        if number > MOST_ROWS + 1:
            raise InputError(f"{file} has more than {MOST_ROWS} rows", remedy="split it")
        yield _Line(number, _fields(line, separator), _starts(line, separator))


def _fields(line: str, separator: str) -> list[str]:
    try:
        found = next(csv.reader(io.StringIO(line), delimiter=separator, strict=True))
    except (csv.Error, StopIteration):  # an open quote, or text after a closed one
        return []
    return [field.strip() for field in found]


def _starts(line: str, separator: str) -> list[int]:
    """1-based columns at which the fields begin."""
    starts, first, within = [1], "", False
    for index, character in enumerate(line, 2):
        first = first or character
        within ^= character == first == '"'  # a quote counts where the field begins with one
        if character == separator and not within:
            starts.append(index)
            first = ""
    return starts


def _columns(line: _Line, file: str) -> list[Column]:
    known = known_keys(CellFileModel)
    if len(line.fields) > MOST_COLUMNS:
        raise InputError(f"{file} has more than {MOST_COLUMNS} columns")
    columns: list[Column] = []
    for index, heading in enumerate(line.fields):
        try:
            columns.append(_column(heading, known, columns))
        except InputError as error:
            place = line.place(file, index)
            raise InputError(error.message, place=place, remedy=error.remedy) from error
    if _ID not in [column.key for column in columns]:
        raise InputError(
            f"there is no column {_ID!r}",
            place=line.place(file),
            remedy=nearest(_ID, line.fields) if line.fields else "",
        )
    return columns


def _column(heading: str, known: list[str], before: list[Column]) -> Column:
    found = _HEADING.fullmatch(heading)
    if found is None:
        raise InputError(f"{heading[:60]!r} is not a heading", remedy="write key, or key [unit]")
    key, unit = found[1].strip(), found[2] or found[3] or ""
    check_text("the heading", heading)
    check_key(key, known)
    if key in [column.key for column in before]:
        raise InputError(f"there are two columns {key!r}", remedy="keep one")
    return Column(key, unit)


def _row(line: _Line, columns: list[Column], file: str) -> Row:
    if len(line.fields) != len(columns):
        found = f"{len(line.fields)} fields" if line.fields else "quotes that do not fit"
        raise InputError(
            f"the row has {found}; the header has {len(columns)} columns", place=line.place(file)
        )
    data, marks = dict[str, Any](), dict[Where, Mark]()
    for index, (column, text) in enumerate(zip(columns, line.fields, strict=True)):
        place = line.place(file, index)
        if text:
            _put(data, column, text, place)
            marks |= _marks(column.key, (place.line, place.column))
    place = line.place(file)
    marks[()] = (place.line, place.column)
    document = Document(file, "", hashlib.sha256().hexdigest(), data, marks, marks)
    _validate(document, columns, line)
    return Row(place, data)


def _put(data: dict[str, Any], column: Column, text: str, place: Place) -> None:
    try:
        check_text(column.key, text)
    except InputError as error:
        raise InputError(error.message, place=place) from error
    if column.unit and not _NUMBERS.fullmatch(text):
        raise InputError(
            f"{column.key}: {text!r} is not a number",
            place=place,
            remedy=f"the unit {column.unit} stands in the header; numbers have a decimal point",
        )
    put(data, column.key, text, column.unit)


def _marks(key: str, mark: Mark) -> dict[Where, Mark]:
    """A place for the key and for all that is above it."""
    parts = key.split(".")
    return {tuple(parts[: depth + 1]): mark for depth in range(len(parts))}


def _validate(document: Document, columns: list[Column], line: _Line) -> None:
    """A message says which column it is about: a place alone is hard to find in a wide table."""
    try:
        validate(CellFileModel, document)
    except InputError as error:
        place = error.place or line.place(document.file)
        index = line.starts.index(place.column) if place.column in line.starts else 0
        key = columns[index].key if error.place and len(columns) > index else ""
        said = f"{key}: {error.message}" if key and key not in error.message else error.message
        raise InputError(said, place=place, remedy=error.remedy) from error


def _refuse_twice(row: Row, first: dict[str, int]) -> None:
    ident = row.data[_ID]
    if ident in first:
        raise InputError(f"cell {ident} is in line {first[ident]} already", place=row.place)
    first[ident] = row.place.line
