"""`daq cell …`: the things under test, by their barcodes."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from daq.cellfile import CellFileModel
from daq.cli.control import one_cell
from daq.cli.output import DEFAULT_LAB, EXIT_INPUT, Json, LabFile, complain, console, print_json
from daq.cli.record_view import cell_view, history_view, places, show_record
from daq.cli.records import (
    By,
    Capacity,
    History,
    Reason,
    Remark,
    Set,
    Unset,
    counted,
    edit,
    facts,
    print_rows,
    registered,
    summary,
    tell,
    who,
)
from daq.errors import InputError
from daq.labreader import load_lab
from daq.registry import cells as book
from daq.registry.cells import Cells, Outcome
from daq.registry.scan import read_scan
from daq.registry.shelf import Entry
from daq.registry.table import read_table

CellId = Annotated[str, typer.Argument(help="Id of the cell, as on its barcode.")]
Scan = Annotated[
    bool, typer.Option("--scan", help="Take ids from a barcode scanner; an empty line ends it.")
]


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    group = typer.Typer(help="Cells: register, correct, look up.", no_args_is_help=True)
    for command in (add_, import_, change_, remove_, show_, list_):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="cell")


def add_(
    cell: Annotated[list[str] | None, typer.Argument(help="Ids, as on the barcodes.")] = None,
    batch: Annotated[str, typer.Option(help="Its batch, which must be registered.")] = "",
    capacity: Capacity = "",
    set_: Set = None,
    scan: Scan = False,
    operator: By = "",
    reason: Remark = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Register cells, all with the same facts; a running daemon knows them at once."""
    if bool(cell) == scan:
        raise InputError("name the cells, or say --scan")
    known = registered(lab)
    short = {"batch": batch, "nominal_capacity": capacity}
    said = facts(CellFileModel, short, set_ or ())

    def add(ident: str) -> Outcome:
        draft = known.draft({"cell": ident, **copy.deepcopy(said)})
        (outcome,) = book.store(known, [draft], who(operator, reason))
        return outcome

    if scan:
        outcomes = _scanned(add, as_json=as_json)
    else:
        drafts = [known.draft({"cell": one, **copy.deepcopy(said)}) for one in cell or ()]
        outcomes = book.store(known, drafts, who(operator, reason))
    tell(outcomes, as_json=as_json)


def _scanned(add: Callable[[str], Outcome], *, as_json: bool) -> list[Outcome]:
    """One cell at a time: what was scanned is registered before the next one is taken."""
    outcomes: list[Outcome] = []
    while True:
        print("scan a cell; an empty line ends it: ", end="", file=sys.stderr, flush=True)
        try:
            ident = read_scan(sys.stdin)
            if ident is None:
                return outcomes
            outcomes.append(add(ident))
        except InputError as error:
            complain(str(error))
            if not sys.stdin.isatty():  # nobody is there to scan again
                tell(outcomes, as_json=as_json)
                raise typer.Exit(EXIT_INPUT) from error


def import_(
    file: Annotated[Path, typer.Argument(help="CSV: a header row of keys, a row for each cell.")],
    change: Annotated[bool, typer.Option("--change", help="Correct cells that are there.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Take the good rows although others are bad.")
    ] = False,
    operator: By = "",
    reason: Remark = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Register the cells of a table: all of them, or none when a row is wrong."""
    known = registered(lab)
    table = read_table(file)
    drafts, mistakes = list[Entry[CellFileModel]](), list(table.mistakes)
    for row in table.rows:
        try:
            drafts.append(known.addition(row.data, change=change))
        except InputError as error:
            place = error.place if error.place and error.place.file == str(file) else row.place
            mistakes.append(InputError(error.message, place=place, remedy=error.remedy))
    mistakes.sort(key=lambda error: error.place.line if error.place else 0)
    outcomes = [] if mistakes and not skip_bad else book.store(
        known, drafts, who(operator, reason or f"import of {file.name}"), change=change
    )  # fmt: skip
    if as_json:
        print_json({**counted(outcomes), "mistakes": [str(error) for error in mistakes]})
    else:
        for error in mistakes:
            complain(str(error))
        console().print(summary(outcomes))
    if mistakes:
        raise typer.Exit(EXIT_INPUT)


def change_(
    cell: CellId,
    reason: Reason,
    batch: Annotated[str, typer.Option(help="Its batch, which must be registered.")] = "",
    capacity: Capacity = "",
    set_: Set = None,
    unset: Unset = None,
    operator: By = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Correct what is known of a cell; what runs have recorded stays as it is."""
    known = registered(lab)
    correct = edit(CellFileModel, {"batch": batch, "nominal_capacity": capacity}, set_, unset)
    outcome = book.change(known, cell, correct, known.resolved, who(operator, reason))
    tell([outcome], as_json=as_json)


def remove_(
    cell: CellId,
    reason: Reason,
    operator: By = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Take a cell out of the registry; its history and its runs stay."""
    book.remove(registered(lab), cell, who(operator, reason))
    tell([Outcome(cell, "removed")], as_json=as_json)


def show_(
    cell: Annotated[str, typer.Argument(help="Id of the cell; or say --scan.")] = "",
    scan: Annotated[bool, typer.Option("--scan", help="Take the id from a scanner.")] = False,
    history: History = False,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Show what is known of a cell, where it is, and its runs."""
    ident = one_cell(cell, scan)
    loaded = load_lab(Path(lab))
    known = Cells(loaded.data, loaded.cells)
    if history:
        history_view(known, ident, as_json=as_json)
        return
    document = cell_view(known.cell(ident), loaded)
    print_json(document) if as_json else show_record(document)


def list_(
    batch: Annotated[str, typer.Option(help="Only those of this batch.")] = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """List the cells, and where they are."""
    loaded = load_lab(Path(lab))
    known = Cells(loaded.data, loaded.cells)
    at = places(loaded.data)
    found = [known.cell(ident) for ident in known.known()]
    rows = [
        {
            "cell": one.id,
            "batch": one.batch,
            "chemistry": one.chemistry,
            "nominal_capacity_Ah": one.nominal_capacity_Ah,
            "known_from": one.origin["source"],
            "station": at.get(one.id),
        }
        for one in found
        if not batch or one.batch == batch
    ]
    print_rows(rows, as_json=as_json)
