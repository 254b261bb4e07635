"""State of charge by counting charge, in a run that has seen its cell full and empty.

A cell is full where the run began to take most of its capacity out, and empty where it began to
put most of it in. From the last such moment charge is counted; before the first one, back from it.
So what side reactions take in one cycle is not carried into the next. 100 % is what the largest
discharge took out of a full cell.
"""

from __future__ import annotations

from itertools import pairwise
from math import nan

import numpy as np

from daq.figures.moved import Floats
from daq.figures.scopes import Rows, runs_of

MOST = 0.8
"""Of the nominal capacity: what must be moved one way for the cell to have been full or empty."""

Anchor = tuple[int, float, bool]
"""A record, the run's net charge there, and whether the cell was full."""


def soc_pct(rows: Rows, nominal_Ah: float) -> Floats:
    """State of charge at each record, in percent.

    Args:
        rows: of `/raw_data`, all of the run, not empty.
        nominal_Ah: nominal capacity of the cell.

    Returns:
        NaN throughout when the run has never moved most of the cell's capacity one way.
    """
    net_Ah: Floats = rows["charge_Ah"] - rows["discharge_Ah"]
    ends = [0, *(end - 1 for _, end in runs_of(rows["step_count"]))]
    anchors = _anchors(ends, net_Ah[ends], MOST * nominal_Ah) if nominal_Ah > 0 else []
    if len(anchors) < 2:
        return np.full(len(rows), nan)
    whole_Ah = _capacity_Ah(anchors)
    anchors.pop()  # it is where the run stands, full or empty or not
    places = np.array([index for index, _, _ in anchors])
    latest = np.maximum(np.searchsorted(places, np.arange(len(rows)), side="right") - 1, 0)
    at_Ah = np.array([value for _, value, _ in anchors])[latest]
    at_pct = np.array([100.0 if full else 0.0 for _, _, full in anchors])[latest]
    return at_pct + 100 * (net_Ah - at_Ah) / whole_Ah


def _capacity_Ah(anchors: list[Anchor]) -> float:
    """Of the largest discharge from full; of the charge if there was none."""
    legs = [(full, abs(before - after)) for (_, before, full), (_, after, _) in pairwise(anchors)]
    return max(legs)[1]  # discharges, from full, come behind charges


def _anchors(places: list[int], net_Ah: Floats, least_Ah: float) -> list[Anchor]:
    """Turning points of the net charge that lie at least `least_Ah` apart, in order.

    The last one is where the run stands when it has moved that much since the one before.
    """
    found: list[Anchor] = []
    low = high = (places[0], float(net_Ah[0]))
    rising = True
    for here in zip(places, net_Ah.tolist(), strict=True):
        low, high = min(low, here, key=_value), max(high, here, key=_value)
        if high[1] - here[1] >= least_Ah and (rising or not found):
            found.append((high[0], high[1], True))
            low, rising = here, False
        elif here[1] - low[1] >= least_Ah and (not rising or not found):
            found.append((low[0], low[1], False))
            high, rising = here, True
    if found:
        stands = high if rising else low
        found.append((stands[0], stands[1], rising))
    return found


def _value(point: tuple[int, float]) -> float:
    return point[1]
