"""`daq batch …`: what the cells of a batch have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from daq.cellfile import BatchFileModel
from daq.cli.output import DEFAULT_LAB, Json, LabFile, print_json
from daq.cli.record_view import history_view, show_record
from daq.cli.records import (
    By,
    Capacity,
    History,
    Reason,
    Remark,
    Set,
    Unset,
    edit,
    facts,
    print_rows,
    registered,
    tell,
    who,
)
from daq.errors import InputError
from daq.registry import cells as book
from daq.registry.cells import Outcome

BatchId = Annotated[str, typer.Argument(help="Id of the batch, as on its label.")]


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    group = typer.Typer(help="Batches: what their cells have in common.", no_args_is_help=True)
    for command in (add_, change_, remove_, show_, list_):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="batch")


def add_(
    batch: BatchId,
    capacity: Capacity = "",
    set_: Set = None,
    operator: By = "",
    reason: Remark = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Register a batch: what is said here holds for its cells, unless they say otherwise."""
    known = registered(lab).batches
    said = facts(BatchFileModel, {"nominal_capacity": capacity}, set_ or ())
    draft = known.checked({"batch": batch, **said})
    tell(book.store(known, [draft], who(operator, reason)), as_json=as_json)


def change_(
    batch: BatchId,
    reason: Reason,
    capacity: Capacity = "",
    set_: Set = None,
    unset: Unset = None,
    operator: By = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Correct what is known of a batch; what runs have recorded stays as it is."""
    known = registered(lab)
    correct = edit(BatchFileModel, {"nominal_capacity": capacity}, set_, unset)
    by = who(operator, reason)
    outcome = book.change(known.batches, batch, correct, known.check_batch, by)
    tell([outcome], as_json=as_json)


def remove_(
    batch: BatchId,
    reason: Reason,
    operator: By = "",
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Take a batch that has no cells out of the registry; its history stays."""
    known = registered(lab)
    if cells := known.of_batch(batch):
        raise InputError(f"cell {cells[0].id} is of batch {batch}", remedy="change its cells first")
    book.remove(known.batches, batch, who(operator, reason))
    tell([Outcome(batch, "removed")], as_json=as_json)


def show_(
    batch: BatchId,
    history: History = False,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Show what is known of a batch, and its cells."""
    known = registered(lab)
    if history:
        history_view(known.batches, batch, as_json=as_json)
        return
    entry = known.batches.get(batch)
    document = {
        **entry.document.data,
        "sha256": entry.sha256,
        "cells": [one.id for one in known.of_batch(batch)],
    }
    print_json(document) if as_json else show_record(document)


def list_(lab: LabFile = DEFAULT_LAB, as_json: Json = False) -> None:
    """List the batches, and how many cells each has."""
    known = registered(lab)
    of_batch = [entry.model.batch for one in known.ids() if (entry := known.find(one))]
    rows = [
        {
            "batch": entry.id,
            "chemistry": entry.model.chemistry,
            "nominal_capacity_Ah": entry.model.nominal_capacity,
            "supplier_lot": entry.model.supplier_lot,
            "cells": of_batch.count(entry.id),
        }
        for entry in map(known.batches.get, known.batches.ids())
    ]
    print_rows(rows, as_json=as_json)
