"""DC resistance: how far the voltage has moved, over how far the current has, after an edge.

The edge lies somewhere between the last record before it and the first record with the new
current; the middle of the two is taken as its moment, and half of their distance is told as its
uncertainty. Voltage and current at a stated time are interpolated between the two records around
that time; where the records are too far apart for that, there is no figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np

from daq.figures.scopes import Rows, runs_of
from daq.figures.soc import soc_pct

TIMES_S = (0.1, 1.0, 10.0, 18.0, 30.0)
"""0.1 s is mostly ohmic; 10 s as in DOE/ID-11069, 18 s as in ISO 12405, 30 s as in EV tests."""

LEAST_STEP = 0.05  # of 1C: less is lost in the voltage's noise
STEADY = 0.02  # how far the current may wander from its first value, relative to the step of it
APART = 0.25  # of the stated time: most distance of the records around it
LEAST_APART_S = 0.06  # but one sample at 20 Hz always does


@dataclass(frozen=True, slots=True)
class Resistance:
    """One figure of one edge.

    Attributes:
        after_s: stated time after the edge.
        ohm: NaN where the records do not give it.
        from_s, to_s: the records that were used, counted from the edge; equal when one was.
        voltage_V, current_A: at the stated time.
    """

    after_s: float
    ohm: float
    from_s: float
    to_s: float
    voltage_V: float
    current_A: float


@dataclass(frozen=True, slots=True)
class Pulse:
    """One edge of the current, between two steps.

    Attributes:
        step_count, step, cycle: of the step that the edge begins.
        edge: "on" (from rest), "off" (to rest) or "change".
        time_s: test time of the edge.
        uncertainty_s: the edge lies within this of `time_s`.
        before_V, before_A: at the last record before the edge.
        step_A: how far the current moved; charge positive.
        lasts_s: of the step that the edge begins, as far as it is recorded.
        temperature_degC: of the cell before the edge.
        net_Ah: net charge of the run before the edge.
        soc_pct: state of charge before the edge, see `soc`; NaN where it is not known.
        resistances: at each of the stated times that the step lasted.
    """

    step_count: int
    step: int
    cycle: int
    edge: str
    time_s: float
    uncertainty_s: float
    before_V: float
    before_A: float
    step_A: float
    lasts_s: float
    temperature_degC: float
    net_Ah: float
    soc_pct: float
    resistances: tuple[Resistance, ...]


def find_pulses(
    rows: Rows,
    nominal_Ah: float,
    *,
    times_s: Sequence[float] = TIMES_S,
    least_step: float = LEAST_STEP,
) -> list[Pulse]:
    """The edges of the current between two steps that say something of resistance.

    Args:
        rows: of `/raw_data`, all of the run.
        nominal_Ah: nominal capacity: its 1C is the measure of an edge.
        times_s: stated times after the edge.
        least_step: smallest edge, as a part of 1C.

    Returns:
        Those with at least one resistance.
    """
    socs = soc_pct(rows, nominal_Ah)
    steps = runs_of(rows["step_count"])
    edges = (
        _pulse(rows, start, end, float(socs[start - 1]), nominal_Ah * least_step, times_s)
        for start, end in steps[1:]
    )
    return [edge for edge in edges if edge and any(isfinite(r.ohm) for r in edge.resistances)]


def _pulse(
    rows: Rows, start: int, end: int, soc: float, least_A: float, times_s: Sequence[float]
) -> Pulse | None:
    before, first = rows[start - 1], rows[start]
    step_A = float(first["current"] - before["current"])
    if not abs(step_A) >= least_A > 0:
        return None
    gap_s = float(first["test_time"] - before["test_time"])
    edge_s = float(before["test_time"]) + gap_s / 2
    found = [_resistance(rows[start:end], before, edge_s, step_A, after_s) for after_s in times_s]
    return Pulse(
        int(first["step_count"]),
        int(first["step_index"]),
        int(first["cycle_number"]),
        _kind(float(before["current"]), float(first["current"]), least_A),
        edge_s,
        gap_s / 2,
        float(before["voltage"]),
        float(before["current"]),
        step_A,
        float(rows["test_time"][end - 1]) - edge_s,
        float(before["temperature"]),
        float(before["charge_Ah"] - before["discharge_Ah"]),
        soc,
        tuple(resistance for resistance in found if resistance),
    )


def _kind(before_A: float, after_A: float, least_A: float) -> str:
    if abs(before_A) < least_A / 2:
        return "on"
    return "off" if abs(after_A) < least_A / 2 else "change"


def _resistance(
    rows: Rows, before: Any, edge_s: float, step_A: float, after_s: float
) -> Resistance | None:
    """At one stated time; None when the step was over, or the current another, by then."""
    time_s = rows["test_time"] - edge_s
    right = int(np.searchsorted(time_s, after_s))
    if right >= len(time_s) or not _steady(rows["current"][: right + 1], step_A):
        return None
    left = max(right - 1, 0)
    from_s, to_s = float(time_s[left]), float(time_s[right])
    volts = float(np.interp(after_s, time_s[left : right + 1], rows["voltage"][left : right + 1]))
    amps = float(np.interp(after_s, time_s[left : right + 1], rows["current"][left : right + 1]))
    if to_s - min(from_s, after_s) > max(APART * after_s, LEAST_APART_S):
        return Resistance(after_s, nan, from_s, to_s, volts, amps)
    moved_V, moved_A = volts - float(before["voltage"]), amps - float(before["current"])
    return Resistance(after_s, moved_V / moved_A, from_s, to_s, volts, amps)


def _steady(amps: Any, step_A: float) -> bool:
    return bool(np.abs(amps - amps[0]).max() <= STEADY * abs(step_A))
