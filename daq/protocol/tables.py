"""Profiles as they are written: a CSV table of values over time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import StringIO
from math import isfinite
from typing import NoReturn

from daq.errors import InputError, Place

COLUMNS = ("current_A", "power_W", "rate_C")
MOST_POINTS = 1_000_000
_REMEDY = f"the columns are time_s and one of {', '.join(COLUMNS)}"


@dataclass(frozen=True, slots=True)
class Table:
    """A profile.

    Attributes:
        column: what the values are.
        times_s: rising from 0.
        values: positive into the cell.
    """

    column: str
    times_s: tuple[float, ...]
    values: tuple[float, ...]


@lru_cache(maxsize=16)
def read_table(text: str, name: str) -> Table:
    """Understand the text of a profile.

    Raises:
        InputError: with its line.
    """
    rows = csv.reader(StringIO(text))
    nothing: list[str] = []
    header = [field.strip() for field in next(rows, nothing)]
    if len(header) != 2 or header[0] != "time_s" or header[1] not in COLUMNS:
        _refuse(name, 1, f"the header is {', '.join(header)!r}", _REMEDY)
    times_s: list[float] = []
    values: list[float] = []
    for line, time_s, value in _numbers(rows, name):
        if times_s and not time_s > times_s[-1]:
            _refuse(
                name, line, f"the time goes from {times_s[-1]:g} s to {time_s:g} s", "let it rise"
            )
        times_s.append(time_s)
        values.append(value)
        if len(times_s) > MOST_POINTS:
            _refuse(name, line, f"more than {MOST_POINTS} points")
    if len(times_s) < 2 or times_s[0] != 0.0:
        _refuse(name, 2, "a profile begins at 0 s and has two points at least")
    return Table(header[1], tuple(times_s), tuple(values))


def _numbers(rows: Iterator[list[str]], name: str) -> Iterator[tuple[int, float, float]]:
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            time_s, value = (float(field) for field in row)
        except ValueError:
            _refuse(name, line, f"{','.join(row)[:60]!r} is not two numbers", _REMEDY)
        if not (isfinite(time_s) and isfinite(value)):
            _refuse(name, line, "a number is not finite")
        yield line, time_s, value


def _refuse(name: str, line: int, message: str, remedy: str = "") -> NoReturn:
    raise InputError(message, place=Place(name, line, 1), remedy=remedy)
