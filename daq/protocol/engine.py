"""The step machine: observations in, actions out. No clock, no socket, no log.

Whoever drives it feeds every observation to `advance`, carries out the actions in their order,
and takes the next observation right after acting. What it may rely on:

- A step never starts outside its limits, and nothing is energised before a valid voltage.
- Actions with a step edge among them also name the state that the output is to be in.
- After `Finished` there is never another action, and the last word on the output was `TurnOff`.
"""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import Any

from daq.model import Counters, MeasurementState
from daq.protocol.condition import Condition
from daq.protocol.ending import Ending, always, violation
from daq.protocol.execution import Execution
from daq.protocol.history import History
from daq.protocol.judge import judge
from daq.protocol.meter import Meter
from daq.protocol.position import LoopPass, Position, duration_s, total_s
from daq.protocol.program import (
    Action,
    Finished,
    Observation,
    Program,
    Snapshot,
    Step,
    StepEnded,
    StepKind,
    StepStarted,
    TurnOff,
)
from daq.protocol.upgrade import FORMAT, present

NOTHING: tuple[Action, ...] = ()
"""What `advance` answers when nothing happens."""

_STEPS_AT_ONCE = 32  # a loop of satisfied steps must not hold up the thread that guards
_SAVED = ("step_count", "announced", "waiting_since_s", "outcome")


class Phase(StrEnum):
    """What the engine is at."""

    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"  # OFF, until an observation lets the step begin
    PAUSED = "paused"
    FINISHED = "finished"


class Engine:
    """Runs one program.

    Args:
        program: what to run.
        settle_s: how long after a start or resume the current says nothing about the end of a
            step, because the output still ramps (lab clock).

    Attributes:
        phase: what it is at.
        step_count: executions of steps so far, the present one included.
        outcome: as in `Finished`; empty before.
        announced: whether the present step's StepStarted is out and its StepEnded is not.
    """

    _execution: Execution  # of the present step, from `start` on

    def __init__(self, program: Program, *, settle_s: float = 1.0) -> None:
        self.program = program
        self.phase = Phase.READY
        self.step_count = 0
        self.outcome = ""
        self.announced = False
        self.waiting_since_s = 0.0
        self._settle_s = settle_s
        self._meter = Meter()
        self._position = Position(program)
        self._history = History(program, self._meter)
        self._total_s = total_s(program)

    # What drives it.

    def start(self, now: Observation) -> tuple[Action, ...]:
        """Begin the program with its first observation.

        Raises:
            RuntimeError: it was started before.
        """
        if self.phase is not Phase.READY:
            raise RuntimeError("an engine starts once")
        self._meter.start(now)
        return self._go_on(now, [])

    def advance(self, now: Observation) -> tuple[Action, ...]:
        """Take one observation.

        Raises:
            ValueError: time went backwards, or the engine was never started.
        """
        meter = self._meter
        meter.observe(now)
        if self.phase is not Phase.RUNNING:
            return self._try_again(now) if self.phase is Phase.WAITING else NOTHING
        execution = self._execution
        ending = execution.reached(now, meter)
        if ending is not None:
            return self._complete(now, ending)
        step = execution.step
        if now.time_s - meter.began_s >= step.at_most_s:
            return self._time_is_up(now)
        if execution.renews:
            return tuple(execution.renew(now, meter))
        if step.spectrum is not None and now.measurement == MeasurementState.FAILED:
            return self._fail(now, [], "the sweep failed")
        return NOTHING

    def pause(self, now: Observation) -> tuple[Action, ...]:
        """Output OFF, a sweep aborted, the step's clock stopped; test time goes on."""
        self._meter.observe(now)
        if self.phase not in (Phase.RUNNING, Phase.WAITING):
            return NOTHING
        aborted = self._abort(now)
        self._meter.stop_clock()
        self.phase = Phase.PAUSED
        return (*aborted, TurnOff())

    def resume(self, now: Observation) -> tuple[Action, ...]:
        """Take the paused step up again, after the same checks as before its start.

        The step's clock goes on; a sweep and a soak begin anew.
        """
        self._meter.observe(now)
        if self.phase is not Phase.PAUSED:
            return NOTHING
        self.phase = Phase.RUNNING
        return self._begin_or_go_on(now)

    def energised(self, time_s: float) -> None:
        """The output went on at this time, after the last observation, which asked for it.

        To write limits, read them back and switch takes some instruments more than a second. A
        pulse must not be shorter for it, and a profile must not begin before its first value flows.
        """
        self._meter.energised(time_s)

    def confirm(self) -> bool:
        """Somebody says that a step which waits for it may end; whether one does."""
        waits = self.phase is Phase.RUNNING and self.step.kind is StepKind.OPERATOR
        if waits:
            self._execution.confirmed = True
        return waits

    def interrupt(self) -> None:
        """Nobody saw what came after the last observation, and the output is OFF now.

        For an engine restored after a crash: the stretch up to the next observation is not
        integrated, the step's clock stopped at the last one, and `resume` goes on.
        """
        self._meter.break_off()
        if self.phase in (Phase.RUNNING, Phase.WAITING):
            self.phase = Phase.PAUSED

    def stop(self, now: Observation, reason: str) -> tuple[Action, ...]:
        """End the program here; `reason` says who wanted it and why."""
        self._meter.observe(now)
        if self.phase is Phase.FINISHED:
            return NOTHING
        out = [*self._abort(now), TurnOff()]
        if self.announced:
            out.append(self._ended(now, f"stopped: {reason}", failed=True))
        return self._finish(out, "stopped", reason)

    # From step to step. `out` collects the actions of one observation.

    def _go_on(self, now: Observation, out: list[Action]) -> tuple[Action, ...]:
        for _ in range(_STEPS_AT_ONCE):
            if not self._enter(now, out) or not self._begin(now, out):
                return tuple(out)
        if self._enter(now, out):
            self._wait(out)
        return tuple(out)

    def _enter(self, now: Observation, out: list[Action]) -> bool:
        """Make the next step the present one; without one, finish, or wait where none was found."""
        if self.step_count and not self._position.undecided:
            self._position.done_s += self._duration_s
        step = self._position.next_step(lambda condition: self._holds(condition, now))
        if self._position.cycle != self._history.cycle:
            self._history.begin_cycle(self._position.cycle)
        if step is None:
            self._no_next_step(out)
            return False
        self._execution = Execution(step, self._settle_s, self._history)
        self._meter.begin_step()
        self.step_count += 1
        self.phase = Phase.RUNNING
        return True

    def _holds(self, condition: Condition, now: Observation) -> bool:
        return judge(condition, self._history)(now, self._meter)

    def _no_next_step(self, out: list[Action]) -> None:
        position = self._position
        if position.undecided:
            self._wait(out)
            return
        out.append(TurnOff())
        outcome = "failed" if position.lost else "completed"
        self._finish(out, outcome, position.lost or position.ended)

    def _begin(self, now: Observation, out: list[Action]) -> bool:
        """Start or resume the present step; True when it ended at once."""
        execution = self._execution
        if reason := violation(execution.step.limits, now):
            self._fail(now, out, f"not started: {reason}")
            return False
        if execution.energises and not isfinite(now.voltage_V):
            self._wait(out)
            return False
        self._meter.run_clock()
        satisfied = execution.satisfied(now, self._meter)
        if satisfied is None:
            self.phase = Phase.RUNNING
            out += execution.go_live(now, self._meter)
        self._announce(out)
        if satisfied is not None:
            out.append(self._ended(now, f"already satisfied: {satisfied.reason}", saves=False))
            self._leave(satisfied)
        return satisfied is not None

    def _begin_or_go_on(self, now: Observation) -> tuple[Action, ...]:
        out: list[Action] = []
        if self._position.undecided:
            return self._go_on(now, out)
        return self._go_on(now, out) if self._begin(now, out) else tuple(out)

    def _wait(self, out: list[Action]) -> None:
        if self.phase is not Phase.WAITING:
            self.phase = Phase.WAITING
            self.waiting_since_s = self._meter.time_s
            out.append(TurnOff())

    def _try_again(self, now: Observation) -> tuple[Action, ...]:
        at_most_s = self._execution.step.at_most_s
        waited_s = now.time_s - self.waiting_since_s
        undecided = self._position.undecided
        blind = self._execution.energises and not undecided and not isfinite(now.voltage_V)
        if blind and waited_s >= at_most_s:
            return self._fail(now, [], f"not started: no valid voltage for {at_most_s:g} s")
        return self._begin_or_go_on(now)

    def _announce(self, out: list[Action]) -> None:
        if not self.announced:
            self.announced = True
            step = self._execution.step
            out.append(StepStarted(step, self.step_count, self._position.cycle))

    # The end of a step, and of the program.

    def _complete(self, now: Observation, ending: Ending) -> tuple[Action, ...]:
        out = [self._ended(now, ending.reason), *self._abort(now)]
        self._leave(ending)
        return self._go_on(now, out)

    def _leave(self, ending: Ending) -> None:
        """The condition that ended a step may say where the program goes on."""
        if ending.goes is not None:
            self._position.leave(ending.goes, ending.reason)

    def _time_is_up(self, now: Observation) -> tuple[Action, ...]:
        """`at_most` is how long a step lasts, unless it was to reach something before."""
        duration = f"{self._execution.step.at_most_s:g} s"
        goals = self._execution.goals()
        if not goals:
            return self._complete(now, Ending(always, duration))
        return self._fail(now, self._abort(now), f"not within {duration}: {' or '.join(goals)}")

    def _fail(self, now: Observation, out: list[Action], reason: str) -> tuple[Action, ...]:
        step = self._execution.step
        if self.announced:
            out.append(self._ended(now, reason, failed=True))
        out.append(TurnOff())
        return self._finish(out, "failed", f"step {step.number}, {step.place}: {reason}")

    def _abort(self, now: Observation) -> list[Action]:
        return self._execution.abort(now) if self.phase is Phase.RUNNING else []

    def _ended(
        self, now: Observation, reason: str, *, failed: bool = False, saves: bool = True
    ) -> StepEnded:
        self.announced = False
        step = self._execution.step
        if step.save and saves and not failed:
            self._history.save(step.save, now)
        if step.charged is not None and not failed:
            self._history.charged(step.charged)
        return StepEnded(step, self.step_count, self._position.cycle, reason, failed)

    def _finish(self, out: list[Action], outcome: str, reason: str) -> tuple[Action, ...]:
        self._meter.stop_clock()
        self.phase = Phase.FINISHED
        self.outcome = outcome
        out.append(Finished(outcome, reason))
        return tuple(out)

    # What a station may look at.

    @property
    def started(self) -> bool:
        """Whether `start` was called; before, there is no step to look at."""
        return self.phase is not Phase.READY

    @property
    def step(self) -> Step:
        """The present step; after the end the last one."""
        return self._execution.step

    @property
    def cycle(self) -> int:
        """0 before the first cycle, then 1..."""
        return self._position.cycle

    @property
    def passes(self) -> tuple[LoopPass, ...]:
        """The open loops, outermost first."""
        return self._position.passes

    @property
    def step_time_s(self) -> float:
        """Lab time since the step began, without pauses, at the last observation."""
        return self.step_time_at(self._meter.time_s)

    def step_time_at(self, time_s: float) -> float:
        """What the present step's clock shows at a stamp: for the last record of a step."""
        return self._meter.step_time_at(time_s) if self.started else 0.0

    @property
    def time_s(self) -> float:
        """Stamp of the last observation."""
        return self._meter.time_s

    @property
    def test_time_s(self) -> float:
        """Lab time since the start, pauses included, at the last observation."""
        return self._meter.time_s - self._meter.start_s if self.started else 0.0

    @property
    def counters(self) -> Counters:
        """Charge and energy of the run."""
        return self._meter.counters

    @property
    def net_Ah(self) -> float:
        """Net charge of the run; negative when it discharged."""
        return self._meter.net_C / 3600.0

    @property
    def step_counters(self) -> Counters:
        """Charge and energy of the present step."""
        return self._meter.step_counters

    @property
    def paused(self) -> bool:
        """Whether it is held until `resume`."""
        return self.phase is Phase.PAUSED

    @property
    def finished(self) -> bool:
        """Whether the program is over."""
        return self.phase is Phase.FINISHED

    @property
    def progress(self) -> float:
        """Expected time of what is behind, over that of the whole program: 0 to 1."""
        if self.outcome == "completed":
            return 1.0
        if not self.step_count or not self._total_s:
            return 0.0
        done_s = self._position.done_s + min(self.step_time_s, self._duration_s)
        return min(done_s / self._total_s, 1.0)

    @property
    def _duration_s(self) -> float:
        return duration_s(self._execution.step, self.program.nominal_capacity_Ah)

    # The checkpoint.

    def snapshot(self) -> Snapshot:
        """Everything that `restore` needs, JSON-able; no float is rounded."""
        return {
            "format": FORMAT,
            "program": _fingerprint(self.program),
            "settle_s": self._settle_s,
            "phase": self.phase.value,
            "position": self._position.snapshot(),
            "meter": self._meter.snapshot(),
            "history": self._history.snapshot(),
            "execution": self._execution.snapshot() if self.step_count else None,
            **{name: getattr(self, name) for name in _SAVED},
        }

    @classmethod
    def restore(cls, program: Program, snapshot: Snapshot) -> Engine:
        """The engine that `snapshot` was taken of; it goes on exactly as that one would have.

        Raises:
            ValueError: the snapshot is of another program, or of another version of this code.
        """
        snapshot = present(snapshot)
        _refuse_foreign(program, snapshot)
        engine = cls(program, settle_s=snapshot["settle_s"])
        engine._load(snapshot)
        return engine

    def _load(self, snapshot: Snapshot) -> None:
        self.phase = Phase(snapshot["phase"])
        self._position = Position.restore(self.program, snapshot["position"])
        self._meter = Meter.restore(snapshot["meter"])
        self._history = History.restore(self.program, self._meter, snapshot["history"])
        for name in _SAVED:
            setattr(self, name, snapshot[name])
        if self.step_count:
            step = self._position.present_step()
            self._execution = Execution.restore(
                step, self._settle_s, self._history, snapshot["execution"]
            )


def _fingerprint(program: Program) -> list[Any]:
    return [program.protocol, program.sha256, program.cell, len(program.instructions)]


def _refuse_foreign(program: Program, snapshot: Snapshot) -> None:
    if snapshot["program"] != _fingerprint(program):
        raise ValueError(f"snapshot of {snapshot['program']}, not of {_fingerprint(program)}")
