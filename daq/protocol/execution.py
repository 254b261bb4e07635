"""One step under way: how it is energised, and what ends it."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

from daq.model import MeasurementState, Setpoint
from daq.protocol.ending import Ending, endings, soaked
from daq.protocol.meter import Meter
from daq.protocol.program import (
    AbortSweep,
    Action,
    Apply,
    Observation,
    SetChamber,
    StartSweep,
    Step,
    TurnOff,
)

_SAMPLES_TO_SETTLE = 3  # the first two may show the output before it ramped
_RENEW_FRACTION = 0.005  # less is a sample's noise, and each renewal costs a transaction
_SWEEP_OVER = frozenset({MeasurementState.DONE, MeasurementState.FAILED})
_SAVED = ("live_since_s", "samples", "settled", "soaked_since_s", "applied_A")


class Execution:
    """A step, from the moment it is the present one.

    Args:
        step: what to execute.
        settle_s: how long a current says nothing after the output went on (lab clock).
    """

    def __init__(self, step: Step, settle_s: float) -> None:
        self.step = step
        self.energises = step.setpoint is not None or step.spectrum is not None
        self._settle_s = settle_s
        self._endings = endings(step)
        self.live_since_s = 0.0
        self.samples = 0  # since then
        self.settled = False
        self.soaked_since_s: float | None = None
        self.applied_A = 0.0  # at constant power
        self._checks = self._goals()

    def satisfied(self, now: Observation, meter: Meter) -> str | None:
        """The end condition that holds before the step is energised, if any."""
        return _first(self._endings.before, now, meter)

    def go_live(self, now: Observation) -> list[Action]:
        """Start or resume: what brings the bench to where the step needs it."""
        step = self.step
        self.live_since_s, self.samples, self.settled = now.time_s, 1, False
        self.soaked_since_s = None
        self._checks = self._goals()
        out: list[Action] = [TurnOff() if step.setpoint is None else self._apply(now)]
        if step.soak is not None:
            self._soaked(now)
            out.append(SetChamber(step.soak.temperature_degC))
        if step.spectrum is not None:
            out.append(StartSweep(step.spectrum))
        return out

    def reached(self, now: Observation, meter: Meter) -> str | None:
        """The reason why the step ends with `now`, if it does."""
        if not self.settled:
            self._settle(now)
        for check, reason in self._checks:
            if check(now, meter):
                return reason
        return None

    def renew(self, now: Observation) -> Action | None:
        """At constant power, the current that `now` asks for, if it differs enough."""
        if not isfinite(now.voltage_V):
            return None
        change = abs(_current_A(self.step, now.voltage_V) - self.applied_A)
        return self._apply(now) if change > _RENEW_FRACTION * self.applied_A else None

    def goals(self) -> list[str]:
        """What the step is to reach within `at_most`; empty where that is its duration."""
        return [reason for _, reason in (*self._endings.settled, *self._own_goals())]

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
            return ((lambda now, _: self._soaked(now), target),)
        if step.spectrum is not None:
            return ((lambda now, _: now.measurement == MeasurementState.DONE, "sweep done"),)
        return ()

    def _settle(self, now: Observation) -> None:
        self.samples += 1
        waited_s = now.time_s - self.live_since_s
        if self.samples >= _SAMPLES_TO_SETTLE and waited_s >= self._settle_s:
            self.settled = True
            self._checks = self._goals()

    def _soaked(self, now: Observation) -> bool:
        """Whether the chamber has been near its target for long enough.

        A missing reading neither counts nor breaks the time; only a reading ends it.
        """
        soak = self.step.soak
        near = None if soak is None else soaked(soak, now.chamber_degC)
        if soak is None or near is None:
            return False
        if not near:
            self.soaked_since_s = None
            return False
        if self.soaked_since_s is None:
            self.soaked_since_s = now.time_s
        return now.time_s - self.soaked_since_s >= soak.for_s

    def _apply(self, now: Observation) -> Apply:
        setpoint = self.step.setpoint
        if setpoint is None:
            raise ValueError(f"line {self.step.line}: a step at power has no setpoint")
        if self.step.power_W is not None:
            self.applied_A = _current_A(self.step, now.voltage_V)
            setpoint = _directed(setpoint, self.step.power_W, self.applied_A)
        return Apply(setpoint, self.step)

    def snapshot(self) -> dict[str, Any]:
        """JSON-able state."""
        return {name: getattr(self, name) for name in _SAVED}

    @classmethod
    def restore(cls, step: Step, settle_s: float, snapshot: dict[str, Any]) -> Execution:
        """The execution that `snapshot` was taken of."""
        execution = cls(step, settle_s)
        for name in _SAVED:
            setattr(execution, name, snapshot[name])
        execution._checks = execution._goals()
        return execution


def _first(checks: tuple[Ending, ...], now: Observation, meter: Meter) -> str | None:
    return next((reason for check, reason in checks if check(now, meter)), None)


def _current_A(step: Step, voltage_V: float) -> float:
    """|P| / V within the step's limits; none at all for a cell that shows no voltage."""
    power_W = step.power_W or 0.0
    low, high = step.limits.current_A
    ceiling = max(high if power_W > 0.0 else -low, 0.0)
    return min(abs(power_W) / voltage_V, ceiling) if voltage_V > 0.0 else 0.0


def _directed(setpoint: Setpoint, power_W: float, current_A: float) -> Setpoint:
    if power_W > 0.0:
        return replace(setpoint, charge_A=current_A, discharge_A=0.0)
    return replace(setpoint, charge_A=0.0, discharge_A=current_A)
