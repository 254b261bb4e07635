"""Tables for people: no borders, so that a line can be copied and searched.

On a terminal a table fits its width: the least important columns go first, then one flexible
column is cut. In a pipe nothing is ever cut.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_GAP = 2
_PIPE_WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a fitted table.

    Attributes:
        heading: stands above it.
        cells: from top to bottom; None is shown as a dash.
        rank: 0 stays whatever happens; of the others the highest goes first.
        right: aligned to the right, as numbers are.
        least: the column may be cut down to this width.
        width: of what is not text.
    """

    heading: str
    cells: Sequence[RenderableType | float | None]
    rank: int = 0
    right: bool = False
    least: int = 0
    width: int = 0

    def natural(self) -> int:
        """The width that shows everything."""
        if self.width:
            return self.width
        return max(len(text) for text in (self.heading, *(_plain(cell) for cell in self.cells)))

    def minimum(self) -> int:
        """The width that it can live with."""
        return min(self.natural(), self.least) if self.least else self.natural()


def console() -> Console:
    """Where people read; made anew so that it follows a redirected stdout."""
    free = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, width=None if free else _PIPE_WIDTH)


def fitted(columns: Iterable[Column], width: int) -> Table:
    """A table of as many columns as fit into `width` characters."""
    kept = list(columns)
    while _total(kept) > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    spare = width - _total(kept)
    table = _bare()
    for column in kept:
        room = min(column.natural(), column.minimum() + max(spare, 0))
        spare -= room - column.minimum()
        side = "right" if column.right else "left"
        table.add_column(column.heading, justify=side, no_wrap=True, width=room)
    for row in zip(*(column.cells for column in kept), strict=True):
        table.add_row(*(_shown(cell) for cell in row))
    return table


def folded(columns: Sequence[Column], width: int) -> list[Table]:
    """A table in as many parts as `width` characters need, each with the first column again.

    For tables of numbers, of which none may be cut nor left out.
    """
    first, *rest = columns
    parts: list[list[Column]] = [[first]]
    for column in rest:
        if len(parts[-1]) > 1 and _total([*parts[-1], column]) > width:
            parts.append([first])
        parts[-1].append(column)
    return [fitted(part, max(width, _total(part))) for part in parts]


def show(what: RenderableType) -> None:
    """Print without the blanks that fill a table's lines."""
    out = console()
    with out.capture() as captured:
        out.print(what)
    for line in captured.get().splitlines():
        print(line.rstrip())


def print_table(headings: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A table whose long cells are wrapped; None is shown as a dash."""
    table = _bare()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))
    show(Group(Text(title), table) if title else table)


def _bare() -> Table:
    return Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")


def _shown(cell: RenderableType | float | None) -> RenderableType:
    """What rich can print: a number is none of it."""
    return _plain(cell) if cell is None or isinstance(cell, float | int) else cell


def _plain(cell: RenderableType | float | None) -> str:
    return "-" if cell is None else cell.plain if isinstance(cell, Text) else str(cell)


def _total(columns: Sequence[Column]) -> int:
    return sum(column.minimum() + _GAP for column in columns) - _GAP
