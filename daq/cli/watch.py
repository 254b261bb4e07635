"""The live display: a line per station."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from daq.cli.output import console, duration
from daq.cli.tables import Column, fitted

_STYLES = {"running": "green", "tripped": "bold red", "offline": "red", "paused": "yellow"}
_STEP_WIDTH = 12
_BAR_WIDTH = 14
_ROOMY = 120
"""From this width on, a step is shown with what ends it."""


@contextmanager
def live(data: Mapping[str, Any]) -> Generator[Live]:
    """A display that replaces itself; give it new tables with `update`."""
    with Live(table(data), console=console(), refresh_per_second=4) as display:
        yield display
    if not display.console.is_terminal:  # there, it leaves its last line open
        print()


def table(data: Mapping[str, Any]) -> RenderableType:
    """What `daq status` shows of a reply to the `status` command."""
    factor = data.get("clock_factor") or 1
    title = f"lab {data.get('lab', '')}" + (f" · {factor:g} x real time" if factor != 1 else "")
    stations: Mapping[str, Mapping[str, Any]] = data.get("stations") or {}
    width = console().width
    columns = _columns(list(stations.values()), brief=width < _ROOMY)
    return Group(Text(title), fitted(columns, width))


def _columns(stations: Sequence[Mapping[str, Any]], *, brief: bool) -> list[Column]:
    def each(show: Callable[[Mapping[str, Any]], RenderableType | None]) -> list[Any]:
        return [show(station) for station in stations]

    return [
        Column("station", each(lambda one: one["station"])),
        Column("mode", each(lambda one: Text(one["mode"], _STYLES.get(one["mode"], "")))),
        Column("cell", each(lambda one: one["cell"]), rank=4),
        Column("cycle", each(_cycle), rank=3),
        Column("step", each(lambda one: _step(one, brief=brief)), least=_STEP_WIDTH),
        Column("V", each(lambda one: _number(one["voltage_V"], 4, 6)), right=True),
        Column("A", each(lambda one: _number(one["current_A"], 3, 6)), right=True),
        Column(
            "degC", each(lambda one: _number(one["temperature_degC"], 1, 4)), rank=1, right=True
        ),
        Column("Ah", each(lambda one: _number(_net(one), 3, 5)), rank=2, right=True),
        Column("progress", each(_bar), rank=5, width=_BAR_WIDTH),
        Column("left", each(lambda one: duration(one["remaining_s"])), right=True),
    ]


def _bar(station: Mapping[str, Any]) -> RenderableType | None:
    progress = station["progress"]
    return None if progress is None else ProgressBar(1.0, progress, width=_BAR_WIDTH)


def _cycle(station: Mapping[str, Any]) -> str | None:
    if not station["cycles"]:
        return None
    return f"{station['cycle'] or 0}/{station['cycles']}"


def _step(station: Mapping[str, Any], *, brief: bool) -> Text:
    if trip := station["trip"]:
        return Text(f"{trip['check']}: {trip['message']}", style="red")
    if station["why"]:
        return Text(str(station["why"]), style="yellow")
    text = str(station["step_text"] or "-")
    return Text(text.partition(" until ")[0] if brief else text)


def _net(station: Mapping[str, Any]) -> float | None:
    charge, discharge = station["charge_Ah"], station["discharge_Ah"]
    return None if charge is None else charge - (discharge or 0.0)


def _number(value: float | None, digits: int, width: int) -> str | None:
    """Padded, so that the table does not jump about while it is watched."""
    if value is None:
        return None
    return f"{round(value, digits) + 0.0:{width}.{digits}f}"  # the sum has no minus zero
