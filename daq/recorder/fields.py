"""The columns of an export: what each is called, and how its values follow from the records."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from daq.recorder.columns import Batch, Column, Values
from daq.recorder.source import Source

MAY_BE_ABSENT: tuple[str, ...] = ("temperature", "chamber_degC")
"""What not every bench measures: all NaN then."""


@dataclass(frozen=True, slots=True)
class Field:
    """One column of an export.

    Attributes:
        header: its name in the file.
        needs: columns of `/raw_data` (by their names in HDF5) that it is made of.
        values: makes it from a batch of those, and the number of records before.
        about: unit and description, for formats that keep them.
    """

    header: str
    needs: tuple[str, ...]
    values: Callable[[Batch, int], Values]
    about: dict[str, str] = field(default_factory=dict[str, str])


def copied(column: Column, header: str) -> Field:
    """A column as it is, under another name."""
    about = {"unit": column.unit, "description": column.description}
    return Field(header, (column.h5,), lambda rows, _: rows[column.h5], about)


def plain(table: tuple[Column, ...]) -> list[Field]:
    """All columns of a table under their own names."""
    return [copied(column, column.name) for column in table]


def record_index(header: str) -> Field:
    """The number of the record, from 1."""

    def values(rows: Batch, before: int) -> Values:
        return np.arange(before + 1, before + len(rows) + 1)

    return Field(header, (), values, {"description": "Index of the record, from 1"})


def constant(header: str, text: str) -> Field:
    """The same text in every row."""
    return Field(header, (), lambda rows, _: np.full(len(rows), text))


def needed(fields: list[Field]) -> list[str]:
    """The columns of `/raw_data` that some fields are made of."""
    # At least one: it tells how many records there are.
    return list(dict.fromkeys(["test_time", *(name for one in fields for name in one.needs)]))


def tables(fields: list[Field], batches: Iterator[Batch]) -> Iterator[dict[str, Values]]:
    """The fields' values, batch by batch."""
    before = 0
    for rows in batches:
        yield {one.header: one.values(rows, before) for one in fields}
        before += len(rows)


def absent(source: Source) -> set[str]:
    """Which of `MAY_BE_ABSENT` nothing has measured in this run."""
    missing = set(MAY_BE_ABSENT)
    for rows in source.columns(MAY_BE_ABSENT):
        missing = {name for name in missing if bool(np.isnan(rows[name]).all())}
        if not missing:
            break
    return missing
