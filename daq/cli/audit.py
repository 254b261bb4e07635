"""`daq audit …`: who did what, and whether the log of it is whole."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from daq.access.audit import Head, Row, faults, parse_head
from daq.cli.output import (
    DEFAULT_LAB,
    EXIT_FAILED,
    Json,
    LabFile,
    complain,
    console,
    data_folder,
    print_json,
)
from daq.cli.tables import print_table
from daq.journal import JournalReader

_COLUMNS = ("number", "when", "what", "who", "role", "station", "details")


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    group = typer.Typer(help="The audit log: who did what.", no_args_is_help=True)
    for command in (show, verify):
        group.command()(command)
    app.add_typer(group, name="audit")


def show(
    last: Annotated[int, typer.Option(help="So many entries; 0: all.")] = 50,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Show the audit log, newest last. With --json each entry is the text that was hashed."""
    with _journal(lab) as journal:
        rows = list(journal.audit())[-last:]
    if as_json:
        print_json([_document(row) for row in rows])
    else:
        print_table(_COLUMNS, [_cells(json.loads(row.entry)) for row in rows])


def verify(
    head: Annotated[
        list[str] | None, typer.Option(help="A head that was kept elsewhere: number:sha256.")
    ] = None,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Check that nothing in the log was changed, removed or put in; exit code 1 if it was."""
    published = [parse_head(text) for text in head or ()]
    with _journal(lab) as journal:
        rows = list(journal.audit())
        found = list(faults(rows, journal.audited_events(), published))
    newest = Head(rows[-1].number, rows[-1].sha256) if rows else Head()
    if as_json:
        print_json({"ok": not found, "head": str(newest), "faults": found})
    elif not found:
        console().print(f"whole: {newest.number} entries; head {newest}", soft_wrap=True)
    else:
        complain(found[0] + (f"; {len(found) - 1} more" if found[1:] else ""))
    if found:
        raise typer.Exit(EXIT_FAILED)


@contextmanager
def _journal(lab: str) -> Generator[JournalReader]:
    with JournalReader(data_folder(lab) / "journal.sqlite") as journal:
        yield journal


def _document(row: Row) -> dict[str, Any]:
    return {"number": row.number, "entry": row.entry, "sha256": row.sha256}


def _cells(entry: dict[str, Any]) -> tuple[Any, ...]:
    shown = {"client", "by", "role", "station"}
    details = ", ".join(
        f"{key} {value}" for key, value in entry["data"].items() if key not in shown and value
    )
    when = datetime.fromtimestamp(entry["utc_s"], UTC).isoformat(" ", "seconds")
    first = (entry["number"], when, entry["kind"], entry["actor"], entry["role"], entry["station"])
    return *first, details
