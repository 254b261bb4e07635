"""Records of the registry as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from daq.cli.output import console, print_json
from daq.cli.tables import print_table
from daq.config import Lab
from daq.control.client import SOCKET_NAME, ControlClient
from daq.control.documents import cell_document
from daq.errors import DaqError, InputError
from daq.journal import JournalReader
from daq.model import Cell
from daq.registry.shelf import Shelf
from daq.yamlfile import parse


def places(data: Path) -> dict[str, str]:
    """Cell -> the station where it is under a run; empty when no daemon answers."""
    if not (data / SOCKET_NAME).exists():
        return {}
    with suppress(DaqError, KeyError):
        stations = ControlClient(data).call("status").data["stations"]
        return {one["cell"]: name for name, one in stations.items() if one["cell"]}
    return {}


def cell_view(cell: Cell, lab: Lab) -> dict[str, Any]:
    """What is known of a cell, where it is, and its runs."""
    document = cell_document(cell)
    limits = cast("Mapping[str, list[float | None]]", document["limits"])
    document["limits"] = {name: ends for name, ends in limits.items() if ends != [None, None]}
    return {**document, "station": places(lab.data).get(cell.id), "runs": _runs(lab.data, cell.id)}


def _runs(data: Path, cell: str) -> list[str]:
    path = data / "journal.sqlite"
    if not path.exists():
        return []
    with JournalReader(path) as journal:
        return [run.id for run in journal.runs() if run.cell == cell]


def show_record(document: Mapping[str, Any]) -> None:
    """A record as lines of dotted keys and values."""
    for key, value in _lines(document):
        console().print(f"{key}: {value}", soft_wrap=True, markup=False)


def _lines(document: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in document.items():
        if isinstance(value, Mapping):
            found += _lines(cast("Mapping[str, Any]", value), f"{before}{key}.")
        elif value not in ("", None, []):
            found.append((before + key, _said(value)))
    return found


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join("-" if one is None else str(one) for one in cast("list[Any]", value))
    return str(value)


def history_view(shelf: Shelf[Any], ident: str, *, as_json: bool) -> None:
    """Who changed what and when, oldest first.

    Raises:
        InputError: nothing is known of this record.
    """
    entries = shelf.history(ident)
    if not entries:
        raise InputError(f"there is no history of {shelf.key} {ident!r}")
    if as_json:
        print_json(entries)
        return
    rows, before = list[tuple[Any, ...]](), dict[str, str]()
    for entry in entries:
        now = dict(_facts(entry.get("text")))
        when = str(entry.get("utc"))[:19].replace("T", " ")
        what = (entry.get("what"), entry.get("reason"), _difference(before, now))
        rows.append((when, entry.get("who") or "-", *what))
        before = now
    print_table(("when", "who", "what", "why", "changes"), rows)


def _facts(text: str | None) -> list[tuple[str, str]]:
    if text is None:
        return []
    try:
        return _lines(parse(text).data)
    except InputError:
        return [("text", "not readable")]


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    keys = [*before, *(key for key in now if key not in before)]
    changed = [key for key in keys if before.get(key) != now.get(key)]
    return "; ".join(f"{key}: {before.get(key, '-')} -> {now.get(key, '-')}" for key in changed)
