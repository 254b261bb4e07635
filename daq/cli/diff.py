"""`daq diff`: what two versions of a protocol do differently."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daq.cli.output import DEFAULT_LAB, EXIT_FAILED, Json, console, data_folder, print_json
from daq.cli.profiles import TABLES
from daq.cli.stations import known_cell, nominal_Ah
from daq.cli.tables import print_table
from daq.errors import InputError
from daq.labreader import load_lab
from daq.model import Cell
from daq.protocol.compile import compile_placed
from daq.protocol.source import ProtocolSource, load_protocol
from daq.registry.protocols import Protocols

if TYPE_CHECKING:
    from daq.review.compared import Version
    from daq.review.difference import Difference

_FILES = (".yaml", ".yml")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(diff)


def diff(
    old: Annotated[str, typer.Argument(help="A protocol file, or NAME@VERSION, released.")],
    new: Annotated[str, typer.Argument(help="The same: what it has become.")],
    capacity: Annotated[
        str, typer.Option(help="Nominal capacity of the cell, such as '2.5 Ah'.")
    ] = "1 Ah",
    cell: Annotated[str, typer.Option(help="Compile both for this cell of the lab.")] = "",
    lab: Annotated[
        str,
        typer.Option("--lab", envvar="DAQ_LAB", help="For --cell and released protocols."),
    ] = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Compare two versions of a protocol by what they do. Exit code 1 if that differs."""
    from daq.review.difference import differences
    from daq.review.version import judge

    subject = _cell(lab, cell) if cell else Cell("diff", nominal_Ah(capacity))
    before, after = _version(old, lab, subject), _version(new, lab, subject)
    found = differences(before, after)
    verdict = judge(before.source.model.version, after.source.model.version, found)
    if as_json:
        documents = [one.document() for one in found]
        print_json({"same": not found, "differences": documents, "version": verdict.document()})
    elif found:
        _print(found)
        console().print(str(verdict))
    else:
        console().print(f"no difference in meaning; {verdict}")
    if found:
        raise typer.Exit(EXIT_FAILED)


def _cell(lab: str, cell: str) -> Cell:
    return known_cell(load_lab(Path(lab)), cell)


def _version(name: str, lab: str, cell: Cell) -> Version:
    from daq.review.compared import Version

    source = _source(name, lab)
    return Version(source, compile_placed(source, cell, []))


def _source(name: str, lab: str) -> ProtocolSource:
    released, at, version = name.rpartition("@")
    if not at or name.endswith(_FILES):
        return load_protocol(Path(name), TABLES)
    if not released or not version:
        raise InputError(f"{name!r} is no protocol", remedy="a file, or NAME@1.2.0")
    return Protocols(data_folder(lab)).load(released, version)


def _print(found: list[Difference]) -> None:
    print_table(("what", "line", "old", "new", "raises"), [_row(one) for one in found])


def _row(one: Difference) -> tuple[Any, ...]:
    lines = [str(line) for line in (one.old_line, one.new_line) if line]
    document = one.document()
    return (
        f"{one.what} {one.name}".strip(),
        " -> ".join(dict.fromkeys(lines)),
        one.old or "-",
        one.new or "-",
        document["raises"],
    )
