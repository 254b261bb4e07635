"""A picture of a run: voltage, current and temperature over time, and its spectra."""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daq.journal import JournalReader
from daq.recorder import metadata
from daq.recorder.columns import Rows
from daq.recorder.source import Source, open_source
from daq.recorder.thin import READ, Floats, Overview

_MOST_SPANS = 400
_APART = 0.075  # of the width: two names of cycles
_BESIDE = ((5, -12, "left"), (-5, -12, "right"), (5, 5, "left"), (-5, 5, "right"))
"""Where a point's name may stand: points to the right, points up, and which end is there."""
_BLUE, _RED, _GREEN, _INK = "#1f5fa8", "#c0392b", "#2e7d5b", "#333333"
_TINTS = {
    "charge": "#dbe9f6",
    "cccv": "#dbe9f6",
    "hold": "#e8e3f3",
    "discharge": "#fae5df",
    "eis": "#fbf3d0",
    "chamber": "#eaf4ea",
}
STOOD_STILL = "stood still"
"""Paused, tripped, waiting for an instrument that another station uses, or its daemon down."""
STYLE = {
    "font.size": 9.5,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
    "savefig.facecolor": "white",
}
_SIGNALS = (
    ("voltage", "Voltage / V", _BLUE),
    ("current", "Current / A", _RED),
    ("temperature", "Temperature / °C", _GREEN),
)
_CHAMBER = "chamber_degC"
LINES = (*(name for name, _, _ in _SIGNALS), _CHAMBER)
"""The columns that `draw_time` draws as lines."""


def plot(origin: JournalReader | Path, out: Path, run: str = "") -> Path:
    """Draw a run as a PNG (or whatever the ending of `out` says).

    Args:
        origin: the run's closed HDF5 file, or the journal.
        out: the picture; replaced when it is there.
        run: id of the run; not needed for a file.

    Raises:
        InputError: there is no such run, or no such file.
    """
    # Here and not above: it takes half a second, and only this function wants it.
    matplotlib: Any = importlib.import_module("matplotlib")
    figures: Any = importlib.import_module("matplotlib.figure")
    source = open_source(origin, run)
    data, spectra = Overview(source.columns([*READ, *LINES]), LINES), source.spectra()
    with matplotlib.rc_context(STYLE):
        figure = figures.Figure(figsize=(15 if len(spectra) else 10.5, 7.2), layout="constrained")
        _titles(figure, source)
        left, right = _panes(figure, bool(len(spectra)))
        draw_time(left, data, metadata.step_kinds(source.facts))
        if right is not None:
            _draw_spectra(right, spectra)
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=130)
    return out


def _titles(figure: Any, source: Source) -> None:
    facts = source.facts
    protocol = metadata.section(facts, "protocol")
    cell = metadata.section(facts, "cell")
    title = f"{cell.get('id', '')}   ·   {protocol.get('name', '')} {protocol.get('version', '')}"
    station = metadata.section(facts, "station").get("name", "")
    state = facts.get("outcome") or "running"
    begun = str(facts.get("started", ""))[:16].replace("T", " ")
    figure.suptitle(f"{title}\n", x=0.012, ha="left", fontsize=14, fontweight="bold", color=_INK)
    line = f"run {facts['run']}   ·   station {station}   ·   started {begun} UTC   ·   {state}"
    figure.text(0.013, 0.945, line, fontsize=9.5, color="#777777", va="center")


def _panes(figure: Any, with_spectra: bool) -> tuple[Any, Any]:
    rows = {"sharex": True, "height_ratios": (3, 2, 1.6)}
    if not with_spectra:
        return figure.subplots(3, 1, **rows), None
    left, right = figure.subfigures(1, 2, width_ratios=(1.9, 1), wspace=0.02)
    return left.subplots(3, 1, **rows), right.subplots(2, 1, height_ratios=(1.7, 1))


# Over time.


def draw_time(axes: Any, data: Overview, kinds: dict[int, str]) -> None:
    """Voltage, current and temperature on three axes, one below the other.

    Args:
        axes: the three.
        data: of the run, with `LINES`.
        kinds: see `metadata.step_kinds`.
    """
    for axis, (name, label, colour) in zip(axes, _SIGNALS, strict=True):
        axis.plot(*data.line(name), color=colour, linewidth=1.3, zorder=3)
        axis.set_ylabel(label)
    axes[1].axhline(0, color="#999999", linewidth=0.7, zorder=2)
    _draw_chamber(axes[2], *data.line(_CHAMBER))
    hours = data.edges("test_time") / 3600
    _shade_steps(axes, hours, data, kinds)
    _hatch_pauses(axes, data.pauses())
    _name_shades(axes[0])
    _mark_cycles(axes[0], hours, data.edges("cycle_number"))
    axes[2].set_xlabel("Time / h")
    if len(hours):
        axes[2].set_xlim(0, max(float(hours[-1]), 1e-3))


def _draw_chamber(axis: Any, hours: Floats, chamber: Floats) -> None:
    known = np.isfinite(chamber)
    if not known.any():
        return
    axis.lines[0].set_label("cell")
    style = {"color": "#888888", "linewidth": 1, "linestyle": "--", "zorder": 2}
    axis.plot(hours[known], chamber[known], label="chamber", **style)
    legend_above(axis)


def legend_above(axis: Any, **options: Any) -> None:
    """A legend in one line above an axis, to the right."""
    place = {"loc": "lower right", "bbox_to_anchor": (1.005, 0.98), "borderaxespad": 0.2}
    axis.legend(**{**place, "ncols": 6, "fontsize": 8.5, **options})


def _shade_steps(axes: Any, hours: Floats, data: Overview, kinds: dict[int, str]) -> None:
    """A light background per kind of step; none when there are too many to tell apart."""
    spans: dict[str, list[tuple[float, float]]] = {}
    steps = data.edges("step_index")
    for start, end in _stretches(data.edges("step_count")):
        kind = kinds.get(int(steps[start]), "")
        if kind in _TINTS:
            spans.setdefault(kind, []).append((hours[start], hours[end] - hours[start]))
    if sum(map(len, spans.values())) > _MOST_SPANS:
        return
    for axis in axes:
        for kind, spans_h in spans.items():
            axis.broken_barh(
                spans_h, (0, 1), transform=axis.get_xaxis_transform(), color=_TINTS[kind],
                linewidth=0, zorder=0, label=kind,
            )  # fmt: skip


def _hatch_pauses(axes: Any, pauses: list[tuple[float, float]]) -> None:
    """Over the colour of its step, which did nothing then."""
    spans_h = [(start, end - start) for start, end in pauses]
    for axis in axes if spans_h else ():
        axis.broken_barh(
            spans_h, (0, 1), transform=axis.get_xaxis_transform(), facecolor="#e2e2e2",
            edgecolor="#9a9a9a", hatch="////", linewidth=0, zorder=0.5, label=STOOD_STILL,
        )  # fmt: skip


def _name_shades(axis: Any) -> None:
    stood = [bars for bars in axis.collections if bars.get_label() == STOOD_STILL]
    tinted = [bars for bars in axis.collections if bars.get_label() in _TINTS]
    handles = [*_one_of_each_tint(tinted), *stood]
    if handles:
        legend_above(axis, handles=handles, bbox_to_anchor=(1.005, 1.05), handlelength=1.2)


def _one_of_each_tint(bars: list[Any]) -> list[Any]:
    """Kinds of the same tint share an entry of the legend, which names them all."""
    shared: dict[str, list[Any]] = {}
    for one in bars:
        shared.setdefault(_TINTS[one.get_label()], []).append(one)
    for alike in shared.values():
        alike[0].set_label(", ".join(one.get_label() for one in alike))
    return [alike[0] for alike in shared.values()]


def _mark_cycles(axis: Any, hours: Floats, cycles: npt.NDArray[Any]) -> None:
    stretches = [(a, b) for a, b in _stretches(cycles) if cycles[a] > 0]
    apart = _APART * float(hours[-1] - hours[0]) if len(hours) else 0.0
    named = -np.inf
    for start, end in stretches:
        axis.axvline(hours[start], color="#aaaaaa", linewidth=0.8, linestyle=":", zorder=1)
        middle = float(hours[start] + hours[end]) / 2
        if middle - named >= apart:  # else their names would cover each other
            named = middle
            axis.annotate(
                f"cycle {int(cycles[start])}", (middle, 1.0), xycoords=("data", "axes fraction"),
                xytext=(0, 3), textcoords="offset points", ha="center", color="#777777",
                fontsize=8.5,
            )  # fmt: skip


def _stretches(values: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """Where a value stays the same: index of its first row, and of the next stretch's first."""
    if not len(values):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values) - 1]
    return list(pairwise(cuts))


# Spectra.


def _draw_spectra(axes: Any, spectra: Rows) -> None:
    scale, unit = ohm_scale(spectra["z_mag"])
    nyquist, bode = axes
    phase = bode.twinx()
    groups = [spectra[spectra["test_id"] == number] for number in np.unique(spectra["test_id"])]
    for number, points in enumerate(groups):
        colour = _BLUE if len(groups) == 1 else shade(number / (len(groups) - 1))
        label = f"cycle {int(points['cycle_number'][0])}, at {points['test_time'][0] / 3600:.1f} h"
        line = {"color": colour, "markersize": 3.2, "linewidth": 1.1, "zorder": 3}
        x, y = points["z_real"] * scale, -points["z_imag"] * scale
        nyquist.plot(x, y, "o-", label=label, **line)
        bode.semilogx(points["frequency"], points["z_mag"] * scale, "o-", **line)
        phase.semilogx(points["frequency"], -points["z_phase"], linestyle="--", **line)
    _finish_nyquist(nyquist, groups[-1], scale, unit)
    bode.set(xlabel="Frequency / Hz", ylabel=f"|Z| / {unit}  (points)")
    phase.set_ylabel("−Phase / °  (dashed)")
    phase.grid(visible=False)
    phase.spines["right"].set_visible(True)


def _finish_nyquist(axis: Any, points: Rows, scale: float, unit: str) -> None:
    axis.set(xlabel=f"Re Z / {unit}", ylabel=f"−Im Z / {unit}")
    axis.set_box_aspect(0.85)
    axis.set_aspect("equal", adjustable="datalim")
    axis.margins(0.14)
    axis.axhline(0, color="#999999", linewidth=0.7, zorder=1)
    axis.legend(loc="upper left", fontsize=8.5)
    x, y = points["z_real"] * scale, -points["z_imag"] * scale
    mark_decades(axis, points["frequency"], x, y)


def ohm_scale(z_ohm: npt.NDArray[Any]) -> tuple[float, str]:
    """(factor, unit) in which impedances read well."""
    return (1e3, "mΩ") if float(np.nanmax(np.abs(z_ohm))) < 1 else (1.0, "Ω")


def shade(part: float) -> Any:
    """A colour from dark (0) to light (1) that everybody can tell apart from its neighbours."""
    matplotlib: Any = importlib.import_module("matplotlib")
    return matplotlib.colormaps["viridis"](0.1 + 0.75 * part)


def mark_decades(axis: Any, frequency_Hz: Floats, x: Floats, y: Floats) -> None:
    """Mark the points at whole decades of frequency, and name those that have room for a name.

    The last thing to be drawn: how much room there is depends on everything else.
    """
    decades = _whole_decades(frequency_Hz)
    places = [(float(x[index]), float(y[index])) for _, index in decades]
    axis.plot(*zip(*places, strict=True), "o", color=_RED, markersize=5, zorder=4)
    axis.get_figure(root=True).draw_without_rendering()
    points_px = axis.transData.transform(np.column_stack([x, y]))
    taken: list[Any] = []
    for (decade, _), at in zip(decades, places, strict=True):
        _name_point(axis, _hertz(decade), at, taken, points_px)


def _name_point(
    axis: Any, name: str, at: tuple[float, float], taken: list[Any], points_px: Floats
) -> None:
    """Write a name beside a point, over as few points as can be, and over no other name.

    Nowhere if there is no such place.
    """
    tried = [_write_beside(axis, name, at, place) for place in _BESIDE]
    rooms = [note.get_window_extent() for note in tried]
    free = [number for number, room in enumerate(rooms) if not _overlaps(room, taken)]
    best = min(free, key=lambda number: rooms[number].count_contains(points_px), default=None)
    for number, note in enumerate(tried):
        if number != best:
            note.remove()
    if best is not None:
        taken.append(rooms[best])


def _write_beside(axis: Any, name: str, at: tuple[float, float], place: tuple[Any, ...]) -> Any:
    x_pt, y_pt, side = place
    return axis.annotate(
        name, at, xytext=(x_pt, y_pt), textcoords="offset points", ha=side, fontsize=8.5,
        color=_INK, zorder=5,
    )  # fmt: skip


def _overlaps(room: Any, taken: list[Any]) -> bool:
    return any(room.overlaps(other) for other in taken)


def _whole_decades(frequencies: Floats) -> list[tuple[int, int]]:
    """(decade, index of the point nearest to it), from low frequencies to high."""
    measured = np.log10(frequencies)
    decades = range(round(float(measured.min())), round(float(measured.max())) + 1)
    nearest = [(decade, int(np.abs(measured - decade).argmin())) for decade in decades]
    return [(decade, index) for decade, index in nearest if abs(measured[index] - decade) < 0.1]


def _hertz(decade: int) -> str:
    thousands, rest = divmod(decade, 3)
    return f"{10**rest} {'uHz mHz Hz kHz MHz'.split()[thousands + 2]}"
