"""The tables of a data lake: what is in the files of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from daq.recorder import bdf, columns, sensed
from daq.recorder.columns import F8, Batch, Column, Rows, Values
from daq.recorder.fields import Field, plain
from daq.recorder.source import FileSource


@dataclass(frozen=True, slots=True)
class Table:
    """One of a run's tables.

    Attributes:
        fields: its columns.
        rows: how many it has; of those that are read in batches, whether there are any.
        batches: all of it, at least the named columns.
    """

    fields: Callable[[FileSource], list[Field]]
    rows: Callable[[FileSource], int]
    batches: Callable[[FileSource, list[str]], Iterator[Batch]]


def _whole(fields: list[Field], read: Callable[[FileSource], Rows]) -> Table:
    return Table(
        lambda _: fields, lambda source: len(read(source)), lambda source, _: iter([read(source)])
    )


def _decoded(field: Field) -> Field:
    """Bytes as text."""

    def values(rows: Batch, before: int) -> Values:
        found = field.values(rows, before)
        return np.char.decode(found, "utf-8", "replace") if found.dtype.kind == "S" else found

    return Field(field.header, field.needs, values, field.about)


def _records(source: FileSource) -> list[Field]:
    return [*plain(columns.RAW), bdf.step_type(source, "step_type")]


def _plain(table: tuple[Column, ...]) -> list[Field]:
    return [_decoded(field) for field in plain(table)]


# Each run has sensors of its own, and a lake has one table of them all: a row a value.
_SENSED = (
    *sensed.PLACE,
    Column("sensor", "sensor", "S64", "", "Name of the auxiliary sensor, with its unit"),
    Column("value", "value", F8, "", "What it read, in its unit"),
    Column("unit", "unit", "S8", "", "Unit of the value"),
    sensed.SEQ,
)


def _sensed(source: FileSource, _: list[str]) -> Iterator[Batch]:
    for rows in source.sensor_rows():
        parts = [_one_sensor(rows, name) for name in source.sensors()]
        together = np.concatenate(parts)
        yield together[np.argsort(together["seq"], kind="stable")]


def _one_sensor(rows: Batch, name: str) -> Rows:
    was_read = ~np.isnan(rows[name])
    out = np.zeros(int(was_read.sum()), columns.dtype(_SENSED))
    for column in (*sensed.PLACE, sensed.SEQ):
        out[column.h5] = rows[column.h5][was_read]
    out["sensor"], out["value"], out["unit"] = name, rows[name][was_read], sensed.unit(name)
    return out


TABLES = {
    "records": Table(_records, FileSource.rows, FileSource.columns),
    "spectra": _whole(_plain(columns.EIS), FileSource.spectra),
    "cycles": _whole(_plain(columns.CYCLES), FileSource.cycles),
    "events": _whole(_plain(columns.events(1)), FileSource.events),
    "sensors": Table(lambda _: _plain(_SENSED), lambda source: len(source.sensors()), _sensed),
}
"""Folder in the lake -> what is in its files."""
