"""S1 S2 S3: how long a step and a program may take, and how soon a step may be over."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite, nan
from typing import Any

from daq.model import Sample, Trip
from daq.protocol.condition import Quantity
from daq.protocol.program import Step

FAR_V, FAR_FRACTION = 0.10, 0.03
"""An end nearer than this to where the cell was, whichever is more, is soon reached by right."""
LITTLE = 0.005
"""Of the nominal capacity: what no cell needs less of to go far."""
FAR_ENDS = frozenset({Quantity.VOLTAGE, Quantity.CURRENT})
PULSE_S = 60.0
"""A step that may be over by time so soon is a pulse, and ends as its author wants."""


class StepTime:
    """S1: a step must end in time, whatever the engine thinks. Lab clock.

    The engine ends a step at the first sample past its time; the guard cuts off at the second
    one that is also past the slack, so that a late sample is not mistaken for a lost engine.
    """

    def __init__(self, slack_s: float) -> None:
        self._slack_s = slack_s
        self._deadline_s = self._at_most_s = inf
        self._count = 0

    def enter(self, time_s: float, at_most_s: float) -> None:
        """A step begins, or goes on, at lab time `time_s` with `at_most_s` left."""
        self._at_most_s = at_most_s
        self._deadline_s = time_s + at_most_s + self._slack_s
        self._count = 0

    def leave(self) -> None:
        """No step runs."""
        self._deadline_s = inf

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler."""
        if sample.time_s <= self._deadline_s:
            return None
        self._count += 1
        if self._count < 2:
            return None
        return Trip("S1", f"the step went on for more than its {self._at_most_s:.6g} s")


class StepMinimum:
    """S2: a step that energised and reached a far end implausibly soon holds the run.

    In 2014 a bad contact ended a discharge after three seconds, the program went on to charge a
    full module, and a cell exploded. A voltage, or a current that has tapered, that is reached
    in seconds or with next to no charge is plausible where it was near before: a full cell that
    is charged, a constant-voltage phase at once done. It is plausible where the cell has just
    been at that end. A step that was satisfied before it began, pulses by time, and ends by
    charge or temperature are their author's.

    Attributes:
        least_s: lab time that a step to a far end lasts; 0 switches the check off.
        nominal_Ah: of the cell.
    """

    def __init__(self) -> None:
        self.least_s = 0.0
        self.nominal_Ah = inf
        self._at_end = 0  # the direction at whose end the cell is: 1 full, -1 empty
        self._before_V = nan
        self._from_Ah = 0.0

    def begin(self, least_s: float, nominal_Ah: float, snapshot: Mapping[str, Any]) -> None:
        """A run begins, or goes on from what `snapshot` said."""
        self.least_s, self.nominal_Ah = least_s, nominal_Ah
        self._at_end = snapshot.get("at_end", 0)
        self._before_V = snapshot.get("before_V") or nan
        self._from_Ah = snapshot.get("from_Ah", 0.0)

    def snapshot(self) -> dict[str, Any]:
        """For the checkpoint; JSON has no nan."""
        before_V = self._before_V if isfinite(self._before_V) else None
        return {"at_end": self._at_end, "before_V": before_V, "from_Ah": self._from_Ah}

    def began(self, voltage_V: float, net_Ah: float) -> None:
        """A step begins here, not yet energised."""
        self._before_V, self._from_Ah = voltage_V, net_Ah

    def judge(
        self, step: Step, reason: str, *, voltage_V: float, lasted_s: float, net_Ah: float
    ) -> str:
        """Why the end of a step is implausible; empty when it is not.

        Args:
            step: the one that has ended.
            reason: as the engine says, which is the text of an end condition.
            voltage_V: at its end.
            lasted_s: without pauses.
            net_Ah: the guard's own integral.
        """
        if step.setpoint is None:
            return ""
        way = (step.setpoint.charge_A > 0.0) - (step.setpoint.discharge_A > 0.0)
        moved_Ah = abs(net_Ah - self._from_Ah)
        little = moved_Ah < LITTLE * self.nominal_Ah
        at_an_end = any(end.text == reason and end.quantity in FAR_ENDS for end in step.until)
        was_there = way != 0 and self._at_end == way
        if not little:
            self._at_end = way if at_an_end else 0
        if not at_an_end or was_there or _is_pulse(step) or not self._went_far(voltage_V):
            return ""
        if not self.least_s or (lasted_s >= self.least_s and not little):
            return ""
        return (
            f"S2: {reason!r} was reached in {lasted_s:.3g} s with {moved_Ah:.3g} Ah, from "
            f"{self._before_V:.4g} V to {voltage_V:.4g} V"
        )

    def _went_far(self, voltage_V: float) -> bool:
        far_V = max(FAR_V, FAR_FRACTION * abs(self._before_V))
        return abs(voltage_V - self._before_V) > far_V


def _is_pulse(step: Step) -> bool:
    return any(end.quantity is Quantity.TIME and end.value <= PULSE_S for end in step.until)


class ProgramTime:
    """S3: a program must end, whatever the engine thinks: lab time without pauses, and cycles.

    Args:
        slack_s: lab seconds that each step may outlast its time; as for S1.
    """

    def __init__(self, slack_s: float) -> None:
        self.at_most_s = inf
        self.cycles = inf
        self.ran_s = 0.0
        self._slack_s = slack_s
        self._last_s: float | None = None

    def begin(self, at_most_s: float, cycles: float, ran_s: float) -> None:
        """A run begins, or goes on after so much time."""
        self.at_most_s, self.cycles = at_most_s, cycles
        self.ran_s, self._last_s = ran_s, None

    def judge(self, time_s: float, cycle: int, steps: int, *, runs: bool) -> str:
        """Why the run must be stopped; empty when it need not. `steps` have begun so far."""
        if runs and self._last_s is not None:
            self.ran_s += time_s - self._last_s
        self._last_s = time_s if runs else None
        if self.ran_s > self.at_most_s + (steps + 1) * self._slack_s:
            return f"S3: the program ran for {self.ran_s:.6g} s, at most {self.at_most_s:.6g} s"
        if cycle > self.cycles:
            return f"S3: cycle {cycle} has begun, at most {self.cycles:g} are allowed"
        return ""
