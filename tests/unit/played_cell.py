"""A program played by its engine on the simulators' cell, as fast as both allow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf, log10

from daq.model import MeasurementState, Setpoint, Spectrum
from daq.protocol.condition import Quantity
from daq.protocol.course import Course
from daq.protocol.engine import Engine
from daq.protocol.program import (
    Action,
    Apply,
    Finished,
    Observation,
    Program,
    SetChamber,
    StartSweep,
    Step,
    StepEnded,
    TurnOff,
)
from simulators.cell import Cell

_SOC_STEP = 0.0025
_SHORTEST_S, _LONGEST_S, _LONGEST_REST_S = 0.2, 120.0, 6 * 3600.0
_PARTS = 12
"""Into how many looks a step is divided at least, where its longest duration is known."""


@dataclass(slots=True)
class Played:
    """What came of it.

    Attributes:
        ended: every execution of a step, in order.
        lowest_V, highest_V: that the cell has shown.
    """

    ended: list[StepEnded] = field(default_factory=list[StepEnded])
    outcome: str = ""
    reason: str = ""
    hours: float = 0.0
    lowest_V: float = inf
    highest_V: float = -inf

    def reasons(self, number: int) -> list[str]:
        """How each execution of a step ended."""
        return [end.reason for end in self.ended if end.step.number == number]


class Player:
    """Drives the engine with observations of the cell, and the cell with its actions."""

    def __init__(self, program: Program, cell: Cell) -> None:
        self.engine = Engine(program)
        self.cell = cell
        self.played = Played()
        self._setpoint: Setpoint | None = None
        self._current_A = 0.0
        self._time_s = 0.0
        self._measurement = ""

    def play(self, most_looks: int = 200_000) -> Played:
        """From the start to the end.

        Raises:
            RuntimeError: there is none.
        """
        self._carry_out(self.engine.start(self._seen()))
        for _ in range(most_looks):
            if self.engine.finished:
                self.played.hours = self._time_s / 3600.0
                return self.played
            self._carry_out(self.engine.advance(self._passed()))
        raise RuntimeError(f"not over after {self._time_s / 3600:.4g} h: {self.engine.step.text}")

    def _passed(self) -> Observation:
        """Some time later."""
        seconds = self._seconds(self.engine.step)
        self._current_A = self._regulated_A(seconds)
        self.cell.step(seconds, self._current_A)
        self._time_s += seconds
        if self._measurement:
            self._measurement = MeasurementState.DONE
        return self._seen()

    def _regulated_A(self, seconds: float) -> float:
        """What a two-quadrant cycler makes of its setpoint."""
        told = self._setpoint
        if told is None:
            return 0.0
        limits = (-told.discharge_A, told.charge_A)
        return self.cell.current_for(told.voltage_V, seconds, *limits, self._current_A)

    def _seen(self) -> Observation:
        cell = self.cell
        volts = cell.voltage_V(self._current_A)
        self.played.lowest_V = min(self.played.lowest_V, volts)
        self.played.highest_V = max(self.played.highest_V, volts)
        return Observation(
            self._time_s,
            volts,
            self._current_A,
            cell.temperature_degC,
            cell.ambient_degC,
            self._measurement,
        )

    def _seconds(self, step: Step) -> float:
        """Until the next look: short where something changes, never past a known end."""
        if step.spectrum is not None:
            return _sweep_s(step.spectrum)
        if step.course is not None and not step.course.is_constant:
            return self._to_next_value(step.course)
        ends = [end.value for end in step.until if end.quantity is Quantity.TIME]
        length_s = min([step.at_most_s, *ends])
        look_s = min(length_s / _PARTS, self._longest_s(step))
        left_s = length_s - self.engine.step_time_s
        return max(min(look_s, left_s), _SHORTEST_S)

    def _longest_s(self, step: Step) -> float:
        if any(condition.looks_back for condition in step.until):
            return _LONGEST_S
        if self._setpoint is None:
            return _LONGEST_REST_S
        amps = max(abs(self._current_A), self._setpoint.charge_A, self._setpoint.discharge_A)
        soc_per_s = amps / (3600.0 * self.cell.capacity_Ah)
        return min(_SOC_STEP / soc_per_s, _LONGEST_S)

    def _to_next_value(self, course: Course) -> float:
        now_s = self.engine.step_time_s
        return next((time_s - now_s for time_s in course.times_s if time_s > now_s + 1e-6), 1.0)

    def _carry_out(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Apply(setpoint=setpoint):
                    self._setpoint, self._measurement = setpoint, ""
                case TurnOff():
                    self._setpoint, self._measurement = None, ""
                    self._current_A = 0.0
                case StartSweep():
                    self._measurement = MeasurementState.RUNNING
                case SetChamber(temperature_degC=degC):
                    self.cell.ambient_degC = degC
                case StepEnded():
                    self.played.ended.append(action)
                case Finished(outcome=outcome, reason=reason):
                    self.played.outcome, self.played.reason = outcome, reason
                case _:
                    pass


def _sweep_s(asked: Spectrum) -> float:
    """Five periods a point."""
    points = round(asked.per_decade * log10(asked.from_Hz / asked.to_Hz)) + 1
    return sum(5.0 / (asked.to_Hz * 10 ** (n / asked.per_decade)) for n in range(points))
