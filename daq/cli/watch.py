"""The live display: a line per station."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daq.cli.output import console, duration

_STYLES = {"running": "green", "tripped": "bold red", "offline": "red", "paused": "yellow"}


def live(data: Mapping[str, Any]) -> Live:
    """A display that replaces itself; give it new tables with `update`."""
    return Live(table(data), console=console(), refresh_per_second=4)


def table(data: Mapping[str, Any]) -> Table:
    """What `daq status` shows of a reply to the `status` command."""
    factor = data.get("clock_factor") or 1
    title = f"lab {data.get('lab', '')}" + (f" · {factor:g} x real time" if factor != 1 else "")
    shown = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for heading in ("station", "mode", "cell", "cycle", "step"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("V", "A", "degC", "Ah"):
        shown.add_column(heading, justify="right", no_wrap=True, min_width=6)
    shown.add_column("progress", min_width=14)
    shown.add_column("left", justify="right", no_wrap=True, min_width=7)
    stations: Mapping[str, Mapping[str, Any]] = data.get("stations") or {}
    for station in stations.values():
        shown.add_row(*_row(station))
    return shown


def _row(station: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        station["station"],
        Text(station["mode"], style=_STYLES.get(station["mode"], "")),
        station["cell"] or "-",
        _cycle(station),
        _step(station),
        _number(station["voltage_V"], 4),
        _number(station["current_A"], 3),
        _number(station["temperature_degC"], 1),
        _number(_net(station), 3),
        ProgressBar(total=1.0, completed=station["progress"] or 0.0, width=14),
        duration(station["remaining_s"]),
    )


def _cycle(station: Mapping[str, Any]) -> str:
    if not station["cycles"]:
        return "-"
    return f"{station['cycle'] or 0}/{station['cycles']}"


def _step(station: Mapping[str, Any]) -> Text:
    if trip := station["trip"]:
        return Text(f"{trip['check']}: {trip['message']}"[:48], style="red")
    if station["why"]:
        return Text(str(station["why"])[:48], style="yellow")
    return Text(str(station["step_text"] or "-")[:32])


def _net(station: Mapping[str, Any]) -> float | None:
    charge, discharge = station["charge_Ah"], station["discharge_Ah"]
    return None if charge is None else charge - (discharge or 0.0)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
