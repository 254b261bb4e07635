"""Pictures over time, over cycles and over the state of charge."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any

import numpy as np

from daq.figures.pulses import TIMES_S, Pulse
from daq.figures.scopes import CycleFigures
from daq.recorder.plot import LINES, draw_time, ohm_scale
from daq.recorder.thin import Overview
from daq.report.curves import beside
from daq.report.style import (
    BLACK,
    BLUE,
    CYCLE,
    MARKS,
    ORANGE,
    new_figure,
    plain_numbers,
    styled,
    whole_ticks,
)
from daq.report.summary import Summary

_LINE = {"linewidth": 1.2, "markersize": 5}

SAME_SOC_PCT = 3.0
"""Pulses that lie closer together than this are at one state of charge."""

PULSE_S = 120.0
"""Longer steps are no pulses; the table has the resistances of their beginnings all the same."""


def time_picture(summary: Summary) -> Any:
    """Voltage, current and temperature over time, gaps marked."""
    data = summary.data
    overview = Overview(iter([data.rows]), LINES)
    with styled():
        figure = new_figure(10.5, 6.6)
        axes = figure.subplots(3, 1, sharex=True, height_ratios=(3, 2, 1.6))
        draw_time(axes, overview, data.step_kinds)
        began_s = float(data.rows["time"][0] - data.rows["test_time"][0])
        for gap in summary.gaps:
            start, end = (float(gap.data[key]) - began_s for key in ("from_utc_s", "to_utc_s"))
            for axis in axes:
                axis.axvspan(start / 3600, end / 3600, color="#555555", alpha=0.25, linewidth=0)
    return figure


def cycles_picture(summary: Summary) -> Any:
    """Capacity, retention and efficiency of the cycles that went both ways; None without any."""
    cycles = [one for one in summary.cycles if one.both_ways]
    if not cycles:
        return None
    with styled():
        figure = new_figure(10.5, 6.6)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.2, 1))
        draw_capacities(upper, cycles)
        numbers = [one.cycle for one in cycles]
        coulombic = [one.coulombic_efficiency_pct for one in cycles]
        energy = [one.energy_efficiency_pct for one in cycles]
        lower.plot(numbers, coulombic, "o-", color=BLUE, label="coulombic", **_LINE)
        lower.plot(numbers, energy, "s--", color=ORANGE, label="energy", **_LINE)
        lower.set(xlabel="Cycle", ylabel="Efficiency / %")
        beside(lower)
        for axis in (upper, lower):
            whole_ticks(axis)
            plain_numbers(axis)
            axis.margins(y=0.12)
    return figure


def draw_capacities(axis: Any, cycles: Sequence[CycleFigures]) -> None:
    """Charge and discharge capacity, and on a scale of its own the retention."""
    numbers = [one.cycle for one in cycles]
    charge = [one.whole.moved.charge_Ah for one in cycles]
    discharge = [one.whole.moved.discharge_Ah for one in cycles]
    axis.plot(numbers, charge, "^-", color=BLUE, label="charge", **_LINE)
    axis.plot(numbers, discharge, "v-", color=ORANGE, label="discharge", **_LINE)
    axis.set_ylabel("Capacity / Ah")
    reference = next((one for one in cycles if one.cycle == one.reference_cycle), None)
    if reference and reference.whole.moved.discharge_Ah > 0:
        whole_Ah = reference.whole.moved.discharge_Ah
        right = axis.secondary_yaxis("right", functions=_percent_of(whole_Ah))
        right.set_ylabel(f"of cycle {reference.cycle}'s discharge / %")
    axis.legend(loc="lower left", bbox_to_anchor=(0, 0.98), ncols=2, fontsize=8.5)


def _percent_of(whole_Ah: float) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """From Ah to percent of a capacity, and back; of arrays too."""

    def percent(amount_Ah: Any) -> Any:
        return 100 * amount_Ah / whole_Ah

    def amount(percent: Any) -> Any:
        return percent * whole_Ah / 100

    return percent, amount


def resistance_picture(summary: Summary) -> Any:
    """DC resistance of short pulses from rest; None without any.

    Over the state of charge, or over the cycles where each has its pulses at the same one.
    """
    found = [one for one in summary.pulses if one.edge == "on" and one.lasts_s <= PULSE_S]
    if not found:
        return None
    where, place = _abscissa(found)
    with styled():
        figure = new_figure(10.5, 4.8)
        left, right = figure.subplots(1, 2, sharex=True, sharey=True)
        _draw_resistances(left, (one for one in found if one.step_A < 0), place)
        _draw_resistances(right, (one for one in found if one.step_A > 0), place)
        left.set_title("Discharging pulses", fontsize=10, loc="left", color=BLACK)
        right.set_title("Charging pulses", fontsize=10, loc="left", color=BLACK)
        left.set(xlabel=where, ylabel=f"DC resistance / {_unit(found)[1]}")
        right.set_xlabel(where)
        for axis in (left, right):
            axis.margins(0.08)
            if where == "Cycle":
                whole_ticks(axis)
        _legend_of_times(right, left, right)
    return figure


def _abscissa(found: Sequence[Pulse]) -> tuple[str, Callable[[Pulse], float]]:
    """What pulses are drawn over: its name, and its value for one of them."""
    socs = [one.soc_pct for one in found]
    if not all(map(isfinite, socs)):
        return "Net charge / Ah", lambda one: one.net_Ah
    if max(socs) - min(socs) <= SAME_SOC_PCT and len({one.cycle for one in found}) > 1:
        return "Cycle", lambda one: one.cycle
    return "State of charge / %", lambda one: one.soc_pct


def _legend_of_times(place: Any, *axes: Any) -> None:
    """One legend for both sides: a time has the same colour and mark on each."""
    lines = {line.get_label(): line for axis in axes for line in axis.lines}
    place.legend(
        handles=list(lines.values()), loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8.5,
        title="after the edge", title_fontsize=8.5,
    )  # fmt: skip


def _unit(found: Sequence[Pulse]) -> tuple[float, str]:
    ohms = [at.ohm for one in found for at in one.resistances if isfinite(at.ohm)]
    return ohm_scale(np.array(ohms))


def _draw_resistances(axis: Any, found: Iterable[Pulse], place: Callable[[Pulse], float]) -> None:
    kept = list(found)
    scale = _unit(kept)[0] if kept else 1.0
    for number, after_s in enumerate(TIMES_S):
        points = sorted(
            (place(one), at.ohm * scale)
            for one in kept
            for at in one.resistances
            if at.after_s == after_s and isfinite(at.ohm)
        )
        if not points:
            continue
        axis.plot(
            [x for x, _ in points], [y for _, y in points], linestyle="-",
            color=CYCLE[number % len(CYCLE)], marker=MARKS[number % len(MARKS)],
            label=f"{after_s:g} s", **_LINE,
        )  # fmt: skip
