"""One step under way: how it is energised, what it follows, and what ends it."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any

from daq.model import MeasurementState, Setpoint
from daq.protocol.course import Course, Follows, setpoint_at, towards
from daq.protocol.ending import Ending, always, endings, soaked
from daq.protocol.history import History
from daq.protocol.meter import Meter
from daq.protocol.program import (
    AbortSweep,
    Action,
    Apply,
    Observation,
    SetChamber,
    StartSweep,
    Step,
    StepKind,
    SwitchOutputs,
    TurnOff,
)
from daq.protocol.trend import Trends

_SAMPLES_TO_SETTLE = 3  # the first two may show the output before it ramped
_RENEW_FRACTION = 0.005  # less is a sample's noise, and each renewal costs a transaction
_RENEW_V, _RENEW_K = 0.0005, 0.1
_SWEEP_OVER = frozenset({MeasurementState.DONE, MeasurementState.FAILED})
_SAVED = (
    *("live_since_s", "samples", "settled", "soaked_since_s", "confirmed"),
    *("start", "value", "applied_A", "asked_degC"),
)


class Execution:
    """A step, from the moment it is the present one.

    Args:
        step: what to execute.
        settle_s: how long a current says nothing after the output went on (lab clock).
        history: what its conditions may compare with.

    Attributes:
        confirmed: somebody has said that the step which waited for it may end.
        start: where a course or a ramp began: V, A, or degC of the chamber.
        value: of the course, as it was applied last.
    """

    def __init__(self, step: Step, settle_s: float, history: History) -> None:
        self.step = step
        self.energises = step.setpoint is not None or step.spectrum is not None
        self.renews = step.course is not None or bool(step.soak and step.soak.ramp_K_s)
        self._settle_s = settle_s
        self._trends = Trends(step.until)
        self._endings = endings(step, history, self._trends)
        self.live_since_s = 0.0
        self.samples = 0  # since then
        self.settled = False
        self.soaked_since_s: float | None = None
        self.confirmed = False
        self.start: float | None = None
        self.value = 0.0
        self.applied_A = 0.0
        self.asked_degC: float | None = None
        self._checks = self._goals()

    def satisfied(self, now: Observation, meter: Meter) -> Ending | None:
        """The end condition that holds before the step is energised, if any."""
        return _first(self._endings.before, now, meter)

    def go_live(self, now: Observation, meter: Meter) -> list[Action]:
        """Start or resume: what brings the bench to where the step needs it."""
        step = self.step
        self.live_since_s, self.samples, self.settled = now.time_s, 1, False
        self.soaked_since_s = self.asked_degC = None
        self._trends.begin()
        self._checks = self._goals()
        out: list[Action] = [TurnOff() if step.setpoint is None else self._apply(now, meter)]
        if step.soak is not None:
            self._soaked(now)
            out += self._ask_chamber(now, meter)
        if step.outputs:
            out.append(SwitchOutputs(step.outputs))
        if step.spectrum is not None:
            out.append(StartSweep(step.spectrum))
        return out

    def reached(self, now: Observation, meter: Meter) -> Ending | None:
        """How the step ends with `now`, if it does."""
        if not self.settled:
            self._settle(now)
        if self.settled and self._trends.wanted:  # the jump as the output goes on is no slope
            self._trends.observe(now)
        return _first(self._checks, now, meter)

    def renew(self, now: Observation, meter: Meter) -> list[Action]:
        """What the step follows, where it differs enough from what was asked for last."""
        if self.step.course is None:
            return self._ask_chamber(now, meter)
        course = self.step.course
        value = course.at(meter.step_time_at(now.time_s), self.start or 0.0)
        if not self._differs(course, value, now):
            return []
        return [self._apply(now, meter)]

    def goals(self) -> list[str]:
        """What the step is to reach within `at_most`; empty where that is its duration."""
        return [ending.reason for ending in (*self._endings.settled, *self._own_goals())]

    def abort(self, now: Observation) -> list[Action]:
        """What must be ended where the step ends here."""
        sweeping = self.step.spectrum is not None and now.measurement not in _SWEEP_OVER
        return [AbortSweep()] if sweeping else []

    def _goals(self) -> tuple[Ending, ...]:
        known = self._endings.settled if self.settled else self._endings.ramping
        return known + self._own_goals()

    def _own_goals(self) -> tuple[Ending, ...]:
        """What the kind of step itself is to reach."""
        step = self.step
        if step.soak is not None:
            target = f"soaked at {step.soak.temperature_degC:g} degC"
            return (Ending(self._is_soaked, target),)
        if step.spectrum is not None:
            return (Ending(_is_swept, "sweep done"),)
        if step.kind is StepKind.OPERATOR:
            return (Ending(self._is_confirmed, "confirmed"),)
        if step.kind is StepKind.SET:
            return (Ending(always, "switched"),)
        if step.course is not None and not step.course.is_constant:
            return (Ending(self._is_over, f"{step.kind} over"),)
        return ()

    def _is_confirmed(self, _now: Observation, _meter: Meter) -> bool:
        return self.confirmed

    def _is_soaked(self, now: Observation, _meter: Meter) -> bool:
        return self._soaked(now)

    def _is_over(self, now: Observation, meter: Meter) -> bool:
        course = self.step.course
        length_s = course.length_s(self.start or 0.0) if course else inf
        return now.time_s - meter.began_s >= length_s

    def _settle(self, now: Observation) -> None:
        self.samples += 1
        waited_s = now.time_s - self.live_since_s
        if self.samples >= _SAMPLES_TO_SETTLE and waited_s >= self._settle_s:
            self.settled = True
            self._checks = self._goals()

    # The chamber.

    def _ask_chamber(self, now: Observation, meter: Meter) -> list[Action]:
        soak = self.step.soak
        if soak is None:
            return []
        wanted_degC = soak.temperature_degC
        if soak.ramp_K_s > 0.0 and isfinite(now.chamber_degC):
            if self.start is None:
                self.start = now.chamber_degC
            way_K = soak.ramp_K_s * meter.step_time_at(now.time_s)
            wanted_degC = towards(self.start, soak.temperature_degC, way_K)
        arrived = wanted_degC == soak.temperature_degC
        asked_degC = inf if self.asked_degC is None else self.asked_degC
        if asked_degC == wanted_degC or not (arrived or abs(wanted_degC - asked_degC) >= _RENEW_K):
            return []
        self.asked_degC = wanted_degC
        return [SetChamber(wanted_degC, soak.temperature_degC, soak.humidity_pct)]

    def _soaked(self, now: Observation) -> bool:
        """Whether the chamber has been near its target for long enough.

        A missing reading neither counts nor breaks the time; only a reading ends it.
        """
        soak = self.step.soak
        near = None if soak is None else soaked(soak, now.chamber_degC)
        if soak is None or near is None:
            return False
        if not near or (soak.ramp_K_s > 0.0 and self.asked_degC != soak.temperature_degC):
            self.soaked_since_s = None
            return False
        if self.soaked_since_s is None:
            self.soaked_since_s = now.time_s
        return now.time_s - self.soaked_since_s >= soak.for_s

    # What the setpoint follows.

    def _apply(self, now: Observation, meter: Meter) -> Apply:
        setpoint, course = self.step.setpoint, self.step.course
        if setpoint is None:
            raise ValueError(f"line {self.step.line}: a step that follows something is OFF")
        if course is not None:
            setpoint = self._follow(course, setpoint, now, meter)
        return Apply(setpoint, self.step)

    def _follow(self, course: Course, base: Setpoint, now: Observation, meter: Meter) -> Setpoint:
        if self.start is None:
            self.start = now.voltage_V if course.follows is Follows.VOLTAGE else 0.0
        self.value = course.at(meter.step_time_at(now.time_s), self.start)
        setpoint = setpoint_at(course, self.value, base, self.step.limits, now.voltage_V)
        self.applied_A = setpoint.charge_A - setpoint.discharge_A
        return setpoint

    def _differs(self, course: Course, value: float, now: Observation) -> bool:
        """Whether the setpoint is to be renewed: a new value at once, its drift when it matters."""
        if not course.linear and value != self.value:
            return True
        if course.follows is Follows.VOLTAGE:
            return abs(value - self.value) >= _RENEW_V
        if not isfinite(now.voltage_V) or self.step.setpoint is None:
            return False
        wanted = setpoint_at(course, value, self.step.setpoint, self.step.limits, now.voltage_V)
        change_A = abs(wanted.charge_A - wanted.discharge_A - self.applied_A)
        return change_A > _RENEW_FRACTION * abs(self.applied_A)

    # The checkpoint.

    def snapshot(self) -> dict[str, Any]:
        """JSON-able state."""
        saved = {name: getattr(self, name) for name in _SAVED}
        return {**saved, "trends": self._trends.snapshot()}

    @classmethod
    def restore(
        cls, step: Step, settle_s: float, history: History, snapshot: dict[str, Any]
    ) -> Execution:
        """The execution that `snapshot` was taken of."""
        execution = cls(step, settle_s, history)
        for name in _SAVED:
            setattr(execution, name, snapshot[name])
        execution._trends.load(snapshot["trends"])
        execution._checks = execution._goals()
        return execution


def _is_swept(now: Observation, _meter: Meter) -> bool:
    return now.measurement == MeasurementState.DONE


def _first(checks: tuple[Ending, ...], now: Observation, meter: Meter) -> Ending | None:
    for ending in checks:
        if ending.check(now, meter):
            return ending
    return None
