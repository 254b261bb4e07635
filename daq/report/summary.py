"""All figures of one run, as the pages, the tables and the JSON tell them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from daq.errors import DaqError
from daq.figures import counted, differential, pulses, scopes, spectra
from daq.figures.circuits import DEFAULT, Impedance
from daq.figures.counted import StepCounted
from daq.figures.differential import Curve, Smoothing
from daq.figures.moved import Flags, Floats
from daq.figures.pulses import Pulse
from daq.figures.scopes import CycleFigures, Rows, Scope, StepFigures
from daq.model import EventKind
from daq.report.data import RunData, RunEvent

Indices = npt.NDArray[np.intp]

STEADY = 0.02
"""How far the current of a step may be from its median for its differential curves."""

LEAST_RECORDS = 20
LEAST_CAPACITY = 0.2  # of nominal: shorter steps have no curve worth a look


@dataclass(frozen=True, slots=True)
class Choices:
    """What somebody who asks for figures may choose.

    Attributes:
        reference: the cycle whose capacity is 100 % of retention; None: the first whole one.
        circuit: fitted to each spectrum; empty fits none.
    """

    reference: int | None = None
    circuit: str = DEFAULT
    smoothing: Smoothing = field(default_factory=Smoothing)


@dataclass(frozen=True, slots=True)
class SpectrumFigures:
    """One impedance spectrum.

    Attributes:
        test_id: the step count of its sweep.
        temperature_degC: of the cell at the last record before it.
        fit: None when there is none; then `fault` says why.
        consistency: None when there are too few points.
    """

    test_id: int
    cycle: int
    time_s: float
    temperature_degC: float
    frequency_Hz: Floats
    z_ohm: Impedance
    fit: spectra.Fit | None
    fault: str
    consistency: spectra.Consistency | None


@dataclass(frozen=True, slots=True)
class Differential:
    """The differential curves of one pass of a step.

    Attributes:
        rate_C: its current over the nominal capacity per hour; negative while discharging.
    """

    step_count: int
    cycle: int
    rate_C: float
    dqdv: Curve
    dvdq: Curve


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything.

    Attributes:
        counted: step count -> how it compares with the instrument's own counters; empty without.
        reasons: step count -> why the step ended.
        alarms, gaps: events that somebody should know of.
    """

    data: RunData
    choices: Choices
    whole: Scope
    steps: tuple[StepFigures, ...]
    cycles: tuple[CycleFigures, ...]
    pulses: tuple[Pulse, ...]
    spectra: tuple[SpectrumFigures, ...]
    differentials: tuple[Differential, ...]
    counted: dict[int, StepCounted]
    reasons: dict[int, str]
    alarms: tuple[RunEvent, ...]
    gaps: tuple[RunEvent, ...]


ALARMS = (EventKind.ALARM, EventKind.TRIP, EventKind.CLEARED, EventKind.PAUSED, EventKind.RESUMED,
          EventKind.FAULT_BEGAN, EventKind.FAULT_ENDED)  # fmt: skip


def summarise(data: RunData, choices: Choices | None = None) -> Summary:
    """Work out all figures of a run.

    Raises:
        InputError: the circuit that was chosen is none.
    """
    chosen = choices or Choices()
    steps = tuple(scopes.step_figures(data.rows, data.unseen))
    ended = data.of_kind(EventKind.STEP_ENDED)
    twice = counted.step_counted(event.data for event in data.of_kind(EventKind.COUNTED))
    return Summary(
        data,
        chosen,
        scopes.run_scope(data.rows, data.unseen),
        steps,
        tuple(scopes.cycle_figures(data.rows, data.unseen, reference=chosen.reference)),
        tuple(pulses.find_pulses(data.rows, data.nominal_Ah)),
        tuple(_spectra(data, chosen.circuit)),
        tuple(_differentials(data, steps, chosen.smoothing)),
        {one.step_count: one for one in twice},
        {int(e.data["step_count"]): str(e.data["reason"]) for e in ended if "step_count" in e.data},
        tuple(data.of_kind(*ALARMS)),
        tuple(data.of_kind(EventKind.GAP)),
    )


def _spectra(data: RunData, circuit: str) -> Iterator[SpectrumFigures]:
    for number in np.unique(data.spectra["test_id"]).tolist():
        points = data.spectra[data.spectra["test_id"] == number]
        hertz = points["frequency"].copy()
        z_ohm = points["z_real"] + 1j * points["z_imag"]
        time_s = float(points["test_time"][0])
        before = max(int(np.searchsorted(data.rows["test_time"], time_s, side="right")) - 1, 0)
        fit, fault = _fit(hertz, z_ohm, circuit)
        yield SpectrumFigures(
            number,
            int(points["cycle_number"][0]),
            time_s,
            float(data.rows["temperature"][before]),
            hertz,
            z_ohm,
            fit,
            fault,
            _consistency(hertz, z_ohm),
        )


def _fit(hertz: Floats, z_ohm: Impedance, circuit: str) -> tuple[spectra.Fit | None, str]:
    if not circuit:
        return None, "no circuit was chosen"
    try:
        return spectra.fit(hertz, z_ohm, circuit), ""
    except spectra.NoFit as none:
        return None, str(none)
    except spectra.NoLibrary as missing:  # the page is worth having without it
        return None, str(missing)


def _consistency(hertz: Floats, z_ohm: Impedance) -> spectra.Consistency | None:
    try:
        return spectra.consistency(hertz, z_ohm)
    except DaqError:
        return None


def _differentials(
    data: RunData, steps: tuple[StepFigures, ...], smoothing: Smoothing
) -> Iterator[Differential]:
    held = scopes.standstill(data.rows) > 0
    breaks = held | data.unseen
    for step, (start, end) in zip(steps, scopes.runs_of(data.rows["step_count"]), strict=True):
        kept = _steady(data.rows[start:end], held[start:end])
        rows, broken = data.rows[start:end][kept], _before(kept, breaks[start:end])
        moved = rows["step_charge_Ah"] + rows["step_discharge_Ah"]
        least_Ah = LEAST_CAPACITY * data.nominal_Ah
        if len(rows) < LEAST_RECORDS or not float(moved[-1] - moved[0]) >= least_Ah:
            continue
        yield Differential(
            step.step_count,
            step.cycle,
            float(np.median(rows["current"])) / data.nominal_Ah,
            differential.dqdv(moved, rows["voltage"], smoothing, broken),
            differential.dvdq(moved, rows["voltage"], smoothing, broken),
        )


def _steady(rows: Rows, held: Flags) -> Indices:
    """The part of a step at constant current: from its first record there to its last.

    Without the records of its pauses, and of the current's way up after each.
    """
    amps = rows["current"]
    # The largest current, not the median: most records of a step may be of its held voltage.
    level = float(amps[int(np.nanargmax(np.abs(amps)))]) if np.isfinite(amps).any() else 0.0
    near = np.flatnonzero(np.abs(amps - level) <= STEADY * abs(level))
    if not (len(near) and level):
        return near[:0]
    inside: Indices = np.arange(near[0], near[-1] + 1, dtype=np.intp)
    return inside[~held[inside] & ~_rising(inside, near, held)]


def _rising(inside: Indices, near: Indices, held: Flags) -> Flags:
    """Records after a pause, up to the first at the level of the step again."""
    last_held = np.maximum.accumulate(np.where(held[inside], inside, -1))
    last_near = np.maximum.accumulate(np.where(np.isin(inside, near), inside, -1))
    return last_near < last_held


def _before(kept: Indices, breaks: Flags) -> Flags:
    """For each record that was kept, whether there was a break since the one kept before it."""
    so_far = np.cumsum(breaks)[kept]
    return np.diff(so_far, prepend=so_far[:1]) > 0
