"""One run, read as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from daq.errors import InputError
from daq.figures.moved import Flags
from daq.figures.scopes import NEEDED, Rows, unseen_stretches
from daq.journal import JournalReader
from daq.model import EventKind
from daq.recorder import metadata
from daq.recorder.columns import RAW_DTYPE, Batch
from daq.recorder.source import Source, open_source

_KEPT = (*NEEDED, "chamber_degC")
_DTYPE = np.dtype([(name, RAW_DTYPE[name]) for name in _KEPT])


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One event of the run."""

    kind: str
    test_time_s: float
    utc_s: float
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunData:
    """What there is of one run.

    Attributes:
        facts: see `metadata.run_facts`.
        rows: of `/raw_data`, the columns that figures need; never empty.
        spectra: rows of `/eis_data`.
        unseen: see `scopes.unseen_stretches`.
    """

    facts: dict[str, Any]
    rows: Rows
    spectra: Rows
    events: tuple[RunEvent, ...]
    unseen: Flags

    @property
    def run(self) -> str:
        """Id of the run."""
        return str(self.facts["run"])

    @property
    def cell(self) -> str:
        """Id of the cell."""
        return str(metadata.section(self.facts, "cell").get("id", ""))

    @property
    def nominal_Ah(self) -> float:
        """Nominal capacity of the cell; NaN when nobody said."""
        value = metadata.section(self.facts, "cell").get("nominal_capacity_Ah")
        return float(value) if isinstance(value, int | float) else float("nan")

    @property
    def step_kinds(self) -> dict[int, str]:
        """Number of each step of the protocol -> its kind."""
        return metadata.step_kinds(self.facts)

    def of_kind(self, *kinds: EventKind) -> Iterator[RunEvent]:
        """The events of these kinds, in order."""
        return (event for event in self.events if event.kind in kinds)


def load(origin: JournalReader | Path, run: str = "") -> RunData:
    """Read a run, also one that goes on.

    Args:
        origin: the run's closed HDF5 file, or the journal.
        run: id of the run; not needed for a file.

    Raises:
        InputError: there is no such run or file, or it has no records yet.
    """
    source = open_source(origin, run)
    rows = _rows(source)
    if not len(rows):
        raise InputError(f"run {source.facts['run']!r} has no records yet")
    events = tuple(_event(row) for row in source.events())
    return RunData(
        source.facts, rows, source.spectra(), events, unseen_stretches(rows["time"], _gaps(events))
    )


def _rows(source: Source) -> Rows:
    parts = [_narrow(rows) for rows in source.columns(_KEPT)]
    return np.concatenate(parts) if parts else np.empty(0, _DTYPE)


def _narrow(rows: Batch) -> Rows:
    out = np.empty(len(rows), _DTYPE)
    for name in _KEPT:
        out[name] = rows[name]
    return out


def _event(row: Any) -> RunEvent:
    data = cast("dict[str, Any]", json.loads(row["data"].decode()))
    return RunEvent(row["kind"].decode(), float(row["test_time"]), float(row["time"]), data)


def _gaps(events: tuple[RunEvent, ...]) -> list[tuple[float, float]]:
    gaps = (event.data for event in events if event.kind == EventKind.GAP)
    return [(float(gap["from_utc_s"]), float(gap["to_utc_s"])) for gap in gaps]
