"""I1 C2 K2 and I2: what flows is what was commanded."""

from __future__ import annotations

from math import inf, isfinite, nan

from daq.control.guard.rule import LONGEST_LOOK_S, valid, valid_cycler
from daq.model import Reading, Sample, Setpoint, Span, Trip

OFF_CURRENT_FRACTION = 0.005
SETPOINT_FRACTION = 1.05
TRACKING_FRACTION = 0.05
SETTLE_S = 1.0
REGULATES_V, REGULATES_FRACTION = 0.010, 0.005
"""So near its setpoint the voltage is what the output regulates, whichever is more."""
FLOWED_FRACTION = 0.5
NOTHING: Span = (0.0, 0.0)
EDGE_FRACTION = 0.05
"""A setpoint that moves the current by more is a step edge; constant power moves it by less."""


class Output:
    """What flows must be what was commanded: I1, C2, and the instrument's own protection, K2.

    An output takes a moment to settle, so nothing is judged in the first second after it was
    switched; a new setpoint only gives the current a second to leave the old one, because at
    constant power there is a new one with every sample. Two samples must agree.

    Attributes:
        setpoint: what was last written with ON; None for OFF.
        edge_s: real stamp of the last switching, or of the last setpoint unlike the one before.
        error_A: what a current may be off by.
    """

    def __init__(self, range_A: float) -> None:
        self.setpoint: Setpoint | None = None
        self.edge_s = -inf
        self.error_A = OFF_CURRENT_FRACTION * range_A
        self._since_s = -inf
        self._allowed = self._leaving = NOTHING
        self._left_at_s = -inf
        self._count = 0

    @property
    def commanded_on(self) -> bool:
        """Whether the last command was ON."""
        return self.setpoint is not None

    @property
    def may_charge(self) -> bool:
        """Whether current may flow into the cell."""
        return self._allowed[1] > 0.0

    @property
    def may_discharge(self) -> bool:
        """Whether current may flow out of the cell."""
        return self._allowed[0] < 0.0

    @property
    def wanted_A(self) -> float:
        """The one current that a constant-current command asks for; nan if there is none."""
        low, high = self._allowed
        return nan if low and high else low or high

    def regulates(self, voltage_V: float) -> bool:
        """Whether the output holds its voltage rather than its current."""
        if self.setpoint is None:
            return False
        target_V = self.setpoint.voltage_V
        return abs(voltage_V - target_V) <= max(REGULATES_V, REGULATES_FRACTION * abs(target_V))

    def set_range(self, range_A: float) -> None:
        """The channel's current range, A; its error is a fraction of it."""
        if isfinite(range_A):
            self.error_A = OFF_CURRENT_FRACTION * range_A

    def command(self, setpoint: Setpoint | None, stamp_s: float) -> None:
        """Note what was last written to the instrument: a setpoint and ON, or None for OFF."""
        allowed = NOTHING if setpoint is None else (-setpoint.discharge_A, setpoint.charge_A)
        if self.commanded_on != (setpoint is not None):
            self._since_s, self._left_at_s, self._count = stamp_s, -inf, 0
            self.edge_s = stamp_s
        elif allowed != self._allowed:
            self._leaving, self._left_at_s = self._may_flow(stamp_s), stamp_s + SETTLE_S
        if self._is_edge(setpoint, allowed):
            self.edge_s = stamp_s
        self._allowed, self.setpoint = allowed, setpoint

    def _is_edge(self, setpoint: Setpoint | None, allowed: Span) -> bool:
        before = self.setpoint
        if setpoint is None or before is None:
            return False  # a switching, or nothing new
        moved = any(_moved(allowed[way], self._allowed[way]) for way in (0, 1))
        return moved or setpoint.voltage_V != before.voltage_V

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler."""
        if sample.stamp_s - self._since_s < SETTLE_S:
            return None
        trip = self._judge(sample.reading, self._may_flow(sample.stamp_s))
        self._count = self._count + 1 if trip else 0
        return trip if self._count >= 2 else None

    def _may_flow(self, stamp_s: float) -> Span:
        low, high = self._allowed
        if stamp_s >= self._left_at_s:
            return low, high
        return min(low, self._leaving[0]), max(high, self._leaving[1])

    def _judge(self, reading: Reading, may_flow: Span) -> Trip | None:
        if reading.fault and self.commanded_on:
            return Trip("K2", f"the instrument's own protection has latched: {reading.fault}")
        if reading.output_on is not None and reading.output_on != self.commanded_on:
            seen, wanted = ("ON", "OFF") if reading.output_on else ("OFF", "ON")
            return Trip("C2", f"the output is {seen} although it was commanded {wanted}")
        return self._judge_current(reading.current_A, may_flow)

    def _judge_current(self, current_A: float, may_flow: Span) -> Trip | None:
        low, high = (bound * SETPOINT_FRACTION for bound in may_flow)
        if not valid(current_A) or low - self.error_A <= current_A <= high + self.error_A:
            return None
        state = "ON" if self.commanded_on else "OFF"
        return Trip("I1", f"{current_A:.6g} A flow; commanded {state}, {may_flow} A allowed")


def _moved(new_A: float, old_A: float) -> bool:
    return abs(new_A - old_A) > EDGE_FRACTION * abs(old_A)


class Tracking:
    """I2: a current that is to be constant is what it was set to, unless the voltage is held.

    A contact that opens sends the voltage to its setpoint and the current to nothing between two
    samples; a cell that is nearly full lets the current taper. The first is told from the second
    by what flowed just before, and by nothing else: so it is not judged across a long look.
    """

    def __init__(self, output: Output, patience_s: float) -> None:
        self.patience_s = patience_s
        self._output = output
        self._off_since_s = inf
        self._flowed_at_s = -inf  # lab time of the last sample with current as it was set

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler."""
        output, reading = self._output, sample.reading
        wanted_A = output.wanted_A
        if not abs(wanted_A) > 2.0 * output.error_A or sample.stamp_s - output.edge_s < SETTLE_S:
            self._off_since_s, self._flowed_at_s = inf, -inf
            return None
        if not valid_cycler(reading):
            return None
        lost = self._lost_contact(sample, wanted_A)
        missing_A = abs(reading.current_A - wanted_A)
        allowed_A = TRACKING_FRACTION * abs(wanted_A) + output.error_A
        if missing_A <= allowed_A or output.regulates(reading.voltage_V):
            self._off_since_s = inf
            return lost
        self._off_since_s = min(self._off_since_s, sample.stamp_s)
        if sample.stamp_s - self._off_since_s <= self.patience_s:
            return None
        return Trip("I2", f"{reading.current_A:.6g} A flow where {wanted_A:.6g} A were set")

    def _lost_contact(self, sample: Sample, wanted_A: float) -> Trip | None:
        reading, since_s = sample.reading, sample.time_s - self._flowed_at_s
        if abs(reading.current_A) >= FLOWED_FRACTION * abs(wanted_A):
            self._flowed_at_s = sample.time_s
            return None
        self._flowed_at_s = -inf
        open_circuit = abs(reading.current_A) <= self._output.error_A
        held = self._output.regulates(reading.voltage_V)
        if self.patience_s == inf or not (open_circuit and held and since_s <= LONGEST_LOOK_S):
            return None
        return Trip(
            "I2",
            f"contact lost: {wanted_A:.6g} A flowed, now none, at {reading.voltage_V:.6g} V",
        )
