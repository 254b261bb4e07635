"""`daq start --sheet`: a run for each line of a CSV sheet, checked as a whole before any starts."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from daq.cli.output import EXIT_FAILED, EXIT_INPUT, EXIT_REFUSED, complain, duration, print_json
from daq.cli.tables import print_table
from daq.errors import DaqError, InputError, Place
from daq.filemodel import nearest
from daq.model import Reply

LARGEST = 1 << 20  # bytes
_OWN = ("station", "cell")
Send = Callable[..., Reply]
"""Sends a command: verb, station, arguments."""


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of a sheet; an empty field leaves a parameter as the protocol has it."""

    place: Place
    station: str
    cell: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """The good lines, and what is wrong with each bad one."""

    lines: list[Line]
    mistakes: list[InputError]


def read_sheet(path: Path, parameters: Mapping[str, Any] | None) -> Sheet:
    """Read a sheet: columns `station`, `cell`, and one for each parameter that differs.

    Args:
        path: the CSV file.
        parameters: those that the protocol has; None: the daemon knows.

    Raises:
        InputError: it cannot be read, or its header is wrong, so that no line can be understood.
    """
    rows = csv.reader(StringIO(text := _text(path)), delimiter=_separator(text))
    nothing: list[str] = []
    header = [field.strip() for field in next(rows, nothing)]
    _check_header(header, path, parameters)
    sheet, seen = Sheet([], []), dict[tuple[str, str], int]()
    for row in rows:
        if not any(field.strip() for field in row):
            continue
        place = Place(str(path), rows.line_num, 1)
        try:
            sheet.lines.append(_line(header, row, place, seen))
        except InputError as error:
            sheet.mistakes.append(error)
    if not sheet.lines and not sheet.mistakes:
        raise InputError(f"{path} has no line below its header")
    return sheet


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        if len(raw) > LARGEST:
            raise InputError(f"{path} is larger than {LARGEST >> 20} MiB")
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text", remedy="save it as CSV, in UTF-8") from error


def _separator(text: str) -> str:
    """Comma, semicolon or tab: what the header has most."""
    return max(",;\t", key=text.partition("\n")[0].count)


def _check_header(header: list[str], path: Path, parameters: Mapping[str, Any] | None) -> None:
    place = Place(str(path), 1, 1)
    for name in _OWN:
        if name not in header:
            remedy = "the first line names the columns: station,cell,..."
            raise InputError(f"there is no column {name!r}", place=place, remedy=remedy)
    for name in header:
        if header.count(name) > 1:
            raise InputError(f"the column {name!r} is there twice", place=place)
        if name not in _OWN and parameters is not None and name not in parameters:
            remedy = nearest(name, parameters) or "a column is station, cell or a parameter"
            raise InputError(f"the protocol has no parameter {name!r}", place=place, remedy=remedy)


def _line(
    header: list[str], row: list[str], place: Place, seen: dict[tuple[str, str], int]
) -> Line:
    if len(row) != len(header):
        message = f"{len(row)} fields under {len(header)} columns"
        raise InputError(message, place=place, remedy="quote a field that has a comma in it")
    fields = {name: field.strip() for name, field in zip(header, row, strict=True)}
    for name in _OWN:
        if not fields[name]:
            raise InputError(f"the {name} is missing", place=place)
        first = seen.setdefault((name, fields[name]), place.line)
        if first != place.line:
            message = f"{name} {fields[name]} is in line {first}, too"
            raise InputError(message, place=place, remedy="one run at a time")
    given = {name: value for name, value in fields.items() if value and name not in _OWN}
    return Line(place, fields["station"], fields["cell"], given)


# Starting.


@dataclass(frozen=True, slots=True)
class Start:
    """What all lines have in common.

    Attributes:
        arguments: of every `start`: the protocol, the operator.
        parameters: from the command line; a line's own come before them.
        some: start the good lines even if others are bad.
    """

    send: Send
    arguments: Mapping[str, Any]
    parameters: Mapping[str, str]
    some: bool = False

    def line(self, line: Line, **more: Any) -> Reply:
        """Ask the daemon for one line."""
        arguments = {
            **self.arguments,
            "cell": line.cell,
            "parameters": {**self.parameters, **line.parameters},
            **more,
        }
        return self.send("start", line.station, **arguments)


def start_sheet(sheet: Sheet, start: Start, *, as_json: bool) -> int:
    """Check every line, then start all of them; the exit code.

    Nothing is started where a line is bad, unless `start.some` says so. What has been started is
    stopped again where a later line is refused after all.
    """
    for mistake in sheet.mistakes:
        complain(str(mistake))
    good = [line for line in sheet.lines if _allowed(line, start.line(line, check=True))]
    code = EXIT_INPUT if sheet.mistakes else EXIT_REFUSED if len(good) < len(sheet.lines) else 0
    if code and not start.some:
        complain("nothing was started; --some starts the good lines")
        return code
    started: dict[Line, Reply] = {}
    try:
        for line, reply in _started(good, start):
            started[line] = reply
    except DaqError:
        complain(f"started before that: {', '.join(line.station for line in started) or 'none'}")
        raise
    if len(started) < len(good):
        if not start.some:
            return _undo(started, start)
        code = code or EXIT_REFUSED
    _report(started, as_json)
    return code


def _allowed(line: Line, reply: Reply) -> bool:
    if reply.state == "refused":
        complain(str(InputError(f"{line.station}: {reply.reason}", place=line.place)))
    return reply.state != "refused"


def _started(lines: list[Line], start: Start) -> Iterator[tuple[Line, Reply]]:
    """Up to the first refusal; with `some`, all that can be."""
    for line in lines:
        reply = start.line(line)
        if _allowed(line, reply):
            yield line, reply
        elif not start.some:
            return


def _undo(started: Mapping[Line, Reply], start: Start) -> int:
    """All or nothing: the bench has changed between the check and the start."""
    for line in started:
        reply = start.send("stop", line.station, reason="another line of its sheet did not start")
        _allowed(line, reply)
    complain(f"{len(started)} runs that had started were stopped again")
    return EXIT_FAILED


def _report(started: Mapping[Line, Reply], as_json: bool) -> None:
    if as_json:
        print_json([_document(line, reply) for line, reply in started.items()])
        return
    rows = [
        (line.station, line.cell, reply.data.get("run"), duration(reply.data.get("expected_s")))
        for line, reply in started.items()
    ]
    print_table(("station", "cell", "run", "about"), rows)


def _document(line: Line, reply: Reply) -> dict[str, Any]:
    return {
        "line": line.place.line,
        "station": line.station,
        "cell": line.cell,
        "parameters": dict(line.parameters),
        **reply.data,
    }
