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
from daq.report.paper import HIGH, LEFT, TOP, WIDE, table_pages, write
from daq.report.pictures import pictures
from daq.report.style import GREY, styled
from daq.report.summary import Summary
from daq.report.tables import Table, tables

_MOST_LETTERS = 110  # of a fact, on one line


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
        for first, line in _wrapped(value, _MOST_LETTERS)
    )
    yield from table_pages([Table(title, ("", ""), facts, "", frozenset({0, 1}))])
    for name, caption, figure in pictures(summary):
        figure.set_size_inches(WIDE, HIGH)
        figure.get_layout_engine().set(rect=(0.03, 0.08, 0.94, 0.83))
        write(figure, LEFT, TOP, name, fontsize=13, fontweight="bold")
        write(figure, LEFT, 0.03, "\n".join(textwrap.wrap(caption, 150)), color=GREY)
        yield figure
    yield from table_pages(tables(summary))


def _wrapped(value: str, width: int) -> Iterator[tuple[bool, str]]:
    lines = textwrap.wrap(value, width, break_on_hyphens=False) or [""]
    yield from ((number == 0, line) for number, line in enumerate(lines))
