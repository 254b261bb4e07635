"""`/sensors`: what the auxiliary sensors of a station read in a run, one column a sensor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from daq.journal import JournalReader
from daq.model import Event, EventKind
from daq.recorder import columns
from daq.recorder.columns import F8, I4, I8, Column, Rows

_SHOWN = {"degC": "degC", "V": "V", "pct": "%"}
PLACE = (
    Column("test_time_s", "test_time", F8, "s", "Time since the start of the run"),
    Column("utc_s", "time", F8, "s", "Unix time, UTC"),
    Column("cycle", "cycle_number", I4, "", "Cycle of the run"),
    Column("step", "step_index", I4, "", "Step of the protocol"),
    Column("step_count", "step_count", I4, "", "Steps begun so far in the run"),
)
"""When, and where in the run, the sensors were read."""
SEQ = Column("seq", "seq", I8, "", "Sequence number in the journal", monotonic=True)
ALL_OTHERS = frozenset(EventKind) - {EventKind.SENSORS}
"""What `/events` and everybody else reads: these are data, and too many."""


def names(reader: JournalReader, run: str) -> tuple[str, ...]:
    """The sensors that a run has readings of, with their units, sorted."""
    found: set[str] = set()
    for events in reader.events_of(run, EventKind.SENSORS):
        for event in events:
            found.update(event.data["values"])
    return tuple(sorted(found))


def table(sensors: Iterable[str]) -> tuple[Column, ...]:
    """The columns of `/sensors`."""
    read = (Column(name, name, F8, unit(name), f"Auxiliary sensor {name}") for name in sensors)
    return (*PLACE, *read, SEQ)


def sensors_in(stored: Iterable[str]) -> tuple[str, ...]:
    """The sensors among the names of the columns of `/sensors`."""
    fixed = {column.h5 for column in (*PLACE, SEQ)}
    return tuple(name for name in stored if name not in fixed)


def unit(name: str) -> str:
    """Of a sensor by its name; empty when the name does not say."""
    return _SHOWN.get(name.rpartition("_")[2], "")


def batches(reader: JournalReader, run: str, sensors: tuple[str, ...]) -> Iterator[Rows]:
    """The rows of `/sensors`, in order; nan where a sensor was not read."""
    kind = columns.dtype(table(sensors))
    for events in reader.events_of(run, EventKind.SENSORS):
        yield np.array([_row(event, sensors) for event in events], kind)


def _row(event: Event, sensors: tuple[str, ...]) -> tuple[float, ...]:
    data = event.data
    values = (data["values"].get(name, math.nan) for name in sensors)
    place = (data.get("cycle", 0), data.get("step", 0), data.get("step_count", 0))
    return (event.test_time_s, event.utc_s, *place, *values, event.seq)
