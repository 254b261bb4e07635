"""One picture of a batch."""

from __future__ import annotations

from typing import Any

from daq.report.comparison import Comparison, whole_cycles
from daq.report.curves import MOST_LINES, beside, capacity_curves, draw_capacity
from daq.report.style import (
    BLUE,
    CYCLE,
    GREY,
    MARKS,
    new_figure,
    plain_numbers,
    styled,
    whole_ticks,
)
from daq.report.summary import Summary

_LINE = {"linewidth": 1.1, "markersize": 4.5}


def comparison_picture(found: Comparison) -> Any:
    """Voltage over capacity of the last cycles; capacity and efficiency by cycle.

    A few runs have a colour each; of many, those that fail stand out from the others.
    """
    with styled():
        figure = new_figure(12.5, 8.4)
        upper, lower = figure.subfigures(2, 1, height_ratios=(1.15, 1))
        curves = upper.subplots()
        capacity, efficiency = lower.subplots(1, 2, sharex=True)
        for index, (name, one) in enumerate(zip(found.names, found.summaries, strict=True)):
            _draw(curves, capacity, efficiency, one, _look(found, index, name))
        _finish(curves, capacity, efficiency)
        beside(curves, "last whole cycle of each")
    return figure


def _look(found: Comparison, index: int, name: str) -> dict[str, Any]:
    """Colour, mark and name of one run's lines."""
    if len(found.names) <= MOST_LINES:
        ink = CYCLE[index % len(CYCLE)]
        style = "-" if index < len(CYCLE) else "--"
        label = f"{name}, not good" if name in found.formed.failed else name
        return {"color": ink, "marker": MARKS[index % len(MARKS)], "label": label, "ls": style}
    failed = name in found.formed.failed
    bad = list(found.formed.failed)
    if failed:
        ink = CYCLE[1 + bad.index(name) % (len(CYCLE) - 1)]
        shown = name if bad.index(name) < MOST_LINES else "_"
        return {"color": ink, "marker": "s", "label": shown, "ls": "-", "zorder": 4}
    first = next(one for one in found.names if one not in found.formed.failed)
    label = f"{found.formed.good} good ones" if name == first else "_"
    return {"color": BLUE, "marker": "o", "label": label, "ls": "-", "alpha": 0.45}


def _draw(curves: Any, capacity: Any, efficiency: Any, one: Summary, look: dict[str, Any]) -> None:
    cycles = whole_cycles(one)
    if not cycles:
        return
    line = {name: value for name, value in look.items() if name != "marker"}
    draw_capacity(curves, capacity_curves(one.data, cycles[-1].cycle), linewidth=1.2, **line)
    numbers = [cycle.cycle for cycle in cycles]
    amounts = [cycle.whole.moved.discharge_Ah for cycle in cycles]
    capacity.plot(numbers, amounts, **look, **_LINE)
    parts = [cycle.coulombic_efficiency_pct for cycle in cycles]
    efficiency.plot(numbers, parts, **look, **_LINE)


def _finish(curves: Any, capacity: Any, efficiency: Any) -> None:
    curves.set(xlabel="Capacity of the cycle / Ah", ylabel="Voltage / V")
    curves.set_xlim(left=0)
    capacity.set(xlabel="Cycle", ylabel="Discharge capacity / Ah")
    efficiency.set(xlabel="Cycle", ylabel="Coulombic efficiency / %")
    for axis in (capacity, efficiency):
        whole_ticks(axis)
        plain_numbers(axis)
        axis.margins(y=0.12)
        axis.tick_params(colors=GREY)
