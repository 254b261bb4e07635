"""Steps, cycles and the run as a whole, from the rows of `/raw_data`.

The figures are those of the daemon's own counters, which integrate every sample, also those that
the recording rule did not keep. The same is worked out once more from the kept records alone
(`integrated`), and how far the two are apart is told beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan
from typing import Any

import numpy as np
import numpy.typing as npt

from daq import pauses
from daq.figures.moved import COUNTERS, Flags, Floats, Moved, deviation_pct, ratio, trapezoids

Rows = npt.NDArray[np.void]

NEEDED = (
    "test_time", "time", "voltage", "current", "temperature", "cycle_number", "step_index",
    "step_count", "step_time_s", *COUNTERS, *(f"step_{name}" for name in COUNTERS),
    *(f"cycle_{name}" for name in COUNTERS),
)  # fmt: skip
"""Columns of `/raw_data` that the functions below read."""

NEGLIGIBLE = 1e-3
"""Of the largest cycle: what an open output seems to leak through a meter's offset is no cycle."""

LEAST_SHARE = 0.2
"""Of the greater of charge and discharge: a cycle moves at least that the other way, too."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a step, a cycle or the run has moved.

    Attributes:
        start_s: test time of its first record.
        duration_s: from its first record to its last, without pauses.
        paused_s: how long it stood still in between.
        moved: by the daemon's counters, from every sample.
        integrated: by trapezoids over the records that were kept.
        begin_V, end_V: at the first and at the last record.
    """

    start_s: float
    duration_s: float
    paused_s: float
    records: int
    moved: Moved
    integrated: Moved
    begin_V: float
    end_V: float
    min_V: float
    max_V: float
    min_degC: float
    mean_degC: float
    max_degC: float

    @property
    def deviation_pct(self) -> float:
        """How far the counters and the records are apart; see `moved.deviation_pct`."""
        return deviation_pct(self.integrated, self.moved)


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One pass of a step.

    Attributes:
        step_count: of the run's passes of steps, from 1.
        step: line of the program.
        mean_A: charge over time, net; pauses are no time of the step.
    """

    step_count: int
    step: int
    cycle: int
    whole: Scope
    mean_A: float


@dataclass(frozen=True, slots=True)
class CycleFigures:
    """One cycle.

    Efficiencies and retention are NaN unless `both_ways`: a pass of a loop of pulses is a cycle to
    the program, and its discharge over its charge says nothing of the cell.

    Attributes:
        both_ways: it charged and discharged, the lesser at least `LEAST_SHARE` of the other.
        retention_pct: discharge capacity over that of the reference cycle.
        reference_cycle: the number of that cycle; -1 when there is none.
    """

    cycle: int
    whole: Scope
    both_ways: bool
    coulombic_efficiency_pct: float
    energy_efficiency_pct: float
    retention_pct: float
    reference_cycle: int


def run_scope(rows: Rows, unseen: Flags | None = None) -> Scope:
    """The run as a whole; `rows` must not be empty."""
    return _Cutter(rows, "", unseen).cut(0, len(rows))


def step_figures(rows: Rows, unseen: Flags | None = None) -> list[StepFigures]:
    """One entry for each pass of a step, in order.

    Args:
        rows: of `/raw_data`, in order, all of the run; see `NEEDED`.
        unseen: see `moved.trapezoids`.
    """
    cutter = _Cutter(rows, "step_", unseen)
    return [
        _step(rows[start], cutter.cut(start, end)) for start, end in runs_of(rows["step_count"])
    ]


def _step(first: Any, whole: Scope) -> StepFigures:
    hours = whole.duration_s / 3600
    return StepFigures(
        int(first["step_count"]),
        int(first["step_index"]),
        int(first["cycle_number"]),
        whole,
        whole.moved.net_Ah / hours if hours > 0 else nan,
    )


def cycle_figures(
    rows: Rows, unseen: Flags | None = None, *, reference: int | None = None
) -> list[CycleFigures]:
    """One entry for each cycle that moved charge, in order.

    Args:
        rows: as for `step_figures`.
        unseen: see `moved.trapezoids`.
        reference: the cycle whose discharge capacity is 100 % of retention; None takes the first
            one that both charged and discharged.
    """
    cutter = _Cutter(rows, "cycle_", unseen)
    cut = [
        (int(rows["cycle_number"][start]), cutter.cut(start, end))
        for start, end in runs_of(rows["cycle_number"])
    ]
    most = max((whole.moved.cumulative_Ah for _, whole in cut), default=0.0)
    kept = [item for item in cut if item[1].moved.cumulative_Ah > NEGLIGIBLE * most]
    number, capacity_Ah = _reference(kept, reference)
    return [_cycle(cycle, whole, number, capacity_Ah) for cycle, whole in kept]


def _cycle(cycle: int, whole: Scope, reference: int, capacity_Ah: float) -> CycleFigures:
    moved = whole.moved
    if not _both_ways(moved):
        return CycleFigures(cycle, whole, False, nan, nan, nan, reference)
    retention_pct = 100 * ratio(moved.discharge_Ah, capacity_Ah)
    return CycleFigures(
        cycle,
        whole,
        True,
        moved.coulombic_efficiency_pct,
        moved.energy_efficiency_pct,
        retention_pct,
        reference,
    )


def _reference(cycles: Sequence[tuple[int, Scope]], wanted: int | None) -> tuple[int, float]:
    """The reference cycle and its discharge capacity; (-1, 0) where there is none."""
    for number, whole in cycles:
        if _both_ways(whole.moved) and wanted in (None, number):
            return number, whole.moved.discharge_Ah
    return -1, 0.0


def _both_ways(moved: Moved) -> bool:
    less, more = sorted((moved.charge_Ah, moved.discharge_Ah))
    return less >= LEAST_SHARE * more > 0


def runs_of(values: npt.NDArray[Any]) -> list[tuple[int, int]]:
    """Where a value stays the same: index of its first row, and of the first row after it."""
    if not len(values):
        return []
    return list(pairwise([0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]))


def unseen_stretches(utc_s: Floats, gaps: Sequence[tuple[float, float]]) -> Flags:
    """For each record, whether a gap lies between it and the record before.

    Args:
        utc_s: of the records.
        gaps: (from, to) of each, Unix time.
    """
    out = np.zeros(len(utc_s), dtype=np.bool_)
    for start, end in gaps:
        middle = (start + end) / 2
        index = int(np.searchsorted(utc_s, middle))
        if 0 < index < len(utc_s):
            out[index] = True
    return out


def standstill(rows: Rows) -> Floats:
    """Seconds of pauses between the record before and each record, shape (n,)."""
    columns = (rows["test_time"], rows["step_time_s"], rows["step_count"])
    return pauses.only_pauses(pauses.held_s(*columns))


class _Cutter:
    """Makes a `Scope` of a stretch of rows."""

    def __init__(self, rows: Rows, prefix: str, unseen: Flags | None) -> None:
        self._rows = rows
        self._prefix = prefix
        areas = trapezoids(rows["test_time"], rows["voltage"], rows["current"], unseen)
        # The very first sample of a run acts and is not kept: what came before the first record
        # is known to the counters alone.
        first = [[float(rows[name][0])] for name in COUNTERS]
        self._held_s = standstill(rows)
        self._areas = areas + np.array(first)

    def cut(self, start: int, end: int) -> Scope:
        """The rows from `start` up to, not including, `end`."""
        rows, last = self._rows[start:end], self._rows[end - 1]
        before = self._areas[:, start - 1] if start else np.zeros(len(COUNTERS))
        volts, degC = rows["voltage"], rows["temperature"]
        paused_s = float(self._held_s[start + 1 : end].sum())
        return Scope(
            float(rows["test_time"][0]),
            float(last["test_time"] - rows["test_time"][0]) - paused_s,
            paused_s,
            len(rows),
            Moved(*(float(last[self._prefix + name]) for name in COUNTERS)),
            Moved(*(self._areas[:, end - 1] - before).tolist()),
            float(volts[0]),
            float(volts[-1]),
            _or_nan(np.fmin.reduce, volts),
            _or_nan(np.fmax.reduce, volts),
            _or_nan(np.fmin.reduce, degC),
            _mean(rows["test_time"], degC),
            _or_nan(np.fmax.reduce, degC),
        )


def _or_nan(reduce: Callable[[Floats], Any], values: Floats) -> float:
    """The functions fmin and fmax pass NaN over, and stay NaN when there is nothing else."""
    return float(reduce(values))


def _mean(time_s: Floats, values: Floats) -> float:
    """Over time, not over records: these crowd where something changes."""
    known = np.isfinite(values)
    time_s, values = time_s[known], values[known]
    if not len(values):
        return nan
    whole_s = float(time_s[-1] - time_s[0])
    if whole_s <= 0:
        return float(values.mean())
    return float((np.diff(time_s) * (values[1:] + values[:-1]) / 2).sum() / whole_s)
