"""Tables on paper: one below the other, on as many pages as they need."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from daq.report.style import GREY, new_figure
from daq.report.tables import Table

WIDE, HIGH = 11.69, 8.27
"""A4 across, in inches."""
LEFT, TOP = 0.05, 0.95
"""Where text begins, as parts of the page."""
_BOTTOM, _LINE = 0.05, 0.0225
_POINTS = 7.5
_LETTERS = 165  # of that size from margin to margin
_ROOM = int((TOP - _BOTTOM) / _LINE)  # lines on a page
_TITLE, _AFTER_HEADS, _BETWEEN = 2.0, 0.5, 2.5  # lines


class _Part:
    """Rows of a table that stand together, and the lines that they take."""

    def __init__(self, table: Table, start: int) -> None:
        self._table = table
        self._start = start
        self._heads = [textwrap.wrap(text, 11) or [""] for text in table.headings]
        self._note = textwrap.wrap(table.note, _LETTERS)
        self._above = _TITLE + max(map(len, self._heads)) + _AFTER_HEADS
        self.rows = table.rows[start:]

    def fits(self, used: float) -> bool:
        """Whether all of it can stand below what is on the page already."""
        return used + self._above + len(self.rows) + 0.5 + len(self._note) <= _ROOM

    def cut(self, used: float) -> _Part | None:
        """Leave what has room below so many lines, and give the rest, if any."""
        if self.fits(used):
            return None
        room = int(_ROOM - used - self._above)
        rest = _Part(self._table, self._start + room)
        self.rows, self._note = self.rows[:room], []
        return rest

    def draw(self, figure: Any, used: float) -> float:
        """Write it below so many lines; how many are used then."""
        more = f" (continued, from row {self._start + 1})" if self._start else ""
        style: dict[str, Any] = {"fontsize": 13, "fontweight": "bold"}
        write(figure, LEFT, _down(used), self._table.title + more, **style)
        places, words = _places(self._table, self._heads), _words(self._table)
        for lines, place, word in zip(self._heads, places, words, strict=True):
            write(figure, place, _down(used + _TITLE), "\n".join(lines), word, fontweight="bold")
        at = used + self._above
        for row in self.rows:
            for text, place, word in zip(row, places, words, strict=True):
                write(figure, place, _down(at), text, word)
            at += 1
        write(figure, LEFT, _down(at + 0.5), "\n".join(self._note), color=GREY)
        return at + 0.5 + len(self._note) + _BETWEEN


def table_pages(tables: Iterable[Table]) -> Iterator[Any]:
    """The pages; a table begins a new one unless it has room below the one before."""
    figure, used = new_figure(WIDE, HIGH), 0.0
    for table in tables:
        part: _Part | None = _Part(table, 0)
        while part:
            if used and not part.fits(used):
                yield figure
                figure, used = new_figure(WIDE, HIGH), 0.0
            rest = part.cut(used)
            used = part.draw(figure, used)
            part = rest
    if used:
        yield figure


def write(figure: Any, x: float, y: float, text: str, word: bool = True, **how: Any) -> None:
    """Write text (not mathematics) down from a place; a number ends there, a word begins there."""
    style = {"fontsize": _POINTS, "va": "top", "ha": "left" if word else "right", **how}
    figure.text(x, y, text, parse_math=False, **style)


def _down(lines: float) -> float:
    return TOP - _LINE * lines


def _words(table: Table) -> list[bool]:
    return [index in table.words for index in range(len(table.headings))]


def _places(table: Table, heads: Sequence[Sequence[str]]) -> list[float]:
    """Where each column begins (words) or ends (numbers), as a part of the width."""
    widths = [
        max([len(line) for line in lines] + [len(row[index]) for row in table.rows]) + 2
        for index, lines in enumerate(heads)
    ]
    letter = (1 - 2 * LEFT) / max(_LETTERS, sum(widths))
    places: list[float] = []
    at = LEFT
    for width, word in zip(widths, _words(table), strict=True):
        places.append(at if word else at + (width - 2) * letter)
        at += width * letter
    return places
