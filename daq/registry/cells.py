"""The cells of a lab: those of its lab file, and those of the registry with their batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from daq.cellfile import BatchFileModel, CellFileModel, described
from daq.errors import InputError
from daq.model import Cell
from daq.registry import durable
from daq.registry.shelf import Entry, ModelT, Shelf, Who

LAB_FILE, REGISTRY, UNREGISTERED = "lab file", "registry", "unregistered"
"""Who describes a cell; `origin["source"]` of a `Cell`."""
_NEAREST = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record: "added", "changed" or "same" (it stood there already)."""

    id: str
    what: str


class Batches(Shelf[BatchFileModel]):
    """The registered batches."""

    def __init__(self, data: Path) -> None:
        super().__init__(data / "batches", BatchFileModel, "batch")

    def get(self, ident: str) -> Entry[BatchFileModel]:
        """A batch by its id.

        Raises:
            InputError: there is no such batch.
        """
        if entry := self.find(ident):
            return entry
        raise InputError(
            f"there is no batch {ident!r}",
            remedy=nearest_id(ident, self.ids()) or f"daq batch add {ident} registers it",
        )


class Cells(Shelf[CellFileModel]):
    """The cells that a lab knows.

    Args:
        data: the lab's data folder.
        of_lab_file: the cells that its lab file describes.
    """

    def __init__(self, data: Path, of_lab_file: Mapping[str, Cell]) -> None:
        super().__init__(data / "cells", CellFileModel, "cell")
        self.batches = Batches(data)
        self.of_lab_file = of_lab_file

    def known(self) -> list[str]:
        """The ids of all cells, in order."""
        return sorted({*self.of_lab_file, *self.ids()})

    def cell(self, ident: str) -> Cell:
        """A cell by its id, with all that its batch says.

        Raises:
            InputError: there is none, it is described twice, or its files are wrong.
        """
        entry = self.find(ident) if ident else None
        written = self.of_lab_file.get(ident)
        if entry and written:
            raise _twice(ident)
        if entry:
            return self.resolved(entry)
        if written:
            return written
        raise InputError(
            f"this lab knows no cell {ident!r}",
            remedy=nearest_id(ident, self.known()) or "daq cell list shows those there are",
        )

    def resolved(self, entry: Entry[CellFileModel]) -> Cell:
        """What a record and its batch come to.

        Raises:
            InputError: there is no such batch, or together they are no cell.
        """
        origin: dict[str, Any] = {"source": REGISTRY, "sha256": entry.sha256}
        batch = self.batches.get(entry.model.batch) if entry.model.batch else None
        if batch:
            origin["batch_sha256"] = batch.sha256
        return described(entry.id, entry.model, batch.model if batch else None, origin)

    def draft(self, data: Mapping[str, Any]) -> Entry[CellFileModel]:
        """What a record of these data would be, checked as a whole; nothing is written.

        Raises:
            InputError: it is no cell, or the lab file describes it already.
        """
        entry = self.checked(data)
        if entry.id in self.of_lab_file:
            raise _twice(entry.id)
        self.resolved(entry)
        return entry

    def addition(self, data: Mapping[str, Any], *, change: bool) -> Entry[CellFileModel]:
        """The same, and whether it may be stored: a cell that is there may be there otherwise.

        Raises:
            InputError: as for `draft`; or it is there, says something else, and `change` is False.
        """
        entry = self.draft(data)
        if not change:
            refuse_other(self, entry)
        return entry

    def of_batch(self, batch: str) -> list[Entry[CellFileModel]]:
        """The cells of a batch.

        Raises:
            InputError: a file of the registry is wrong.
        """
        found = (self.find(ident) for ident in self.ids())
        return [entry for entry in found if entry and entry.model.batch == batch]

    def check_batch(self, draft: Entry[BatchFileModel]) -> None:
        """Refuse what would leave a cell of the batch without something that it needs.

        Raises:
            InputError: which cell, and what.
        """
        for entry in self.of_batch(draft.id):
            described(entry.id, entry.model, draft.model)


def _twice(ident: str) -> InputError:
    return InputError(
        f"cell {ident} is described in the lab file and in the registry",
        remedy=f"keep one: take it out of the lab file, or daq cell remove {ident}",
    )


def store(
    shelf: Shelf[Any], drafts: Sequence[Entry[Any]], who: Who, *, change: bool = False
) -> list[Outcome]:
    """Write records, all of them or, when one may not be, none.

    Args:
        shelf: where they go.
        drafts: checked records.
        who: whoever asks for it, and why.
        change: whether records that are there may be changed; without it they are refused,
            unless they say the same.

    Raises:
        InputError: one is there already.
        DaqError: the disk does not take them; those before the fault are written.
    """
    with durable.alone(shelf.folder):
        for draft in drafts:
            if not change:
                refuse_other(shelf, draft)
        return [
            Outcome(draft.id, "same" if _same(shelf, draft) else shelf.put(draft, who))
            for draft in drafts
        ]


def change(
    shelf: Shelf[ModelT],
    ident: str,
    edit: Callable[[dict[str, Any]], Mapping[str, Any]],
    check: Callable[[Entry[ModelT]], object],
    who: Who,
) -> Outcome:
    """Change one record.

    Args:
        shelf: where it is.
        ident: which one.
        edit: makes the new data of the old.
        check: raises when the record may not be like that.
        who: whoever asks for it, and why.

    Raises:
        InputError: there is none, or it may not be changed so.
        DaqError: the disk does not take it.
    """
    with durable.alone(shelf.folder):
        there = need(shelf, ident)
        draft = shelf.checked(edit(dict(there.document.data)))
        if draft.id != ident:
            raise InputError("an id cannot be changed", remedy="remove this one, and add another")
        check(draft)
        if draft.document.data == there.document.data:
            return Outcome(ident, "same")
        return Outcome(ident, shelf.put(draft, who))


def remove(shelf: Shelf[Any], ident: str, who: Who) -> None:
    """Take one record away; its history stays, and so does what runs have recorded.

    Raises:
        InputError: there is none.
        DaqError: the disk does not let it go.
    """
    with durable.alone(shelf.folder):
        need(shelf, ident)
        shelf.remove(ident, who)


def need(shelf: Shelf[ModelT], ident: str) -> Entry[ModelT]:
    """A record by its id.

    Raises:
        InputError: there is none in the registry.
    """
    if entry := shelf.find(ident):
        return entry
    raise InputError(
        f"there is no {shelf.key} {ident!r} in the registry",
        remedy=nearest_id(ident, shelf.ids()) or f"daq {shelf.key} list",
    )


def refuse_other(shelf: Shelf[Any], draft: Entry[Any]) -> None:
    """Refuse a record whose id is taken by one that says something else.

    Raises:
        InputError: it is.
    """
    if shelf.find(draft.id) and not _same(shelf, draft):
        raise InputError(
            f"{shelf.key} {draft.id} is registered already, with other facts",
            remedy=f"daq {shelf.key} change {draft.id} corrects it",
        )


def _same(shelf: Shelf[Any], draft: Entry[Any]) -> bool:
    there = shelf.find(draft.id)
    return there is not None and there.document.data == draft.document.data


def nearest_id(word: str, known: Sequence[str]) -> str:
    """A remedy for a mistyped id; empty when nothing is near. Never to be taken for the id.

    Ids of a batch are near to each other, so there is often more than one.
    """
    candidates = {one.lower(): one for one in known}
    close = get_close_matches(word.lower()[:64], candidates, n=_NEAREST, cutoff=0.6)
    return f"did you mean {' or '.join(repr(candidates[one]) for one in close)}?" if close else ""
