"""The conductor: carries out what the engine asks for, at one station, on its home bus thread.

The engine decides, the output switches, shared instruments are asked for; between a pause and a
resume the engine still sees every sample, so that its integrals know no hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Protocol

from daq.control.counting import Counting
from daq.control.guard import Guard, valid
from daq.control.haste import Haste
from daq.control.output import CyclerOutput
from daq.control.run import Run
from daq.control.sensors import Sensors
from daq.control.sweep import Sweep
from daq.control.sweeper import Sweeper
from daq.control.switches import Outputs
from daq.control.thermostat import Thermostat
from daq.errors import InstrumentError, NotEnergised
from daq.logs import get_logger
from daq.model import EventKind, Sample, SpectrumPoint, Trip
from daq.protocol.program import (
    AbortSweep,
    Action,
    Apply,
    Finished,
    Observation,
    SetChamber,
    StartSweep,
    Step,
    StepEnded,
    StepKind,
    StepStarted,
    SwitchOutputs,
    TurnOff,
)

ENERGISING = (Apply, StartSweep)
RETRY_S = 0.25
"""How often a run that waits asks again; real time."""


@dataclass(slots=True)
class Climate:
    """The latest temperatures of a station; written by whichever bus thread read them."""

    cell_degC: float = nan
    chamber_degC: float = nan


class Reports(Protocol):
    """What the conductor tells the station."""

    def trip(self, trip: Trip) -> None:
        """Cut off and latch."""
        ...

    def note(self, kind: EventKind, **data: Any) -> None:
        """Append an event to the journal."""
        ...

    def warn(self, check: str, message: str) -> None:
        """Note what is no reason to cut off, and a reason to look."""
        ...

    def utc(self) -> float:
        """Lab Unix time."""
        ...

    def lab_s(self, stamp_s: float) -> float:
        """The lab clock at a real stamp."""
        ...


class Conductor:
    """The execution of runs at one station.

    Attributes:
        run: the run that is going on; None when the station is idle.
        paused: why the run is paused; empty when it is not.
        waits_for: what the run waits for, in words: a shared instrument, or a missing layer of
            protection. It goes on by itself.
        counting: holds the run against the cycler's own counters.
    """

    def __init__(
        self,
        name: str,
        *,
        output: CyclerOutput,
        guard: Guard,
        climate: Climate,
        thermostat: Thermostat | None,
        sweeper: Sweeper | None,
        sweep_channel: int,
        reports: Reports,
        haste: Haste,
        outputs: Outputs,
        sensors: Sensors,
    ) -> None:
        self.name = name
        self.run: Run | None = None
        self.paused = ""
        self.waits_for = ""
        self._waited_for = ""
        self._retry_at_s = 0.0
        self._output = output
        self._guard = guard
        self._climate = climate
        self.thermostat = thermostat
        self._reports = reports
        self.haste = haste
        self.outputs = outputs
        self._sensors = sensors
        self.counting = Counting(output, reports.note, reports.lab_s)
        self.sweep = Sweep(name, sweeper, sweep_channel, self._take_point, self._note)
        self._guarded = 0  # number of the step execution whose limits the guard holds
        self._lasted_s = 0.0  # what the present step's clock showed, before the engine moved on
        self._implausible = ""  # why the run is to be held before anything more is energised
        self._log = get_logger(station=name)
        self._carry_out: dict[type[Action], Callable[[Any, Sample], None]] = {
            Apply: self._apply,
            TurnOff: self._turn_off,
            SetChamber: self._set_chamber,
            SwitchOutputs: self._switch_outputs,
            StartSweep: self._start_sweep,
            AbortSweep: self._abort_sweep,
            StepStarted: self._step_started,
            StepEnded: self._step_ended,
            Finished: self._finished,
        }

    @property
    def waiting(self) -> str:
        """What the run waits for, in words, its operator included; empty when it goes on."""
        run = self.run
        if self.waits_for or self.paused or run is None or not run.engine.started:
            return self.waits_for
        step = run.engine.step
        return f"for somebody: {step.text}" if step.kind is StepKind.OPERATOR else ""

    # Samples.

    def advance(self, sample: Sample) -> bool:
        """Let the run see a sample of the cycler; whether something was switched or set."""
        run = self.run
        if run is None or not (valid(sample.reading.voltage_V) and valid(sample.reading.current_A)):
            return False
        self._guard.charge.beside_A = self.sweep.direct_A
        seen = self._observe(run, sample)
        run.before(seen)
        self._lasted_s = run.engine.step_time_at(seen.time_s)
        if self._overdue(run, sample):
            return True
        with run.together():
            actions = run.engine.advance(seen) if run.engine.started else self._start(run, seen)
            if self.waits_for and not self.paused and sample.stamp_s >= self._retry_at_s:
                actions = self._try_again(run, seen, sample)
            if not any(isinstance(action, StepStarted | StepEnded) for action in actions):
                run.record(seen, sample.utc_s)  # a step edge keeps its samples itself
            self._act(actions, sample)
            if self.run is run:
                run.sense(seen, sample.utc_s, lambda: self._sensors.named(sample.stamp_s))
                self._checkpoint(run, seen, sample, force=bool(actions))
                self._hurry(run, sample)
        return bool(actions)

    def _hurry(self, run: Run, sample: Sample) -> None:
        """Have the cycler read as often as the present step wants."""
        engine = run.engine
        if self.paused or self.waits_for or not engine.started:
            self.haste.rest()
        elif why := self.haste.follow(engine.step, engine.step_time_s, sample.stamp_s):
            self._note(why)

    def count(self, sample: Sample) -> None:
        """Look at the cycler's own counters, if a step edge asks for it."""
        if self.run:
            self.counting.look(self.run, sample)

    def _overdue(self, run: Run, sample: Sample) -> bool:
        """Whether the whole program has taken too long, and was stopped (S3)."""
        engine, runs = run.engine, not (self.paused or self.waits_for)
        judge = self._guard.program_time.judge
        why = judge(sample.time_s, engine.cycle, engine.step_count, runs=runs)
        if why:
            self.stop(why, sample)
        return bool(why)

    def freeze(self, sample: Sample | None, *, blind: bool = False) -> None:
        """A trip has switched the output off: hold the engine where it is.

        Blind: nobody saw what came after this sample, so nothing is integrated up to the next.
        """
        run = self.run
        self.outputs.make_safe()
        if run is None:
            return
        self.waits_for = ""
        self.paused = self.paused or "tripped"
        if sample and run.engine.started and not run.engine.paused:
            seen = self._observe(run, sample)
            run.engine.pause(seen)
            if blind:
                run.engine.interrupt()
            self._checkpoint(run, seen, sample, force=True)
        self._release()

    def _start(self, run: Run, seen: Observation) -> Sequence[Action]:
        return () if self.paused else run.engine.start(seen)

    def _try_again(self, run: Run, seen: Observation, sample: Sample) -> Sequence[Action]:
        if opposed := self.outputs.request(run.outputs.items()):  # a trip has made them safe
            self._go_on_waiting(opposed, sample, tell=self.outputs.failing)
            return ()
        self._waited_for, self.waits_for = self.waits_for, ""
        actions = run.engine.resume(seen)
        self._guarded = 0  # its limits were relaxed while it waited
        if run.engine.step.setpoint is None:
            self._guard_step(run.engine.step, run.engine.step_count, sample)
        return actions

    def _checkpoint(self, run: Run, seen: Observation, sample: Sample, *, force: bool) -> None:
        charged = self._guard.snapshot()
        run.checkpoint(seen, sample.stamp_s, sample.utc_s, charged, paused=self.paused, force=force)

    def _observe(self, run: Run, sample: Sample) -> Observation:
        reading, climate = sample.reading, self._climate
        return Observation(
            sample.time_s + run.offset_s,
            reading.voltage_V,
            reading.current_A + self._guard.charge.beside_A,
            climate.cell_degC,
            climate.chamber_degC,
            self.sweep.state,
            self._sensors.humidity_pct(sample.stamp_s),
            self._sensors.values(sample.stamp_s),
        )

    # What the engine may ask for.

    def _act(self, actions: Sequence[Action], sample: Sample) -> None:
        for action in actions:
            if not (self._implausible and isinstance(action, ENERGISING)):
                self._carry_out[type(action)](action, sample)
        why, self._implausible = self._implausible, ""
        if why and self.run:
            self._hold_for_operator(why, sample)

    def _hold_for_operator(self, why: str, sample: Sample) -> None:
        """A step ended as no healthy cell would (S2): OFF, until somebody has looked."""
        self._reports.warn("S2", why)
        self.pause(f"{why}: look at contacts and sense leads", sample)

    def _apply(self, action: Apply, sample: Sample) -> None:
        if self.run:
            self._guard_step(action.step, self.run.engine.step_count, sample)
        if not self._counted_before_on(sample):
            self._wait_for("the link was lost", sample)
            return
        was_on = self._output.on
        try:
            self._output.regulate(action.setpoint, action.step.limits)
        except NotEnergised as missing:
            self._wait_for(missing.message, sample)
        except InstrumentError as error:
            self._output.instrument.failed(error)
            source = self._output.instrument.name
            self._reports.trip(Trip("C2", f"{type(error).__name__}: {error}", source))
        else:
            if self.run and not was_on:
                self._energised(self.run, action.step)

    def _energised(self, run: Run, step: Step) -> None:
        """The step's clock begins when the output is ON, and so does the guard's."""
        on_s = self._reports.lab_s(self._output.on_since_s)
        run.engine.energised(on_s + run.offset_s)
        left_s = max(0.0, step.at_most_s - run.engine.step_time_s)
        self._guard.step_time.enter(on_s, left_s)

    def _counted_before_on(self, sample: Sample) -> bool:
        """With the output still OFF nothing is in a hurry; whether the cycler can be talked to."""
        was_online = self._output.instrument.online
        if not self._output.on:
            self.count(sample)
        return self._output.instrument.online or not was_online

    def _guard_step(self, step: Step, count: int, sample: Sample) -> None:
        """Let the guard hold the step's limits and its time: once, however often it is renewed."""
        run = self.run
        if run is None or count == self._guarded:
            return
        self._guarded = count
        # What has already run of this step before a pause is what the engine says.
        left_s = max(0.0, step.at_most_s - run.engine.step_time_s)
        self._guard.enter(step.limits, sample.time_s, left_s)

    def _turn_off(self, action: TurnOff, sample: Sample) -> None:
        self._output.off()

    def _set_chamber(self, action: SetChamber, sample: Sample) -> None:
        if self.thermostat is None:
            self.stop("the station has no chamber", sample)
            return
        asked = (action.temperature_degC, action.target_degC, action.humidity_pct)
        if opposed := self.thermostat.request(self.name, *asked):
            self._wait_for(opposed, sample)

    def _switch_outputs(self, action: SwitchOutputs, sample: Sample) -> None:
        """Asked again until every output was read back; the run waits, OFF, meanwhile."""
        if self.run:
            self.run.outputs.update(action.outputs)
        if opposed := self.outputs.request(action.outputs):
            self._wait_for(opposed, sample, tell=self.outputs.failing)

    def _start_sweep(self, action: StartSweep, sample: Sample) -> None:
        if not self.sweep.possible:
            self.stop("the station has no potentiostat", sample)
        elif opposed := self.sweep.request(action.spectrum):
            self._wait_for(opposed, sample)

    def _abort_sweep(self, action: AbortSweep, sample: Sample) -> None:
        self.sweep.abort()

    def _take_point(self, point: SpectrumPoint) -> None:
        if run := self.run:
            run.spectrum_point(point, self._reports.utc())

    def _note(self, text: str) -> None:
        self._reports.note(EventKind.NOTE, text=text)

    def _step_started(self, action: StepStarted, sample: Sample) -> None:
        if action.step.setpoint is None and not self.waits_for:
            self._guard_step(action.step, action.step_count, sample)
        run = self.run
        if run:
            run.step_started(action, self._observe(run, sample), sample.utc_s)
            guard = self._guard
            guard.step_minimum.began(sample.reading.voltage_V, guard.charge.net_Ah)
            counters, nominal_Ah = run.engine.counters, run.engine.program.nominal_capacity_Ah
            if caution := guard.efficiency.judge(action.cycle, counters, nominal_Ah):
                self._reports.warn(caution.check, caution.message)

    def _step_ended(self, action: StepEnded, sample: Sample) -> None:
        self.sweep.forget()
        self._implausible = self._guard.step_minimum.judge(
            action.step,
            action.reason,
            voltage_V=sample.reading.voltage_V,
            lasted_s=self._lasted_s,
            net_Ah=self._guard.charge.net_Ah,
        )
        if self._implausible:
            self._output.off()
        if self.run:
            self.run.step_ended(action, self._observe(self.run, sample), sample.utc_s)
            self.counting.ended(action)

    def _finished(self, action: Finished, sample: Sample) -> None:
        self._output.off()
        self.count(sample)
        self._end(action.outcome, action.reason, sample.utc_s)

    # Waiting: the engine is paused, OFF, and asks again.

    def _wait_for(self, what: str, sample: Sample, *, tell: bool = True) -> None:
        run = self.run
        if run is None:
            return
        self._act(run.engine.pause(self._observe(run, sample)), sample)
        self._guard.relax()
        self._go_on_waiting(what, sample, tell=tell)

    def _go_on_waiting(self, what: str, sample: Sample, *, tell: bool) -> None:
        self.waits_for = what
        self._retry_at_s = sample.stamp_s + RETRY_S
        if tell and what != self._waited_for:  # it is asked again and again, and told once
            self._waited_for = what
            self._note(f"waits: {what}")
            self._log.info("waits", run=self.run.info.id if self.run else "", reason=what)

    def hold(self, what: str, sample: Sample | None) -> None:
        """Begin the present step anew at the next sample; the output is OFF."""
        if sample and self.run and self.run.engine.started and not self.paused:
            self._wait_for(what, sample)

    # Commands.

    def begin(self, run: Run, paused: str = "") -> None:
        """Take a run; its first step starts with the next sample, unless it begins paused."""
        self.run, self.paused, self.waits_for = run, paused, ""
        self.sweep.forget()
        self._guarded = 0
        self.haste.begin()
        engine, program = run.engine, run.engine.program
        self.counting.begin(anew=not engine.started)
        self._guard.begin(
            program.nominal_capacity_Ah,
            program.checks,
            at_most_s=program.longest_s,
            cycles=program.cycles,
            cycle=engine.cycle,
            counters=engine.counters,
            snapshot=run.charged or {},
        )
        run.begin(self._reports.utc(), self._guard.snapshot())
        self._log.info("run begins", run=run.info.id, cell=run.info.cell, paused=paused)

    def pause(self, reason: str, sample: Sample | None) -> str:
        """OFF, and wait for `resume`; empty, or why not."""
        run = self.run
        if run is None:
            return "nothing runs here"
        if self.paused:
            return f"it is paused already: {self.paused}"
        self.paused, self.waits_for = reason, ""
        self._output.off()
        with run.together():
            if sample and run.engine.started:
                seen = self._observe(run, sample)
                self._act(run.engine.pause(seen), sample)
                self._checkpoint(run, seen, sample, force=True)
            self._release()
            self._guard.relax()
            self._reports.note(EventKind.PAUSED, reason=reason)
        self._log.warning("paused", run=run.info.id, reason=reason)
        return ""

    def repause(self, reason: str) -> None:
        """A run that is paused stays so for another reason."""
        if self.run and self.paused:
            self.paused = reason
            self._reports.note(EventKind.PAUSED, reason=reason)
            self._log.warning("stays paused", run=self.run.info.id, reason=reason)

    def resume(self, by: str) -> str:
        """Go on with the same step at the next sample; empty, or why not."""
        if self.run is None:
            return "nothing runs here"
        if not self.paused:
            return self._confirm(by)
        self.paused = ""
        self._retry_at_s = 0.0
        self.waits_for = "the next sample" if self.run.engine.started else ""
        self._reports.note(EventKind.RESUMED, by=by)
        self._log.info("resumed", run=self.run.info.id, by=by)
        return ""

    def _confirm(self, by: str) -> str:
        """What a step waits for its operator to do was done."""
        run = self.run
        if run is None or not run.engine.confirm():
            return "it is not paused"
        self._note(f"confirmed by {by}: {run.engine.step.text}")
        return ""

    def stop(self, reason: str, sample: Sample | None) -> None:
        """OFF and end the run; without a run: OFF all the same."""
        self._output.off()
        run = self.run
        if run is None:
            return
        with run.together():
            if run.engine.started and sample:
                run.before(self._observe(run, sample))
                self._act(run.engine.stop(self._observe(run, sample), reason), sample)
            if self.run is run:
                self._end("stopped", reason, self._reports.utc())

    def _end(self, outcome: str, reason: str, utc_s: float) -> None:
        run, self.run = self.run, None
        self._release()
        self.outputs.make_safe()
        self._guard.end()
        self.paused = self.waits_for = ""
        if run:
            run.end(utc_s, outcome, reason)
            self._log.info("run ended", run=run.info.id, outcome=outcome, reason=reason)

    def _release(self) -> None:
        self.haste.rest()
        self._guard.charge.beside_A = 0.0
        self.sweep.abort()
        if self.thermostat:
            self.thermostat.release(self.name)
