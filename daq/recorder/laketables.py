"""The tables of a data lake: what is in the files of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from daq.recorder import bdf, columns
from daq.recorder.columns import Batch, Column, Rows, Values
from daq.recorder.fields import Field, plain
from daq.recorder.source import FileSource


@dataclass(frozen=True, slots=True)
class Table:
    """One of a run's tables.

    Attributes:
        fields: its columns.
        rows: how many it has.
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


TABLES = {
    "records": Table(_records, FileSource.rows, FileSource.columns),
    "spectra": _whole(_plain(columns.EIS), FileSource.spectra),
    "cycles": _whole(_plain(columns.CYCLES), FileSource.cycles),
    "events": _whole(_plain(columns.events(1)), FileSource.events),
}
"""Folder in the lake -> what is in its files."""
