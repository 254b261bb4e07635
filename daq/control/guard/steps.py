"""S1 S2 S3: how long a step and a program may take, and how soon a step may be over."""

from __future__ import annotations

from math import inf, isfinite

from daq.model import Sample, Setpoint, Trip

FAR_V, FAR_FRACTION = 0.10, 0.03
"""An end nearer than this to where the cell was, whichever is more, is soon reached by right."""
LITTLE = 0.005
"""Of the nominal capacity: what no cell needs less of to go far."""
PULSE_S = 60.0
"""A step that may be over by time so soon is a pulse, and ends as its author wants."""
SLACK_FRACTION, SLACK_S = 1.02, 60.0


class StepTime:
    """S1: a step must end in time, whatever the engine thinks. Lab clock.

    The engine ends a step at the first sample past its time; the guard cuts off at the second
    one that is also past the slack, so that a late sample is not mistaken for a lost engine.
    """

    def __init__(self, slack_s: float) -> None:
        self._slack_s = slack_s
        self._deadline_s = inf
        self._at_most_s = inf
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
    been at that end. Pulses by time, and ends by charge or temperature, are their author's.

    Attributes:
        least_s: lab time that a step with a far end lasts.
        nominal_Ah: of the cell.
    """

    def __init__(self) -> None:
        self.least_s = 0.0
        self.nominal_Ah = inf
        self._before_V = 0.0
        self._at_end = 0  # the direction at whose end the cell is: 1 full, -1 empty

    def reset(self, at_end: int = 0) -> None:
        """A run begins, or goes on with a cell that was at an end."""
        self._at_end = at_end

    def snapshot(self) -> int:
        """For the checkpoint."""
        return self._at_end

    def began(self, voltage_V: float) -> None:
        """A step begins at this voltage, not yet energised by it."""
        self._before_V = voltage_V

    def judge(
        self,
        setpoint: Setpoint | None,
        *,
        by_far_end: bool,
        pulse_s: float,
        voltage_V: float,
        lasted_s: float,
        moved_Ah: float,
    ) -> str:
        """Why a step that has ended is implausible; empty when it is not.

        Args:
            setpoint: of the step; None if it did not energise.
            by_far_end: it ended by a voltage or by a tapered current.
            pulse_s: the shortest time that its author would have ended it by.
            voltage_V: at its end.
            lasted_s: without pauses.
            moved_Ah: net, in its direction.
        """
        if setpoint is None or not isfinite(self.nominal_Ah):
            return ""
        way = (setpoint.charge_A > 0.0) - (setpoint.discharge_A > 0.0)
        little = abs(moved_Ah) < LITTLE * self.nominal_Ah
        was_there, self._at_end = self._at_end == way != 0, self._next_end(way, little, by_far_end)
        if not by_far_end or pulse_s <= PULSE_S or was_there:
            return ""
        change_V = abs(voltage_V - self._before_V)
        if not change_V > max(FAR_V, FAR_FRACTION * abs(self._before_V)):
            return ""
        if lasted_s >= self.least_s and not (little and self.least_s):
            return ""
        return (
            f"S2: from {self._before_V:.4g} V to {voltage_V:.4g} V in {lasted_s:.3g} s "
            f"with {abs(moved_Ah):.3g} Ah: look at contacts and sense leads, then resume"
        )

    def _next_end(self, way: int, little: bool, by_far_end: bool) -> int:
        if by_far_end and not little:
            return way
        return self._at_end if little or way == self._at_end else 0


class ProgramTime:
    """S3: a program must end, whatever the engine thinks: lab time without pauses, and cycles."""

    def __init__(self) -> None:
        self.at_most_s = inf
        self.cycles = inf
        self.ran_s = 0.0
        self._last_s: float | None = None

    def begin(self, at_most_s: float, cycles: float, ran_s: float = 0.0) -> None:
        """A run begins, or goes on after so much time."""
        self.at_most_s = at_most_s * SLACK_FRACTION + SLACK_S
        self.cycles, self.ran_s, self._last_s = cycles, ran_s, None

    def judge(self, time_s: float, cycle: int, *, runs: bool) -> str:
        """Why the run must be stopped; empty when it need not."""
        if runs and self._last_s is not None:
            self.ran_s += time_s - self._last_s
        self._last_s = time_s if runs else None
        if self.ran_s > self.at_most_s:
            return f"S3: the program ran for {self.ran_s:.6g} s, at most {self.at_most_s:.6g} s"
        if cycle > self.cycles:
            return f"S3: cycle {cycle} has begun, at most {self.cycles:g} are allowed"
        return ""
