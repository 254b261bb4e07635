"""Lets the detectors look at what every station does, and turns what they say into alarms.

From the supervisor's loop, once a second; of a station only its latest readings are taken, and of
its run the steps that have ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from daq.clock import monotonic
from daq.config import DetectConfig
from daq.control.alarms.alarms import Alarms
from daq.control.alarms.causes import Cause
from daq.control.alarms.detectors import (
    Availability,
    Fade,
    InternalShort,
    Runaway,
    SelfDischarge,
)
from daq.control.guard import valid
from daq.control.run import Run
from daq.control.station import Station
from daq.protocol.program import StepKind

LASTING = frozenset({Cause.RUNAWAY, Cause.DATA_AVAILABILITY})
"""These are over when the detector says nothing any more; the others when acknowledged."""


class Observer:
    """Watches one station.

    Args:
        limits: when each detector speaks.
        fades: the cells' capacities so far; they outlive a run and belong to all stations.
    """

    def __init__(
        self, station: Station, alarms: Alarms, limits: DetectConfig, fades: Fades
    ) -> None:
        self._station = station
        self._alarms = alarms
        self._limits = limits
        self._fades = fades
        self._run: Run | None = None
        self._seen_s = 0.0
        self._availability = Availability(limits.availability, station.home.period_s)
        self._begin(None)

    def look(self) -> None:
        """Look once."""
        run = self._station.conductor.run
        if run is not self._run:
            self._take_steps()  # the last ones of the run that is over
            self._say_of_end()
            self._fades.over(self._run)
            self._begin(run)
        self._take_steps()
        if run is None:
            self._end_all()
            return
        self._look_at_cell()
        self._look_at_data()

    def _begin(self, run: Run | None) -> None:
        self._run = run
        nominal_Ah = _nominal(run)
        self._short = InternalShort(self._limits.short_V, nominal_Ah)
        self._rest = SelfDischarge(self._limits.self_discharge_V, nominal_Ah)
        self._runaway = Runaway(self._limits.warming_K_min)

    def _say_of_end(self) -> None:
        if (run := self._run) and run.failed:
            message = f"run {run.info.id} of cell {run.info.cell} has failed: {run.failed}"
            self._alarms.raise_(Cause.RUN_FAILED, message, station=self._station.name)

    def _look_at_cell(self) -> None:
        sample, climate = self._station.last, self._station.climate
        if sample is None or sample.time_s <= self._seen_s:
            return
        self._seen_s, reading = sample.time_s, sample.reading
        if valid(reading.voltage_V) and valid(reading.current_A):
            beside_A = self._station.guard.charge.beside_A  # of a potentiostat
            seen = sample.time_s, reading.voltage_V, reading.current_A + beside_A
            self._say(Cause.INTERNAL_SHORT, self._short.see(*seen))
            self._say(Cause.SELF_DISCHARGE, self._rest.see(*seen))
        wiring = self._station.wiring
        if valid(climate.cell_degC) and wiring.thermometer != wiring.chamber:
            chamber_degC = climate.chamber_degC if isfinite(climate.chamber_degC) else None
            wrong = self._runaway.see(sample.time_s, climate.cell_degC, chamber_degC)
            self._say(Cause.RUNAWAY, wrong)

    def _look_at_data(self) -> None:
        if self._station.conductor.paused:
            self._availability.pause()
            return
        wrong = self._availability.see(monotonic(), self._station.valid_samples)
        self._say(Cause.DATA_AVAILABILITY, wrong)

    def _say(self, cause: Cause, wrong: str) -> None:
        name, lasts = self._station.name, cause in LASTING and self._is_open(cause)
        if wrong and not lasts:
            self._alarms.raise_(cause, wrong, station=name)
        elif lasts and not wrong:
            self._alarms.end(cause, station=name)

    def _is_open(self, cause: Cause) -> bool:
        """Asked of the book, where one that an earlier session left is open, too."""
        found = (one for one in self._alarms.book.open if one.cause is cause and one.active)
        return any(self._station.name in one.stations for one in found)

    def _end_all(self) -> None:
        self._availability.pause()
        for cause in LASTING:
            self._say(cause, "")

    def _take_steps(self) -> None:
        run = self._run
        while run and run.ended_steps:
            wrong = self._fades.see(run, run.ended_steps.popleft())
            if wrong is None:
                continue
            if wrong:
                self._alarms.raise_(Cause.CAPACITY_FADE, wrong, station=self._station.name)
            else:
                self._alarms.end(Cause.CAPACITY_FADE, station=self._station.name)


class Fades:
    """The capacities of all cells: by cell, protocol and step.

    Args:
        limit: share of the capacity that may be lost in a cycle.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._series: dict[tuple[str, str, int], Fade] = {}
        self._discharged_Ah: dict[str, float] = {}

    def see(self, run: Run, step: Mapping[str, Any]) -> str | None:
        """A step has ended; what is wrong, or None when it says nothing about capacity."""
        before_Ah = self._discharged_Ah.get(run.info.id)
        self._discharged_Ah[run.info.id] = step["discharge_Ah"]
        if step["kind"] != StepKind.DISCHARGE or step["failed"] or before_Ah is None:
            return None  # of a run that was taken up in the middle of a step half is unknown
        key = run.info.cell, run.info.protocol, int(step["step"])
        series = self._series.setdefault(key, Fade(self._limit))
        return series.see(int(step["cycle"]), step["discharge_Ah"] - before_Ah)

    def over(self, run: Run | None) -> None:
        """A run is over, and all its steps were seen; what its cell could do is kept."""
        if run:
            self._discharged_Ah.pop(run.info.id, None)


def _nominal(run: Run | None) -> float:
    return run.engine.program.nominal_capacity_Ah if run else 1.0
