"""Plays a program: the engine that runs real cells, on a model of one, as fast as it goes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite

from daq.checks import Checks
from daq.dryrun.model import CellModel
from daq.dryrun.pace import Pace, overshot, too_far
from daq.dryrun.trace import Executed, Played
from daq.dryrun.watch import Watch
from daq.model import Counters, MeasurementState, Setpoint
from daq.protocol.condition import Quantity
from daq.protocol.engine import Engine
from daq.protocol.program import (
    AbortSweep,
    Action,
    Apply,
    Finished,
    Observation,
    Program,
    SetChamber,
    StartSweep,
    Step,
    StepEnded,
    StepKind,
    StepStarted,
    SwitchOutputs,
    TurnOff,
)
from daq.protocol.steps.eis import sweep_s

_MOST_C = 20.0  # stands for a current that nothing limits
_JUMP_PART = 1e-3  # of the largest current: less is the drift of a power
_BY_TIME = ("time >=", "sweep done", "profile over")


@dataclass(slots=True)
class _Begun:
    """The execution that is under way."""

    step: Step
    count: int
    cycle: int
    began_s: float
    from_: Counters


class Player:
    """Plays one program once.

    Args:
        program: compiled for the cell.
        model: the cell.
        until_cycle: end with this cycle; inf: play all of it.
        window: check Q2 of the station, as a part of the nominal capacity.
    """

    def __init__(
        self,
        program: Program,
        model: CellModel,
        *,
        until_cycle: float = inf,
        window: float = Checks().Q2,
    ) -> None:
        self._program = program
        self._model = model
        self._until_cycle = until_cycle
        self._engine = Engine(program)
        self._watch = Watch(program.nominal_capacity_Ah, min(window, program.checks.Q2))
        self._time_s = 0.0
        self._sweep_over_s = inf
        self._most_A = 0.0
        self._begun: _Begun | None = None
        self._pace: Pace | None = None
        self._now = self._look()
        self.played = Played()

    def play(self) -> Played:
        """To the end, or to where the guard cuts off."""
        self._take_for_granted()
        self._carry_out(self._engine.start(self._now))
        while not self.played.outcome:
            self._go_on()
        return self.played

    # From one point to the next.

    def _go_on(self) -> None:
        pace = self._pace
        if pace is None:
            raise RuntimeError("the engine waits for a voltage, and a model always has one")
        step_time_s = self._engine.step_time_at(self._time_s)
        seconds, exact = pace.reach(step_time_s, self._model.longest_s)
        engine, model, time_s = self._engine.snapshot(), self._model.save(), self._time_s
        before = self._now
        while True:
            now = self._advance(seconds)
            actions = self._engine.advance(now)
            if not self._is_rough(before, now, seconds, exact, actions):
                break
            self._engine = Engine.restore(self._program, engine)
            self._model.restore(model)
            self._time_s = time_s
            seconds, exact = seconds / 2.0, False
            pace.slower(seconds)
        self._now = now
        self._judge(now)
        self._carry_out(actions)

    def _advance(self, seconds: float) -> Observation:
        self._model.advance(seconds)
        self._time_s += seconds
        return self._look()

    def _is_rough(
        self,
        before: Observation,
        now: Observation,
        seconds: float,
        exact: bool,
        actions: tuple[Action, ...],
    ) -> bool:
        if too_far(before, now, seconds, self._most_A):
            return True
        ended = next((action for action in actions if isinstance(action, StepEnded)), None)
        if ended is None or (exact and _by_time(ended)):
            return False
        step_time_s = now.time_s - (self._begun.began_s if self._begun else 0.0)
        return overshot(before, now, seconds, step_time_s, self._most_A)

    def _look(self) -> Observation:
        model = self._model
        sweeping = self._sweep_over_s < inf
        done = self._time_s >= self._sweep_over_s
        state = MeasurementState.DONE if done else MeasurementState.RUNNING
        return Observation(
            self._time_s,
            model.voltage_V,
            0.0 if sweeping else model.current_A,  # the cycler's, which is OFF then
            model.temperature_degC,
            model.chamber_degC,
            state if sweeping else "",
        )

    def _judge(self, now: Observation) -> None:
        self.played.trace.add(now, self._model.soc)
        trip = self._watch.check(now)
        if trip is not None:
            self._end(now, "tripped", f"{trip.check}: {trip.message}")

    # What the engine asks for.

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if self.played.outcome:
                return
            self._act(action)
        if actions and not self.played.outcome:
            self._now = self._look()
            self.played.trace.add(self._now, self._model.soc)

    def _act(self, action: Action) -> None:
        match action:
            case Apply(setpoint=setpoint):
                self._end_sweep()
                self._drive(setpoint)
            case TurnOff() | AbortSweep():
                self._off()
            case SetChamber(temperature_degC=degC):
                self._model.set_chamber(degC)
            case StartSweep():
                self._sweep(action)
            case StepStarted():
                self._begin(action)
            case StepEnded():
                self._close(self._now, action.reason, failed=action.failed)
            case Finished(outcome=outcome, reason=reason):
                self._end(self._now, outcome, reason)
            case SwitchOutputs():
                pass

    def _drive(self, wanted: Setpoint) -> None:
        """A current that nothing limits is taken as one that no cell is given."""
        most_A = _MOST_C * self._program.nominal_capacity_Ah
        if not (isfinite(wanted.charge_A) and isfinite(wanted.discharge_A)):
            self.played.note(
                f"nothing limits the current of line {self._engine.step.line}; "
                f"{_MOST_C:g}C stands for it"
            )
            wanted = replace(
                wanted,
                charge_A=min(wanted.charge_A, most_A),
                discharge_A=min(wanted.discharge_A, most_A),
            )
        before_A = self._model.current_A
        self._model.drive(wanted.voltage_V, wanted.charge_A, wanted.discharge_A)
        self._most_A = max(wanted.charge_A, wanted.discharge_A)
        if self._pace and abs(self._model.current_A - before_A) > _JUMP_PART * self._most_A:
            self._pace.switched()

    def _off(self) -> None:
        self._end_sweep()
        self._model.off()
        self._most_A = 0.0

    def _end_sweep(self) -> None:
        """What follows a sweep at once takes over from it; from then on the cycler is looked at."""
        self._sweep_over_s = inf

    def _sweep(self, action: StartSweep) -> None:
        spectrum = action.spectrum
        self._sweep_over_s = self._time_s + _sweep_s(self._engine.step)
        if spectrum.bias_A:
            low_V, high_V = self._engine.step.limits.voltage_V
            charge_A, discharge_A = max(spectrum.bias_A, 0.0), max(-spectrum.bias_A, 0.0)
            self._model.drive(high_V if charge_A else low_V, charge_A, discharge_A)

    # The executions.

    def _begin(self, action: StepStarted) -> None:
        if action.cycle > self._until_cycle:
            self._end(self._now, "not finished", f"played as far as cycle {self._until_cycle:g}")
            return
        step = action.step
        self._begun = _Begun(
            step, action.step_count, action.cycle, self._time_s, self._engine.counters
        )
        self._pace = Pace(step, _sweep_s(step))
        self._watch.enter(step)
        if step.kind is StepKind.OPERATOR:
            self._engine.confirm()

    def _close(self, now: Observation, reason: str, *, failed: bool) -> None:
        begun = self._begun
        if begun is None:
            return
        self._begun = None
        self.played.executed.append(
            Executed(
                begun.step,
                begun.count,
                begun.cycle,
                begun.began_s,
                now.time_s,
                now.voltage_V,
                now.current_A,
                now.temperature_degC,
                self._model.soc,
                _minus(self._engine.counters, begun.from_),
                reason,
                failed,
            )
        )

    def _end(self, now: Observation, outcome: str, reason: str) -> None:
        self._close(now, reason, failed=outcome != "completed")
        self.played.outcome, self.played.reason = outcome, reason

    def _take_for_granted(self) -> None:
        steps = self._program.steps
        if any(step.kind is StepKind.OPERATOR for step in steps):
            self.played.note("whoever is asked for something confirms it at once")
        sensors = {
            part.sensor
            for condition in self._program.conditions
            for part in condition.comparisons()
            if part.quantity is Quantity.SENSOR
        }
        if sensors:
            named = ", ".join(sorted(sensors))
            self.played.note(f"no sensor is modelled: what asks for {named} never holds")


def _by_time(ended: StepEnded) -> bool:
    """Whether the time alone has ended a step."""
    return ended.reason.startswith(_BY_TIME) or ended.reason == f"{ended.step.at_most_s:g} s"


def _sweep_s(step: Step) -> float:
    spectrum = step.spectrum
    if spectrum is None:
        return inf
    return sweep_s(spectrum.from_Hz, spectrum.to_Hz, spectrum.per_decade)


def _minus(now: Counters, then: Counters) -> Counters:
    return Counters(
        now.charge_Ah - then.charge_Ah,
        now.discharge_Ah - then.discharge_Ah,
        now.charge_Wh - then.charge_Wh,
        now.discharge_Wh - then.discharge_Wh,
    )
