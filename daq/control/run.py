"""One execution of a program at a station: its engine, its records, its events, its checkpoint.

Lives on the station's home bus thread. Talks to the journal, which never blocks, and to nothing
else.

What one observation brings about (a record, step edges, the checkpoint) is one transaction of the
journal. So the checkpoint that a crash leaves is never older than the last record, and a run goes
on with counters that are, bit for bit, those of its last record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from math import inf, isnan, nan
from typing import Any, NamedTuple

from daq.journal import Journal, Kept, ended
from daq.model import Event, EventKind, Record, RunInfo, SpectrumPoint
from daq.protocol.engine import Engine
from daq.protocol.program import Observation, Step, StepEnded, StepStarted
from daq.protocol.recording import Keeper

MOST_STEPS = 1000
SENSED_S = 1.0
"""Shortest time (lab) between two entries of the auxiliary sensors."""
CHECKPOINT_S = 1.0
"""Longest time (real) between two checkpoints when the recording rule keeps nothing."""


class _Left(NamedTuple):
    """How an interruption has left a run."""

    utc_s: float  # of its last sample
    paused: str
    seen: Observation | None  # its last sample, if that was not kept


class Run:
    """A run that is going on.

    Args:
        info: what the journal knows of it.
        engine: fresh, or restored from a checkpoint.
        journal: where records and events go.
        offset_s: added to the lab clock, so that time goes on across a restart of the daemon.
        checkpoint: what `checkpoint` had kept of a run that was interrupted.

    Attributes:
        charged: what the guard had counted of a run that was interrupted.
        ended_steps: what was noted of them, for whoever looks at capacities; taken from the left.
        failed: why, once it has.
        outputs: what the program has switched the station's digital outputs to.
    """

    def __init__(
        self,
        info: RunInfo,
        engine: Engine,
        journal: Journal,
        *,
        offset_s: float = 0.0,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> None:
        self.info = info
        self.engine = engine
        self.offset_s = offset_s
        self.charged: Mapping[str, float] | None = None
        self.ended_steps: deque[Mapping[str, Any]] = deque(maxlen=MOST_STEPS)
        self.failed = ""
        self.outputs: dict[str, bool] = {}
        self._journal = journal
        self._keeper = Keeper()
        self._points = 0
        self._fresh_step = True
        self._step_record = 0
        self._step_time_s = 0.0
        self._checkpoint_at = 0.0
        self._recorded_s = nan  # stamp of the last observation that was kept
        self._sensed_s = -inf  # and of the last one whose sensors were
        self._left: _Left | None = None
        if checkpoint:
            self._restore(checkpoint)

    def _restore(self, checkpoint: Mapping[str, Any]) -> None:
        recording = checkpoint["recording"]
        self.charged = checkpoint["charge"]
        self.outputs.update(checkpoint.get("outputs", {}))  # earlier versions kept none
        self._keeper = Keeper.restore(recording["keeper"])
        self._points = recording["points"]
        self._fresh_step = recording["fresh_step"]
        self._step_record = recording["step_record"]
        seen = checkpoint["seen"] and _observation(checkpoint["seen"])
        self._left = _Left(checkpoint["utc_s"], checkpoint["paused"], seen)

    def together(self) -> AbstractContextManager[None]:
        """What is noted in this block is one transaction, there or not there after a crash."""
        return self._journal.together()

    def begin(self, utc_s: float, charged: Mapping[str, float]) -> None:
        """Keep the first checkpoint, or take up the one that an interruption has left.

        The last sample before an interruption is kept like the last of a step, so that the gap
        in the records is the gap in what was seen.
        """
        left = self._left or _Left(utc_s, "", None)
        if left.seen:
            self._step_time_s = self.engine.step_time_s
            self._keep_here(left.seen, left.utc_s, edge=True)
        self._keep_checkpoint(None, left.utc_s, charged, left.paused)

    def before(self, seen: Observation) -> None:
        """Take note of the present step, before the engine may move on to the next."""
        engine = self.engine
        self._step_time_s = engine.step_time_at(seen.time_s) if engine.started else 0.0

    def record(self, seen: Observation, utc_s: float) -> None:
        """Keep this observation if the recording rule says so."""
        if self.engine.started:
            self._keep_here(seen, utc_s, edge=self._fresh_step)

    def _keep_here(self, seen: Observation, utc_s: float, *, edge: bool) -> None:
        engine = self.engine
        self._keep(seen, utc_s, engine.step, engine.step_count, engine.cycle, edge=edge)

    def _keep(
        self, seen: Observation, utc_s: float, step: Step, count: int, cycle: int, *, edge: bool
    ) -> None:
        if not self._keeper.keep(
            step.record,
            seen.time_s,
            seen.voltage_V,
            seen.current_A,
            seen.temperature_degC,
            edge,
            self.engine.net_Ah,
            self._step_time_s,
        ):
            return
        self._fresh_step = False
        self._recorded_s = seen.time_s
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

    def step_started(self, action: StepStarted, seen: Observation, utc_s: float) -> None:
        """Note the beginning of a step, and keep the sample that the whole run begins with.

        Every other step begins with the last sample of the one before it.
        """
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
        if action.step_count == 1:
            self._keep(seen, utc_s, step, action.step_count, action.cycle, edge=True)
            self._fresh_step = True

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
        data |= self.counters()
        self.ended_steps.append(data)
        self.note(EventKind.STEP_ENDED, utc_s, data)

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

    def sense(
        self, seen: Observation, utc_s: float, values: Callable[[], Mapping[str, float]]
    ) -> None:
        """Note what the auxiliary sensors read, with a record, at most once a second.

        Args:
            seen: the present observation.
            utc_s: of the observation.
            values: asked only if it is noted; units in the names.
        """
        if seen.time_s != self._recorded_s or seen.time_s - self._sensed_s < SENSED_S:
            return
        self._sensed_s = seen.time_s
        if not (named := values()):
            return
        data = {
            "step": self.engine.step.number,
            "step_count": self.engine.step_count,
            "cycle": self.engine.cycle,
            "values": named,
        }
        self.note(EventKind.SENSORS, utc_s, data, at_once=False)

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
        self,
        seen: Observation,
        now_s: float,
        utc_s: float,
        charged: Mapping[str, float],
        *,
        paused: str,
        force: bool = False,
    ) -> None:
        """Keep what a restart needs: with every record, at edges, and once a second, real time.

        Args:
            seen: the present observation.
            now_s: real time.
            utc_s: of the observation.
            charged: what the guard has counted.
            paused: why the run is paused; empty when it is not.
            force: something has changed that must not be forgotten.
        """
        recorded = seen.time_s == self._recorded_s
        if not (force or recorded or now_s >= self._checkpoint_at):
            return
        self._checkpoint_at = now_s + CHECKPOINT_S
        unrecorded = seen if self.engine.started and not recorded else None
        self._keep_checkpoint(unrecorded, utc_s, charged, paused)

    def _keep_checkpoint(
        self, seen: Observation | None, utc_s: float, charged: Mapping[str, float], paused: str
    ) -> None:
        document = {
            "engine": self.engine.snapshot(),
            "utc_s": utc_s,
            "charge": charged,
            "paused": paused,
            "outputs": dict(self.outputs),
            "recording": {
                "keeper": self._keeper.snapshot(),
                "points": self._points,
                "fresh_step": self._fresh_step,
                "step_record": self._step_record,
            },
            "seen": _numbers(seen) if seen else None,
        }
        self._journal.keep(Kept.CHECKPOINT, self.info.id, document)

    def end(self, utc_s: float, outcome: str, reason: str) -> None:
        """Note the end of the run; nothing is recorded after it."""
        self.failed = reason if outcome == "failed" else ""
        data = {"outcome": outcome, "reason": reason}
        self.note(EventKind.RUN_ENDED, utc_s, data | self.counters())
        self._journal.save_run(ended(self.info, utc_s, outcome))
        self._journal.forget(Kept.CHECKPOINT, self.info.id)


def _numbers(seen: Observation) -> list[float | None]:
    """An observation for JSON."""
    values = (seen.voltage_V, seen.current_A, seen.temperature_degC, seen.chamber_degC)
    return [seen.time_s, *(None if isnan(value) else value for value in values)]


def _observation(numbers: Sequence[float | None]) -> Observation:
    """And back."""
    time_s, voltage, current, cell, chamber = (nan if value is None else value for value in numbers)
    return Observation(time_s, voltage, current, cell, chamber)
