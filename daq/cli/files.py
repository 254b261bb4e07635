"""Commands that look at files and start nothing: check, drivers."""

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
    print_json,
)
from daq.cli.profiles import TABLES
from daq.cli.stations import compiled_for, known_cell, known_station
from daq.cli.tables import print_table
from daq.config import Lab, load_lab
from daq.driver import find_driver, installed
from daq.errors import InputError
from daq.filemodel import validate
from daq.model import Cell
from daq.protocol.source import ProtocolSource, load_protocol
from daq.yamlfile import read

_KINDS = "they begin with `lab:` and `protocol:`; `daq simulate` checks bench files"
_NOMINAL = Cell("a cell of 1 Ah", 1.0)


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(check)
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
        compiled_for(source, _NOMINAL)
        return
    stations = [known_station(lab, station)] if station else list(lab.stations.values())
    cells = [known_cell(lab, cell)] if cell else list(lab.cells.values()) or [_NOMINAL]
    for at in stations:
        for one in cells:
            compiled_for(source, one, lab, at)


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
