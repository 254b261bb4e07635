"""The report on paper: A4, pages of tables and of pictures, one file.

matplotlib writes it; see docs/decisions/146-reports-need-nothing-new.md.
"""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daq.report.identity import identity
from daq.report.pictures import pictures
from daq.report.style import GREY, new_figure, styled
from daq.report.summary import Summary
from daq.report.tables import Table, tables

_WIDE, _HIGH = 11.69, 8.27  # A4 across, in inches
_LEFT, _TOP, _BOTTOM, _LINE = 0.05, 0.93, 0.06, 0.0225  # parts of the page
_POINTS = 7.5
_LETTERS = 165  # of that size from margin to margin


def write_pdf(summary: Summary, out: Path) -> Path:
    """Write the report; what stood there is replaced."""
    backend: Any = importlib.import_module("matplotlib.backends.backend_pdf")
    out.parent.mkdir(parents=True, exist_ok=True)
    about = {"Title": f"{summary.data.cell}, run {summary.data.run}", "Creator": "battery-daq"}
    with styled(), backend.PdfPages(out, metadata=about) as pages:
        for figure in _pages(summary):
            pages.savefig(figure)
    return out


def _pages(summary: Summary) -> Iterator[Any]:
    title = summary.data.cell or summary.data.run
    facts = tuple(
        (name if first else "", line)
        for name, value in identity(summary)
        for first, line in _wrapped(value, 110)
    )
    yield from table_pages(Table(title, ("", ""), facts, "", frozenset({0, 1})))
    for name, caption, figure in pictures(summary):
        figure.set_size_inches(_WIDE, _HIGH)
        figure.get_layout_engine().set(rect=(0.03, 0.08, 0.94, 0.83))
        _text(figure, _LEFT, 0.95, name, fontsize=13, fontweight="bold")
        _text(figure, _LEFT, 0.03, "\n".join(textwrap.wrap(caption, 150)), color=GREY)
        yield figure
    for table in tables(summary):
        yield from table_pages(table)


def _wrapped(value: str, width: int) -> Iterator[tuple[bool, str]]:
    lines = textwrap.wrap(value, width, break_on_hyphens=False) or [""]
    yield from ((number == 0, line) for number, line in enumerate(lines))


def table_pages(table: Table) -> Iterator[Any]:
    """As many pages as the table needs."""
    note = textwrap.wrap(table.note, _LETTERS)
    room = int((_TOP - _BOTTOM) / _LINE) - 4 - len(note)
    for start in range(0, max(len(table.rows), 1), room):
        rows = table.rows[start : start + room]
        more = f" (continued, from row {start + 1})" if start else ""
        last = start + room >= len(table.rows)
        yield _page(table, rows, more, note if last else [])


def _page(table: Table, rows: tuple[tuple[str, ...], ...], more: str, note: list[str]) -> Any:
    figure = new_figure(_WIDE, _HIGH)
    _text(figure, _LEFT, 0.95, table.title + more, fontsize=13, fontweight="bold")
    heads = [textwrap.wrap(text, 11) or [""] for text in table.headings]
    places = _places(table, heads)
    height = max(map(len, heads))
    for lines, place, word in zip(heads, places, _words(table), strict=True):
        _text(figure, place, _TOP - _LINE * 1.2, "\n".join(lines), word, fontweight="bold")
    top = _TOP - _LINE * (1.6 + height)
    for number, row in enumerate(rows):
        for text, place, word in zip(row, places, _words(table), strict=True):
            _text(figure, place, top - number * _LINE, text, word)
    below = top - (len(rows) + 0.5) * _LINE
    _text(figure, _LEFT, below, "\n".join(note), color=GREY)
    return figure


def _words(table: Table) -> list[bool]:
    return [index in table.words for index in range(len(table.headings))]


def _places(table: Table, heads: list[list[str]]) -> list[float]:
    """Where each column begins (words) or ends (numbers), as a part of the width."""
    widths = [
        max([len(line) for line in lines] + [len(row[index]) for row in table.rows]) + 2
        for index, lines in enumerate(heads)
    ]
    letter = (1 - 2 * _LEFT) / max(_LETTERS, sum(widths))
    places: list[float] = []
    at = _LEFT
    for width, word in zip(widths, _words(table), strict=True):
        places.append(at if word else at + (width - 2) * letter)
        at += width * letter
    return places


def _text(figure: Any, x: float, y: float, text: str, word: bool = True, **how: Any) -> None:
    style = {"fontsize": _POINTS, "va": "top", "ha": "left" if word else "right", **how}
    figure.text(x, y, text, parse_math=False, **style)
