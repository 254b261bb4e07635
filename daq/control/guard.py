"""The guard: the safety rules of a station, as a list of rules.

Each rule looks at one sample and says nothing, or why to cut off. Rules are pure: no clock, no
lock, no I/O; time comes with the sample. A rule belongs to one source and is called on the one
thread that reads it, so that rules of several buses never share state.

| id | check |
|---|---|
| V1, V2 | over- and under-voltage |
| I1 | over-current, current beyond the setpoint or of the wrong sign, current while OFF |
| T1, T2 | over- and under-temperature |
| Q1 | charge since the start of the run |
| S1 | step time |
| P1 | no valid sample for 3 periods (at least 2 s) |
| P3 | invalid reading: counts to P1, never compared as a number |
| C1 | the link failed while energising |
| C2 | read-back differs: setpoint, limits, output |
| K2 | the instrument's own protection has latched |
| X1 | the program itself failed on the thread of this station |

A limit violation must be seen twice in a row, or once beyond 1 % past the limit: one noisy
sample must not end a week-long test, a real excursion must not wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from typing import Protocol

from daq.model import Limits, Reading, Sample, Setpoint, Span, Trip

STALE_PERIODS = 3
STALE_MIN_S = 2.0
FAR_FRACTION = 0.01
"""Beyond this fraction past a limit one sample is enough."""
FAR_KELVIN = 1.0
OFF_CURRENT_FRACTION = 0.005
SETPOINT_FRACTION = 1.05
SETTLE_S = 1.0
INVALID_MAGNITUDE = 9.0e36
"""SCPI instruments report infinity as 9.9E37 and not-a-number as 9.91E37."""


def valid(value: float) -> bool:
    """Whether a reading is a number that can be compared (check P3)."""
    return isfinite(value) and abs(value) < INVALID_MAGNITUDE


class Rule(Protocol):
    """One check of one source."""

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample."""
        ...


class SpanRule:
    """A quantity must stay within a span: twice in a row past it, or once far past it, trips."""

    def __init__(self, over: str, under: str, quantity: str, unit: str, far: float) -> None:
        self.span: Span = (-inf, inf)
        self._names = {True: over, False: under}
        self._quantity = quantity
        self._unit = unit
        self._far = far
        self._count = 0

    def judge(self, value: float) -> Trip | None:
        """Judge one value; an invalid one neither trips nor resets the count."""
        low, high = self.span
        if not valid(value):
            return None
        if low <= value <= high:
            self._count = 0
            return None
        self._count += 1
        over = value > high
        limit = high if over else low
        far = abs(value - limit) > self._tolerance(limit)
        if self._count < 2 and not far:
            return None
        return Trip(
            self._names[over],
            f"{self._quantity} {value:.6g} {self._unit} is {'above' if over else 'below'} "
            f"the limit of {limit:.6g} {self._unit}",
        )

    def _tolerance(self, limit: float) -> float:
        return self._far * abs(limit) if self._unit != "degC" else self._far


class Voltage(SpanRule):
    """V1 over-voltage, V2 under-voltage."""

    def __init__(self) -> None:
        super().__init__("V1", "V2", "voltage", "V", FAR_FRACTION)

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler."""
        return self.judge(sample.reading.voltage_V)


class Current(SpanRule):
    """I1: current beyond the limits, in either direction."""

    def __init__(self) -> None:
        super().__init__("I1", "I1", "current", "A", FAR_FRACTION)

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler."""
        return self.judge(sample.reading.current_A)


class Temperature(SpanRule):
    """T1 over-temperature, T2 under-temperature."""

    def __init__(self) -> None:
        super().__init__("T1", "T2", "temperature", "degC", FAR_KELVIN)

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of whatever measures the cell's temperature."""
        return self.judge(sample.reading.temperature_degC)


class Output:
    """What flows must be what was commanded: I1, C2, and the instrument's own protection, K2.

    An output takes a moment to settle, so nothing is judged in the first second after it was
    switched; a new setpoint only gives the current a second to leave the old one, because at
    constant power there is a new one with every sample. Two samples must agree.
    """

    def __init__(self, range_A: float) -> None:
        self.commanded_on = False
        self._since_s = -inf
        self._error_A = OFF_CURRENT_FRACTION * range_A
        self._allowed: Span = (0.0, 0.0)
        self._leaving: Span = (0.0, 0.0)
        self._left_at_s = -inf
        self._count = 0

    def set_range(self, range_A: float) -> None:
        """The channel's current range, A; its error is a fraction of it."""
        if isfinite(range_A):
            self._error_A = OFF_CURRENT_FRACTION * range_A

    def command(self, setpoint: Setpoint | None, stamp_s: float) -> None:
        """Note what was last written to the instrument: a setpoint and ON, or None for OFF."""
        allowed = (0.0, 0.0) if setpoint is None else (-setpoint.discharge_A, setpoint.charge_A)
        if self.commanded_on != (setpoint is not None):
            self.commanded_on = not self.commanded_on
            self._since_s, self._left_at_s, self._count = stamp_s, -inf, 0
        elif allowed != self._allowed:
            self._leaving, self._left_at_s = self._may_flow(stamp_s), stamp_s + SETTLE_S
        self._allowed = allowed

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
        if not valid(current_A) or low - self._error_A <= current_A <= high + self._error_A:
            return None
        state = "ON" if self.commanded_on else "OFF"
        return Trip("I1", f"{current_A:.6g} A flow; commanded {state}, {may_flow} A allowed")


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


class Charge:
    """Q1: net charge into the cell since the start of the run, integrated by the guard itself.

    It does not ask the engine: two independent integrals must both be wrong to overcharge.
    """

    def __init__(self) -> None:
        self.limit_Ah = inf
        self._net_Ah = 0.0
        self._lowest_Ah = 0.0
        self._last: tuple[float, float] | None = None

    def reset(self) -> None:
        """A new run begins."""
        self._net_Ah = self._lowest_Ah = 0.0
        self._last = None

    def snapshot(self) -> dict[str, float]:
        """For the checkpoint of a run: a restart must not grant it the same charge again."""
        return {"net_Ah": self._net_Ah, "lowest_Ah": self._lowest_Ah}

    def restore(self, snapshot: Mapping[str, float]) -> None:
        """Go on with a run from its checkpoint; nothing flowed in between."""
        self._net_Ah, self._lowest_Ah = snapshot["net_Ah"], snapshot["lowest_Ah"]
        self._last = None

    def check(self, sample: Sample) -> Trip | None:
        """Judge one sample of the cycler."""
        current, now = sample.reading.current_A, sample.time_s
        if not valid(current):
            return None
        if self._last:
            before, amps = self._last
            self._net_Ah += (current + amps) / 2 * (now - before) / 3600
            # "Since last full" cannot be known; "since emptiest" is the same for a full cycle
            # and the stricter of the two otherwise.
            self._lowest_Ah = min(self._lowest_Ah, self._net_Ah)
        self._last = (now, current)
        charged = self._net_Ah - self._lowest_Ah
        if charged <= self.limit_Ah:
            return None
        return Trip("Q1", f"{charged:.6g} Ah were charged, the limit is {self.limit_Ah:.6g} Ah")


class Freshness:
    """P1: the age of the last valid sample of one source. Real time."""

    def __init__(self, source: str, period_s: float) -> None:
        self.source = source
        self.allowed_s = max(STALE_PERIODS * period_s, STALE_MIN_S)
        self._stamp_s = -inf

    def fresh(self, stamp_s: float) -> None:
        """A valid sample arrived."""
        self._stamp_s = stamp_s

    def age_s(self, now_s: float) -> float:
        """Seconds since the last valid sample."""
        return now_s - self._stamp_s

    def judge(self, now_s: float) -> Trip | None:
        """Judge the silence up to `now_s`."""
        age = self.age_s(now_s)
        if age <= self.allowed_s:
            return None
        return Trip("P1", f"no valid sample of {self.source} for {age:.3g} s", self.source)


class Guard:
    """All rules of one station.

    Args:
        limits: the station's hard limits, which hold even when nothing runs.
        range_A: the cycler channel's current range, for the OFF-current check.
        slack_s: lab seconds that a step may outlast its `at_most` (a few samples).
        cycler: freshness of the cycler channel.
        thermometer: freshness of the temperature source; may be the cycler's own.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        range_A: float,
        slack_s: float,
        cycler: Freshness,
        thermometer: Freshness | None,
    ) -> None:
        self._station_limits = limits
        self.voltage = Voltage()
        self.current = Current()
        self.temperature = Temperature()
        self.output = Output(range_A)
        self.step_time = StepTime(slack_s)
        self.charge = Charge()
        self.cycler = cycler
        self.thermometer = thermometer
        self.cycler_rules: Sequence[Rule] = (
            self.voltage,
            self.current,
            self.output,
            self.step_time,
            self.charge,
        )
        self.relax()

    def enter(self, limits: Limits, time_s: float, at_most_s: float) -> None:
        """A step begins: its limits are the intersection of all tiers."""
        self._set(limits)
        self.step_time.enter(time_s, at_most_s)

    def relax(self) -> None:
        """Nothing runs: only the upper hard limits hold, since the position may be empty."""
        hard = self._station_limits
        upper = Limits((-inf, hard.voltage_V[1]), hard.current_A, (-inf, hard.temperature_degC[1]))
        self._set(upper)
        self.step_time.leave()

    def check_cycler(self, sample: Sample) -> Trip | None:
        """Judge a sample of the cycler channel; on its bus thread, before any queue."""
        reading = sample.reading
        if valid(reading.voltage_V) and valid(reading.current_A):
            self.cycler.fresh(sample.stamp_s)
        for rule in self.cycler_rules:
            if trip := rule.check(sample):
                return trip
        return None

    def check_temperature(self, sample: Sample) -> Trip | None:
        """Judge a sample of the temperature source; on the bus thread that read it."""
        if self.thermometer and valid(sample.reading.temperature_degC):
            self.thermometer.fresh(sample.stamp_s)
        return self.temperature.check(sample)

    def check_silence(self, now_s: float) -> Trip | None:
        """Judge what has not arrived. Only energised stations are asked."""
        for source in (self.cycler, self.thermometer):
            if source and (trip := source.judge(now_s)):
                return trip
        return None

    def _set(self, limits: Limits) -> None:
        self.voltage.span = limits.voltage_V
        self.current.span = limits.current_A
        self.temperature.span = limits.temperature_degC
        self.charge.limit_Ah = limits.charge_Ah
