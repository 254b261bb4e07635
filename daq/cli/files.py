"""Commands that look at files and start nothing: check, drivers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daq.cellfile import BatchFileModel, CellFileModel, CellsFileModel
from daq.cli.output import (
    EXIT_FAILED,
    EXIT_INPUT,
    Json,
    complain,
    console,
    print_json,
)
from daq.cli.profiles import TABLES
from daq.cli.stations import known_cell, known_station, need_lab, review_at
from daq.cli.tables import print_table
from daq.config import Lab
from daq.driver import find_driver, installed
from daq.errors import InputError
from daq.filemodel import validate
from daq.labreader import load_lab
from daq.model import Cell
from daq.protocol.source import ProtocolSource, load_protocol
from daq.yamlfile import read

if TYPE_CHECKING:
    from daq.review.finding import Finding

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
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are exit code 1.")] = False,
    as_json: Json = False,
) -> None:
    """Check files: what is wrong, and in protocols what cannot work, with file, line and column."""
    need_lab(lab, station, cell)
    loaded = load_lab(lab) if lab else None
    results = {str(path): _checked(path, loaded, station, cell) for path in file}
    if as_json:
        print_json([_result(name, result) for name, result in results.items()])
    else:
        for name, result in results.items():
            _say(name, result)
    if not all(result.ok for result in results.values()):
        raise typer.Exit(EXIT_INPUT)
    if strict and any(result.has_warnings for result in results.values()):
        raise typer.Exit(EXIT_FAILED)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What a check of one file came to: the mistake that ended it, or what was found."""

    mistake: InputError | None = None
    findings: Sequence[Finding] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; a warning is not."""
        return self.first is None

    @property
    def first(self) -> InputError | None:
        """The first mistake."""
        if self.mistake is not None:
            return self.mistake
        wrong = (one for one in self.findings if one.level == "error")
        return next((one.mistake() for one in wrong), None)

    @property
    def has_warnings(self) -> bool:
        """Whether something may not do what its author thinks."""
        return any(one.level == "warning" for one in self.findings)


def _say(name: str, result: _Checked) -> None:
    if result.mistake:
        complain(str(result.mistake))
    for one in result.findings:
        complain(str(one), one.level.value)
    if result.ok:
        console().print(f"{name}: ok")


def _result(name: str, result: _Checked) -> dict[str, Any]:
    error = result.first
    place = error.place if error else None
    return {
        "file": place.file if place else name,
        "ok": result.ok,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "message": error.message if error else None,
        "remedy": error.remedy if error else None,
        "findings": [one.document() for one in result.findings],
    }


def _checked(path: Path, lab: Lab | None, station: str, cell: str) -> _Checked:
    try:
        document = read(path)
        if not document.data.keys().isdisjoint(("protocol", "steps")):
            found = _check_protocol(load_protocol(path, TABLES), lab, station, cell)
            return _Checked(findings=found)
        if set(document.data) == {"cells"}:
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
        return _Checked(error)
    return _Checked()


def _check_protocol(
    source: ProtocolSource, lab: Lab | None, station: str, cell: str
) -> list[Finding]:
    """At every station and for every cell that is meant; what is found twice is said once."""
    if lab is None:
        return review_at(source, _NOMINAL)
    stations = [known_station(lab, station)] if station else list(lab.stations.values())
    cells = [known_cell(lab, cell)] if cell else list(lab.cells.values()) or [_NOMINAL]
    found = [review_at(source, one, lab, at) for at in stations for one in cells]
    return list(dict.fromkeys(chain.from_iterable(found)))


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
