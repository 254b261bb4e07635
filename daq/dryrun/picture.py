"""A picture of a program that was played: voltage, current, temperature, state of charge."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from daq.dryrun.summary import by_cycle
from daq.dryrun.trace import Executed, Played
from daq.errors import InputError
from daq.protocol.program import Program
from daq.recorder.plot import STYLE
from daq.recorder.thin import Floats, decimate

_INK, _GREY = "#333333", "#777777"
_BLUE, _RED, _GREEN, _VIOLET = "#1f5fa8", "#c0392b", "#2e7d5b", "#6a4c93"
_CHARGES, _DISCHARGES, _PULSES = "#dbe9f6", "#fae5df", "#f3e3d3"
_TINTS = {
    "charge": _CHARGES,
    "discharge": _DISCHARGES,
    "cccv": "#cfe5ee",
    "hold": "#e8e3f3",
    "pulse": _PULSES,
    "ramp": "#e3efdc",
    "profile": "#f2e6ee",
    "chamber": "#eaf4ea",
    "eis": "#fbf3d0",
    "operator": "#eeeeee",
}
_SIGNALS = (
    ("voltage_V", "Voltage / V", _BLUE),
    ("current_A", "Current / A", _RED),
    ("temperature_degC", "Temperature / °C", _GREEN),
    ("soc", "State of charge / %", _VIOLET),
)
_HEADER_INCH = 0.7
_LONGEST_LINE = 130
_MOST_POINTS = 60_000
_MOST_SPANS = 150
_MANY_CYCLES = 8
_UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
_LEAST_UNITS = 4.0  # so many of a unit at least, or the axis takes the next smaller one
_FLAT = {"temperature_degC": 2.0, "soc": 2.0, "voltage_V": 0.05}
"""An axis shows this span at least: what hardly moves is not to look wild."""


def draw(program: Program, played: Played, out: Path, heading: str) -> Path:
    """Write a PNG, or whatever the ending of `out` says; replaced when it is there.

    Args:
        program: what was played.
        played: what it came to.
        out: the picture.
        heading: on what it was played.
    """
    matplotlib: Any = importlib.import_module("matplotlib")
    figures: Any = importlib.import_module("matplotlib.figure")
    many = len(by_cycle(played)) >= _MANY_CYCLES
    ratios = (3, 2, 1.6, 1.6, *((2,) if many else ()))
    with matplotlib.rc_context(STYLE):
        figure = figures.Figure(figsize=(10.5, 1.05 * sum(ratios)), layout="constrained")
        axes = figure.subplots(len(ratios), 1, height_ratios=ratios)
        _titles(figure, program, played, heading)
        _draw_time(list(axes[:4]), played)
        if many:
            _draw_cycles(axes[4], played)
        figure.align_ylabels()
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=130)
    return out


def check(out: Path) -> None:
    """Say beforehand what would stand in the way of a picture: a dry run may take a minute.

    Raises:
        InputError: it cannot be drawn into that file.
    """
    backend: Any = importlib.import_module("matplotlib.backends.backend_agg")
    known = backend.FigureCanvasAgg.get_supported_filetypes()
    if out.suffix.lower().removeprefix(".") not in known:
        raise InputError(
            f"{out} cannot be drawn: no picture ends in {out.suffix or 'nothing'!r}",
            remedy="end it in .png, .svg or .pdf",
        )
    if out.is_dir():
        raise InputError(f"{out} cannot be drawn: it is a folder", remedy="name a file in it")
    above = next(one for one in out.absolute().parents if one.exists())
    if not (above.is_dir() and os.access(above, os.W_OK | os.X_OK)):
        raise InputError(f"{out} cannot be drawn: {above} is no folder to write to")


def _titles(figure: Any, program: Program, played: Played, heading: str) -> None:
    size, unit = _unit(played.duration_s)
    title = f"{program.protocol} {program.version}   ·   dry run"
    line = f"{heading}   ·   {played.duration_s / size:.3g} {unit}   ·   {played.outcome}"
    if played.reason:
        line += f": {played.reason}"
    height = figure.get_figheight()
    figure.get_layout_engine().set(rect=(0.0, 0.0, 1.0, 1.0 - _HEADER_INCH / height))
    for text, below_inch, style in (
        (title, 0.12, {"fontsize": 14, "fontweight": "bold", "color": _INK}),
        (line[:_LONGEST_LINE], 0.42, {"fontsize": 9.5, "color": _GREY}),
    ):
        figure.text(0.012, 1.0 - below_inch / height, text, va="top", **style)


def _draw_time(axes: list[Any], played: Played) -> None:
    columns = {name: np.asarray(values) for name, values in played.trace.columns.items()}
    size, unit = _unit(played.duration_s)
    times = columns["time_s"] / size
    for axis, (name, label, colour) in zip(axes, _SIGNALS, strict=True):
        values = columns[name] * (100.0 if name == "soc" else 1.0)
        axis.plot(*decimate(times, values, _MOST_POINTS), color=colour, linewidth=1.2, zorder=3)
        axis.set_ylabel(label)
        _widen(axis, values, _FLAT.get(name, 0.0))
        axis.set_xlim(0, max(played.duration_s / size, 1e-9))
        axis.margins(x=0)
    axes[1].axhline(0, color="#999999", linewidth=0.7, zorder=2)
    _draw_chamber(axes[2], times, columns)
    for axis in axes[:-1]:
        axis.tick_params(labelbottom=False)
    axes[-1].set_xlabel(f"Time / {unit}")
    _shade(axes, played.executed, size)
    _mark_cycles(axes[0], played.executed, size)


def _widen(axis: Any, values: Floats, least: float) -> None:
    """At least so wide, and a little room above and below."""
    if not len(values):
        return
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    half = max(high - low, least, 1e-9) * 0.54
    middle = (low + high) / 2
    axis.set_ylim(middle - half, middle + half)


def _draw_chamber(axis: Any, times: Floats, columns: dict[str, Floats]) -> None:
    axis.lines[0].set_label("cell")
    x, y = decimate(times, columns["chamber_degC"], _MOST_POINTS)
    axis.plot(x, y, color="#888888", linewidth=1, linestyle="--", label="chamber", zorder=2)
    both = np.concatenate([columns["temperature_degC"], columns["chamber_degC"]])
    _widen(axis, both, _FLAT["temperature_degC"])
    _legend(axis)


def _legend(axis: Any, **options: Any) -> None:
    place = {"loc": "lower right", "bbox_to_anchor": (1.005, 0.97), "borderaxespad": 0.1}
    axis.legend(**{**place, "ncols": 10, "fontsize": 8.5, **options})


def _shade(axes: list[Any], executed: list[Executed], size: float) -> None:
    """A light background per kind of step; none when there are too many to tell apart."""
    spans: dict[str, list[tuple[float, float]]] = {}
    for one in executed:
        if one.step.kind in _TINTS and one.lasted_s > 0.0:
            span = (one.began_s / size, one.lasted_s / size)
            spans.setdefault(one.step.kind.value, []).append(span)
    if not spans or sum(map(len, spans.values())) > _MOST_SPANS:
        return
    for axis in axes:
        for kind, parts in spans.items():
            axis.broken_barh(
                parts, (0, 1), transform=axis.get_xaxis_transform(), color=_TINTS[kind],
                linewidth=0, zorder=0, label=kind,
            )  # fmt: skip
    handles = [bars for bars in axes[0].collections if bars.get_label() in _TINTS]
    _legend(axes[0], handles=handles, bbox_to_anchor=(1.005, 1.055), handlelength=1.2)


def _mark_cycles(axis: Any, executed: list[Executed], size: float) -> None:
    begun: dict[int, float] = {}
    ended: dict[int, float] = {}
    for one in executed:
        begun.setdefault(one.cycle, one.began_s / size)
        ended[one.cycle] = one.ended_s / size
    cycles = [cycle for cycle in begun if cycle]
    if len(cycles) < 2:
        return
    every = max(1, -(-len(cycles) // 10))
    for index, cycle in enumerate(cycles):
        if len(cycles) <= _MOST_SPANS // 2:
            axis.axvline(begun[cycle], color="#aaaaaa", linewidth=0.7, linestyle=":", zorder=1)
        if index % every == 0:
            middle = (begun[cycle] + ended[cycle]) / 2
            axis.annotate(
                f"cycle {cycle}" if index == 0 else str(cycle), (middle, 1.0),
                xycoords=("data", "axes fraction"), xytext=(0, 3), textcoords="offset points",
                ha="center", color=_GREY, fontsize=8.5,
            )  # fmt: skip


def _draw_cycles(axis: Any, played: Played) -> None:
    """What each cycle moved; the last one may not be over."""
    totals = by_cycle(played)
    numbers = list(totals)
    size = 3.2 if len(numbers) < 80 else 1.4
    charge = [totals[number].charge_Ah for number in numbers]
    discharge = [totals[number].discharge_Ah for number in numbers]
    axis.plot(numbers, charge, "o", color=_BLUE, markersize=size, label="charge", zorder=3)
    axis.plot(numbers, discharge, "o", color=_RED, markersize=size, label="discharge", zorder=4)
    axis.set(xlabel="Cycle", ylabel="Moved / Ah")
    axis.xaxis.get_major_locator().set_params(integer=True)
    _legend(axis)


def _unit(duration_s: float) -> tuple[float, str]:
    fitting = (found for found in _UNITS if duration_s >= _LEAST_UNITS * found[0])
    return next(fitting, (1.0, "s"))
