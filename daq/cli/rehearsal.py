"""What a rehearsal needs: a lab and a bench of one station, and what happened, from its journal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from daq.clock import monotonic, wall
from daq.journal import JournalReader
from daq.model import Event, EventKind

STATION, CELL, POSITION = "A1", "C1", "cell-1"
PROTOCOL = """
protocol: rehearsal
version: 1.0.0
record: {every: 1 s}
safety: {voltage: [2.6 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
  - charge: 1C
    until: voltage >= 4.2 V
    at_most: 2 h
"""
BENCH = """
control: tcp://127.0.0.1:0
seed: 7
cells:
  cell-1: {model: nmc, capacity: 2.5, soc: 0.3, formed: true}
chambers:
  room: {temperature: 25.0}
instruments:
  aps1:
    dialect: keysight_aps
    listen: tcp://127.0.0.1:0
    channels: {1: cell-1}
    options: {serial: MY1, voltage_V: 9, current_A: 10, sink: 1.0}
  mk56:
    dialect: binder
    listen: modbus+rtu+tcp://127.0.0.1:0
    chamber: room
    cells: [cell-1]
    options: {controller: mb2}
"""


def lab_text(addresses: Mapping[str, str]) -> str:
    """A lab for the bench at these addresses. A run that was interrupted waits for an operator."""
    cycler, chamber = (urlsplit(addresses[name]) for name in ("aps1", "mk56"))
    limits = {
        "voltage": ["2.0 V", "4.35 V"],
        "current": ["-10 A", "10 A"],
        "temperature": ["0 degC", "60 degC"],
    }
    resources = {
        "aps1": f"TCPIP::{cycler.hostname}::{cycler.port}::SOCKET",
        "mk56": f"modbus+rtu+tcp://{chamber.hostname}:{chamber.port}",
    }
    drivers = {"aps1": "keysight_aps", "mk56": "binder"}
    lab = {
        "lab": "gameday",
        "data": "data",
        "mqtt": {"broker": "none"},
        "resume": {"automatic": False},
        "instruments": {
            name: {"driver": drivers[name], "resource": resources[name], "period": "100 ms"}
            for name in drivers
        },
        "stations": {
            STATION: {"cycler": "aps1", "chamber": "mk56", "limits": limits, "watchdog": "30 s"}
        },
        "cells": {CELL: {"nominal_capacity": "2.5 Ah", "chemistry": "NMC"}},
    }
    return json.dumps(lab)


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the timeline."""

    utc_s: float
    who: str
    what: str


def moments(data: Path, ledger: Mapping[str, Any]) -> list[Moment]:
    """What happened when, from the journal and from the cell's own ledger."""
    with JournalReader(data / "journal.sqlite") as journal:
        found = [_moment(event) for event in journal.events()]
    told = [one for one in found if one.what]
    off_s = wall() - monotonic()  # the ledger's stamps are the machine's monotonic clock
    switched = [
        Moment(edge["real_s"] + off_s, "cell", f"the output went {'ON' if edge['on'] else 'OFF'}")
        for edge in ledger["edges"]
    ]
    return sorted([*told, *switched], key=lambda moment: moment.utc_s)


def _moment(event: Event) -> Moment:
    return Moment(event.utc_s, "daemon", _text(event.kind, event.data))


def _text(kind: EventKind, data: Mapping[str, Any]) -> str:
    """One line for an event; empty for those that say nothing in a rehearsal."""
    say = {
        EventKind.SESSION_STARTED: "the daemon came up",
        EventKind.SESSION_ENDED: "the daemon ended",
        EventKind.RUN_STARTED: "the run began",
        EventKind.RUN_ENDED: "the run ended: {outcome}",
        EventKind.GAP: "gap marked: {reason}",
        EventKind.PAUSED: "paused: {reason}",
        EventKind.RESUMED: "resumed by {by}",
        EventKind.TRIP: "trip {check}: {message}; OFF verified: {off_verified}",
        EventKind.CLEARED: "{check} cleared by {by}: {reason}",
        EventKind.ALARM: "alarm {id} {state}: {cause}, {severity}: {message}",
        EventKind.COMMAND: "{verb} by {client}: {state} {reason}",
        EventKind.FAULT_BEGAN: "fault of {instrument}: {message}",
    }
    return say[kind].format_map(_Known(data)).strip() if kind in say else ""


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def same_rows(data: Path, run: str) -> tuple[int, bool]:
    """How many rows the journal has of a run, and whether its file has the very same."""
    from daq.recorder.source import FileSource, JournalSource  # HDF5 is not loaded with `serve`

    with JournalReader(data / "journal.sqlite") as reader:
        true = b"".join(batch.tobytes() for batch in JournalSource(reader, run).batches())
        count = sum(len(batch) for batch in JournalSource(reader, run).batches())
    file = b"".join(batch.tobytes() for batch in FileSource(data / "runs" / f"{run}.h5").batches())
    return count, true == file


def lines(moments: Iterable[Moment], began_s: float) -> list[tuple[str, str, str]]:
    """Rows of the table: relative seconds, who, what."""
    return [(f"{one.utc_s - began_s:8.2f}", one.who, one.what) for one in moments]
