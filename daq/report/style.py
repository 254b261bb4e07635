"""How pictures look: one size of type, colours that everybody can tell apart."""

from __future__ import annotations

import base64
import importlib
import io
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from daq.recorder.plot import STYLE, shade

BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#333333",
)  # fmt: skip
"""Of M. Okabe and K. Ito, Color Universal Design (2008)."""

CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, BLACK)
MARKS = ("o", "s", "^", "D", "v", "P")
GREY = "#777777"
_DPI = 140


@contextmanager
def styled() -> Generator[None]:
    """Everything that is drawn in this block looks alike."""
    matplotlib: Any = importlib.import_module("matplotlib")
    with matplotlib.rc_context(STYLE):
        yield


def new_figure(width_in: float, height_in: float) -> Any:
    """An empty figure, in inches; belongs to no window."""
    figures: Any = importlib.import_module("matplotlib.figure")
    return figures.Figure(figsize=(width_in, height_in), layout="constrained")


def whole_ticks(axis: Any) -> None:
    """Cycles are whole numbers."""
    ticker: Any = importlib.import_module("matplotlib.ticker")
    axis.xaxis.set_major_locator(ticker.MaxNLocator(nbins=12, integer=True, min_n_ticks=1))


def plain_numbers(axis: Any) -> None:
    """No offset such as +2.417e0 beside an axis: nobody adds it."""
    axis.ticklabel_format(axis="y", useOffset=False)


def colour(number: int, of: int) -> Any:
    """Of one line among several: told apart while they are few, a scale when they are many."""
    return CYCLE[number] if of <= len(CYCLE) else shade(number / (of - 1))


def few(items: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of them, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    picked = [round(k * (len(items) - 1) / (most - 1)) for k in range(most)]
    return [items[index] for index in picked]


def png(figure: Any) -> bytes:
    """As a picture."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=_DPI)
    return out.getvalue()


def data_uri(figure: Any) -> str:
    """As a picture within a page."""
    return "data:image/png;base64," + base64.b64encode(png(figure)).decode()
