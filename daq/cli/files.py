"""Commands that look at files and start nothing: check, dry-run, drivers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from daq.cellfile import BatchFileModel, CellFileModel, CellsFileModel
from daq.cli.output import (
    EXIT_INPUT,
    Json,
    complain,
    console,
    duration,
    pairs,
    print_json,
)
from daq.cli.profiles import TABLES
from daq.cli.tables import print_table
from daq.config import Lab, load_lab
from daq.driver import find_driver, installed
from daq.errors import InputError
from daq.filemodel import validate
from daq.model import Cell
from daq.protocol.compile import compile_protocol
from daq.protocol.program import Program, Step
from daq.protocol.source import ProtocolSource, load_protocol
from daq.registry.cells import Cells
from daq.yamlfile import read

_KINDS = "they begin with `lab:` and `protocol:`; `daq simulate` checks bench files"
_NOMINAL = Cell("a cell of 1 Ah", 1.0)


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(check)
    app.command("dry-run")(dry_run)
    app.command()(drivers)


def check(
    file: Annotated[list[Path], typer.Argument(help="Lab files and protocol files.")],
    lab: Annotated[
        Path | None, typer.Option("--lab", help="Check protocols against this lab's stations.")
    ] = None,
    station: Annotated[str, typer.Option(help="Only this station.")] = "",
    cell: Annotated[str, typer.Option(help="Only this cell.")] = "",
    as_json: Json = False,
) -> None:
    """Check files; the first mistake of each is printed with file, line and column."""
    loaded = load_lab(lab) if lab else None
    results = {str(path): _mistake(path, loaded, station, cell) for path in file}
    if as_json:
        print_json([_result(name, error) for name, error in results.items()])
    else:
        for name, error in results.items():
            complain(str(error)) if error else console().print(f"{name}: ok")
    if any(results.values()):
        raise typer.Exit(EXIT_INPUT)


def _result(name: str, error: InputError | None) -> dict[str, Any]:
    place = error.place if error else None
    return {
        "file": place.file if place else name,
        "ok": error is None,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "message": error.message if error else None,
        "remedy": error.remedy if error else None,
    }


def _mistake(path: Path, lab: Lab | None, station: str, cell: str) -> InputError | None:
    try:
        document = read(path)
        if not document.data.keys().isdisjoint(("protocol", "steps")):
            _check_protocol(load_protocol(path, TABLES), lab, station, cell)
        elif set(document.data) == {"cells"}:
            validate(CellsFileModel, document)
        elif "cell" in document.data:
            validate(CellFileModel, document)
        elif "batch" in document.data:
            validate(BatchFileModel, document)
        elif not document.data.keys().isdisjoint(("lab", "stations")):
            load_lab(path)
        else:
            raise InputError(f"{path} is neither a lab file nor a protocol", remedy=_KINDS)
    except InputError as error:
        return error
    return None


def _check_protocol(source: ProtocolSource, lab: Lab | None, station: str, cell: str) -> None:
    if lab is None:
        compile_protocol(source, _NOMINAL, [])
        return
    stations = [_station(lab, station)] if station else list(lab.stations)
    cells = [_cell(lab, cell)] if cell else list(lab.cells.values()) or [_NOMINAL]
    for name in stations:
        for one in cells:
            compile_protocol(source, one, [(f"station {name}", lab.stations[name].limits)])


def _cell(lab: Lab, cell: str) -> Cell:
    return Cells(lab.data, lab.cells).cell(cell)


def _station(lab: Lab, station: str) -> str:
    if station not in lab.stations:
        known = ", ".join(lab.stations)
        raise InputError(f"lab {lab.name} has no station {station!r}", remedy=f"it has {known}")
    return station


def dry_run(
    protocol: Annotated[Path, typer.Argument(help="The protocol file.")],
    capacity: Annotated[float, typer.Option(help="Nominal capacity of the cell, Ah.")] = 1.0,
    lab: Annotated[Path | None, typer.Option("--lab", help="Take cell and limits from it.")] = None,
    station: Annotated[str, typer.Option(help="Station of that lab.")] = "",
    cell: Annotated[str, typer.Option(help="Cell of that lab.")] = "",
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="name=value.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compile a protocol and show what would be done: each step, resolved, and how long."""
    source = load_protocol(protocol, TABLES)
    loaded = load_lab(lab) if lab else None
    tiers = []
    if loaded and station:
        limits = loaded.stations[_station(loaded, station)].limits
        tiers = [(f"station {station}", limits)]
    subject = _cell(loaded, cell) if loaded and cell else Cell("dry-run", capacity)
    values = pairs(parameter or ())
    program = compile_protocol(source, subject, tiers, None, values)
    if as_json:
        print_json(_document(program))
        return
    title = f"{program.protocol} {program.version} for a cell of {subject.nominal_capacity_Ah:g} Ah"
    print_table(("step", "line", "what", "setpoint", "until", "at most"), _rows(program), title)
    console().print(
        f"expected {duration(program.expected_s)}, at most "
        f"{duration(program.at_most_s)} of lab time"
    )


def _rows(program: Program) -> list[tuple[Any, ...]]:
    return [
        (
            step.number,
            step.line,
            step.text.partition(" until ")[0],
            _setpoint(step),
            " or ".join(condition.text for condition in step.until),
            duration(step.at_most_s),
        )
        for step in program.steps
    ]


def _setpoint(step: Step) -> str:
    setpoint = step.setpoint
    if setpoint is None:
        return "OFF"
    low, high = 0.0 - setpoint.discharge_A, setpoint.charge_A
    return f"{setpoint.voltage_V:g} V, {low:.4g} to {high:.4g} A"


def _document(program: Program) -> dict[str, Any]:
    return {
        "protocol": program.protocol,
        "version": program.version,
        "sha256": program.sha256,
        "expected_s": program.expected_s,
        "at_most_s": program.at_most_s,
        "steps": [
            {
                "step": step.number,
                "line": step.line,
                "kind": step.kind.value,
                "text": step.text,
                "setpoint": _setpoint(step),
                "until": [condition.text for condition in step.until],
                "at_most_s": step.at_most_s,
            }
            for step in program.steps
        ],
    }


def drivers(as_json: Json = False) -> None:
    """List the drivers that are installed."""
    rows = {name: _driver(name, target) for name, target in installed().items()}
    if as_json:
        print_json(rows)
    else:
        print_table(
            ("name", "class", "kind", "what"),
            [(name, row["class"], row["kind"], row["what"]) for name, row in rows.items()],
        )


def _driver(name: str, target: str) -> dict[str, str]:
    try:
        found = find_driver(name)
    except InputError as error:
        return {"class": target, "kind": "broken", "what": str(error)}
    kind = found.__mro__[1].__name__.lower()
    return {"class": target, "kind": kind, "what": (found.__doc__ or "").split("\n")[0]}
