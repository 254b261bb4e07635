"""`daq convert`: protocols of other programs -> ours, and ours -> theirs."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daq.cli.output import EXIT_INPUT, Json, complain, near, print_json
from daq.errors import InputError, Place
from daq.units import CHARGE, TIME, parse

if TYPE_CHECKING:
    from daq.protocol.exchange.convert import Result
    from daq.protocol.exchange.findings import Findings


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(convert)


def convert(
    file: Annotated[Path, typer.Argument(help="A protocol, ours or of another program.")],
    source: Annotated[str, typer.Option("--from", help="Its format; found out if not given.")] = "",
    target: Annotated[
        str, typer.Option("--to", help="yaml, unicycler, pybamm or pybamm-config.")
    ] = "yaml",
    output: Annotated[Path | None, typer.Option("-o", help="Where to write; else stdout.")] = None,
    capacity: Annotated[
        str, typer.Option(help="Nominal capacity of the cell, such as '2.5 Ah'.")
    ] = "",
    at_most: Annotated[
        str, typer.Option(help="at_most of steps that nothing else bounds, such as '24 h'.")
    ] = "",
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Allow changes of meaning; each is listed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Convert a protocol; what the other side cannot say is refused, by name."""
    # Slow to import, and no other command needs it.
    from daq.protocol.exchange.convert import convert as run
    from daq.protocol.exchange.convert import read_bounded
    from daq.protocol.exchange.draft import Task
    from daq.protocol.exchange.findings import Findings
    from daq.protocol.exchange.formats import EXPORTERS, IMPORTERS, OWN, guess

    _known("--from", source, ["", OWN, *IMPORTERS])
    _known("--to", target, [OWN, *EXPORTERS])
    content = read_bounded(file)
    findings = Findings(approximate)
    task = Task(
        near(file),
        findings,
        parse(capacity, CHARGE) if capacity else None,
        parse(at_most, TIME) if at_most else None,
    )
    kind = source or guess(content, near(file))
    result = run(file, kind, target, task, content)
    if result.text is not None and output is not None:
        _write(output, result.text)
    if as_json:
        print_json(_document(kind, target, output, result, findings))
    else:
        _tell(output, result, findings)
    if result.text is None:
        raise typer.Exit(EXIT_INPUT)


def _known(option: str, given: str, names: Iterable[str]) -> None:
    if given not in names:
        raise InputError(f"{option} {given}", remedy=f"one of {', '.join(filter(None, names))}")


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{path} is there already", remedy="remove it first") from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def _tell(output: Path | None, result: Result, findings: Findings) -> None:
    if result.text is not None and output is None:
        print(result.text, end="")
    for error in findings.refused:
        complain(str(error))
    for note in findings.changed:
        print(f"changed: {note}", file=sys.stderr)
    for note in findings.left:
        print(f"left behind: {note}", file=sys.stderr)
    if result.mistake is not None:
        print(f"to be mended before it can start: {result.mistake}", file=sys.stderr)
    refused = f", {len(findings.refused)} refused" if findings.refused else ""
    print(f"{result.steps} steps{refused}", file=sys.stderr)


def _document(
    source: str, target: str, output: Path | None, result: Result, findings: Findings
) -> dict[str, Any]:
    mistake = result.mistake
    return {
        "from": source,
        "to": target,
        "steps": result.steps,
        "file": str(output) if output is not None and result.text is not None else None,
        "text": result.text,
        "refused": [_entry(one.place, one.message, one.remedy) for one in findings.refused],
        "changed": [_entry(note.place, note.text) for note in findings.changed],
        "left": [_entry(note.place, note.text) for note in findings.left],
        "mistake": _entry(mistake.place, mistake.message, mistake.remedy) if mistake else None,
    }


def _entry(place: Place | None, message: str, remedy: str = "") -> dict[str, Any]:
    return {
        "file": place.file if place else None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "message": message,
        "remedy": remedy,
    }
