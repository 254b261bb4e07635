"""One execution of a program at a station: its engine, its records, its events.

Lives on the station's home bus thread. Talks to the journal, which never blocks, and to nothing
else.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from typing import Any

from daq.journal import Journal, Kept, ended
from daq.model import Event, EventKind, Record, RunInfo, SpectrumPoint
from daq.protocol.engine import Engine
from daq.protocol.program import Observation, Step, StepEnded, StepStarted
from daq.protocol.recording import Keeper

CHECKPOINT_S = 1.0


class Run:
    """A run that is going on.

    Args:
        info: what the journal knows of it.
        engine: fresh, or restored from a checkpoint.
        journal: where records and events go.
        offset_s: added to the lab clock, so that time goes on across a restart of the daemon.
        charged: what the guard had counted of a run that was interrupted.
    """

    def __init__(
        self,
        info: RunInfo,
        engine: Engine,
        journal: Journal,
        *,
        offset_s: float = 0.0,
        charged: Mapping[str, float] | None = None,
    ) -> None:
        self.info = info
        self.engine = engine
        self.offset_s = offset_s
        self.charged = charged
        self._journal = journal
        self._keeper = Keeper()
        self._points = 0
        self._fresh_step = True
        self._step_record = 0
        self._step_time_s = 0.0
        self._checkpoint_at = 0.0

    def before(self, seen: Observation) -> None:
        """Take note of the present step, before the engine may move on to the next."""
        engine = self.engine
        self._step_time_s = engine.step_time_at(seen.time_s) if engine.started else 0.0

    def record(self, seen: Observation, utc_s: float) -> None:
        """Keep this observation if the recording rule says so."""
        engine = self.engine
        if engine.started:
            place = (engine.step, engine.step_count, engine.cycle)
            self._keep(seen, utc_s, *place, edge=self._fresh_step)

    def _keep(
        self, seen: Observation, utc_s: float, step: Step, count: int, cycle: int, *, edge: bool
    ) -> None:
        if not self._keeper.keep(
            step.record, seen.time_s, seen.voltage_V, seen.current_A, seen.temperature_degC, edge
        ):
            return
        self._fresh_step = False
        self._step_record += 1
        self._journal.append(self._row(step, count, cycle, seen, utc_s), at_once=edge)

    def _row(self, step: Step, count: int, cycle: int, seen: Observation, utc_s: float) -> Record:
        counters = self.engine.counters
        return Record(
            self.info.station,
            self.info.id,
            self.engine.test_time_s,
            self._step_time_s,
            utc_s,
            seen.voltage_V,
            seen.current_A,
            seen.temperature_degC,
            seen.chamber_degC,
            cycle,
            step.number,
            count,
            self._step_record,
            counters.charge_Ah,
            counters.discharge_Ah,
            counters.charge_Wh,
            counters.discharge_Wh,
        )

    def step_started(self, action: StepStarted, utc_s: float) -> None:
        """Note the beginning of a step."""
        self._fresh_step, self._step_record, self._points = True, 0, 0
        step = action.step
        data = {
            "step": step.number,
            "step_count": action.step_count,
            "cycle": action.cycle,
            "kind": step.kind.value,
            "text": step.text,
        }
        self.note(EventKind.STEP_STARTED, utc_s, data)

    def step_ended(self, action: StepEnded, seen: Observation, utc_s: float) -> None:
        """Keep the last sample of a step, and note its end with the run's counters."""
        step, voltage_V = action.step, seen.voltage_V
        self._keep(seen, utc_s, step, action.step_count, action.cycle, edge=True)
        data = {
            "step": step.number,
            "step_count": action.step_count,
            "cycle": action.cycle,
            "kind": step.kind.value,
            "reason": action.reason,
            "failed": action.failed,
            "voltage_V": None if isnan(voltage_V) else voltage_V,
        }
        self.note(EventKind.STEP_ENDED, utc_s, data | self.counters())

    def spectrum_point(self, point: SpectrumPoint, utc_s: float) -> None:
        """Note one point of a spectrum."""
        self._points += 1
        data = {
            "step": self.engine.step.number,
            "step_count": self.engine.step_count,
            "cycle": self.engine.cycle,
            "index": self._points,
            "frequency_Hz": point.frequency_Hz,
            "z_real_ohm": point.z_real_ohm,
            "z_imag_ohm": point.z_imag_ohm,
        }
        self.note(EventKind.SPECTRUM_POINT, utc_s, data, at_once=False)

    def counters(self) -> dict[str, float]:
        """The run's counters, by name."""
        counters = self.engine.counters
        return {
            "charge_Ah": counters.charge_Ah,
            "discharge_Ah": counters.discharge_Ah,
            "charge_Wh": counters.charge_Wh,
            "discharge_Wh": counters.discharge_Wh,
        }

    def note(
        self, kind: EventKind, utc_s: float, data: Mapping[str, Any], *, at_once: bool = True
    ) -> None:
        """Append an event of this run to the journal."""
        time_s = self.engine.test_time_s if self.engine.started else nan
        event = Event(kind, utc_s, self.info.station, self.info.id, time_s, data)
        self._journal.append(event, at_once=at_once)

    def checkpoint(
        self, now_s: float, utc_s: float, charged: Mapping[str, float], *, force: bool = False
    ) -> None:
        """Keep a snapshot of the engine and the guard: at edges, and once a second, real time."""
        if not force and now_s < self._checkpoint_at:
            return
        self._checkpoint_at = now_s + CHECKPOINT_S
        document = {"engine": self.engine.snapshot(), "utc_s": utc_s, "charge": charged}
        self._journal.keep(Kept.CHECKPOINT, self.info.id, document)

    def end(self, utc_s: float, outcome: str, reason: str) -> None:
        """Note the end of the run; nothing is recorded after it."""
        data = {"outcome": outcome, "reason": reason}
        self.note(EventKind.RUN_ENDED, utc_s, data | self.counters())
        self._journal.save_run(ended(self.info, utc_s, outcome))
        self._journal.forget(Kept.CHECKPOINT, self.info.id)
