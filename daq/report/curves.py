"""Curves over capacity and over voltage: of one run's cycles, or of one cycle of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from daq.figures.moved import Floats
from daq.recorder.thin import decimate
from daq.report.data import RunData
from daq.report.style import colour, few, new_figure, styled
from daq.report.summary import Differential, Summary

MOST_LINES = 8
_MOST_POINTS = 4000
_FLOWS = 1e-3  # of the largest current: more than an open output seems to leak


@dataclass(frozen=True, slots=True)
class CapacityCurve:
    """Voltage over the charge moved one way in one cycle, all steps of that way together."""

    capacity_Ah: Floats
    voltage_V: Floats


def capacity_curves(data: RunData, cycle: int) -> tuple[CapacityCurve, CapacityCurve]:
    """(charging, discharging) of a cycle."""
    rows = data.rows[data.rows["cycle_number"] == cycle]
    return _curve(rows, "charge"), _curve(rows, "discharge")


def _curve(rows: Any, way: str) -> CapacityCurve:
    moved, volts = rows[f"cycle_{way}_Ah"], rows["voltage"]
    amps = rows["current"] if way == "charge" else -rows["current"]
    most = float(np.nanmax(amps)) if len(amps) else 0.0
    flows = np.flatnonzero(amps > max(_FLOWS * most, 0.0))
    # Where it flowed the other way in between, the line is broken.
    stops = np.flatnonzero(amps < -_FLOWS * most)
    parts = np.split(flows, np.searchsorted(flows, stops)) if len(stops) else [flows]
    drawn = [decimate(moved[part], volts[part], _MOST_POINTS) for part in parts if len(part)]
    gap = np.array([np.nan])
    x = [piece for capacity, _ in drawn for piece in (capacity, gap)]
    y = [piece for _, voltage in drawn for piece in (voltage, gap)]
    return CapacityCurve(np.concatenate([gap, *x]), np.concatenate([gap, *y]))


def draw_capacity(axis: Any, curves: Sequence[CapacityCurve], **line: Any) -> None:
    """Charging and discharging of one cycle in one colour; only the first has the label."""
    for curve in curves:
        axis.plot(curve.capacity_Ah, curve.voltage_V, **line)
        line.pop("label", None)


def voltage_picture(summary: Summary) -> Any:
    """Voltage over capacity, cycle by cycle; None when no cycle went both ways."""
    cycles = few([one.cycle for one in summary.cycles if one.both_ways], MOST_LINES)
    if not cycles:
        return None
    with styled():
        figure = new_figure(10.5, 4.6)
        axis = figure.subplots()
        for number, cycle in enumerate(cycles):
            line = {"color": colour(number, len(cycles)), "linewidth": 1.4}
            both = capacity_curves(summary.data, cycle)
            draw_capacity(axis, both, label=f"cycle {cycle}", **line)
        axis.set(xlabel="Capacity of the cycle / Ah", ylabel="Voltage / V")
        axis.set_xlim(left=0)
        beside(axis, "up: charge\ndown: discharge")
    return figure


def beside(axis: Any, title: str = "") -> None:
    """The legend to the right of an axis, where it covers nothing."""
    axis.legend(
        loc="upper left", bbox_to_anchor=(1.0, 1.0), title=title, fontsize=8.5, title_fontsize=8.5,
        alignment="left",
    )  # fmt: skip


def differential_picture(summary: Summary) -> Any:
    """Differential curves, dQ/dV and dV/dQ; None when no step was long enough."""
    kept = _pairs(summary.differentials)
    if not kept:
        return None
    with styled():
        figure = new_figure(10.5, 7.6)
        upper, lower = figure.subplots(2, 1)
        for number, one in enumerate(kept):
            sign = 1 if one.rate_C > 0 else -1
            line = {"color": colour(number // 2, -(-len(kept) // 2)), "linewidth": 1.3}
            line |= {"linestyle": "-" if sign > 0 else "--", "label": _label(one)}
            upper.plot(one.dqdv.x, sign * one.dqdv.y, **line)
            lower.plot(one.dvdq.x, np.abs(one.dvdq.y), **line)
        upper.axhline(0, color="#999999", linewidth=0.7)
        upper.set(xlabel="Voltage / V", ylabel="dQ/dV / (Ah/V)")
        lower.set(xlabel="Charge moved in the step / Ah", ylabel="|dV/dQ| / (V/Ah)")
        lower.set_ylim(0, _ceiling([one.dvdq.y for one in kept]))
        beside(upper, "solid: charge (above 0)\ndashed: discharge (below 0)")
    return figure


def _pairs(all_of_them: Sequence[Differential]) -> list[Differential]:
    """Charge and discharge of some cycles, in turn; the first of each if there are several."""
    by_cycle: dict[tuple[int, bool], Differential] = {}
    for one in all_of_them:
        if len(one.dqdv.x) and len(one.dvdq.x):
            by_cycle.setdefault((one.cycle, one.rate_C < 0), one)
    cycles = few(sorted({cycle for cycle, _ in by_cycle}), MOST_LINES // 2)
    return [by_cycle[key] for cycle in cycles for key in ((cycle, False), (cycle, True))
            if key in by_cycle]  # fmt: skip


def _label(one: Differential) -> str:
    way = "charge" if one.rate_C > 0 else "discharge"
    return f"cycle {one.cycle}, {way}, {rate(one.rate_C)}"


def rate(rate_C: float) -> str:
    """A C-rate as people write it: C/20, 2C."""
    size = abs(rate_C)
    if size == 0 or size != size:
        return "-"
    if size >= 0.95:
        return f"{size:.3g}C"
    return f"C/{1 / size:.3g}"


def _ceiling(curves: Sequence[Floats]) -> float:
    """Of dV/dQ, whose ends rise to the sky: three times the height of its middle."""
    middles = np.concatenate([np.abs(y[len(y) // 10 : -len(y) // 10]) for y in curves])
    return 1.3 * float(np.nanpercentile(middles, 98)) or 1.0
