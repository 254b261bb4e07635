"""The guard of one station: all its rules, and on which thread each of them is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf, nan
from typing import Any

from daq.checks import Checks
from daq.control.guard.charge import Charge, Efficiency
from daq.control.guard.limits import Current, Temperature, Voltage
from daq.control.guard.output import Output, Tracking
from daq.control.guard.rule import Caution, Rule, valid, valid_cycler, valid_degC
from daq.control.guard.sensors import BackCheck, Jump, Stuck, Trail
from daq.control.guard.silence import Freshness, Interlocks, Polls
from daq.control.guard.steps import ProgramTime, StepMinimum, StepTime
from daq.control.guard.temperature import Attached, Excess, Rise
from daq.model import EVERYWHERE, Counters, Limits, Sample, Setpoint, Trip

NOT_SEEN = "no valid reading"
CURRENT_FREE = "current flows although the output is OFF"


class Guard:
    """All rules of one station.

    A rule belongs to one source and is called on the one thread that reads it. What a rule needs
    to know of another thread's source is one number, read at once.

    Args:
        limits: the station's hard limits, which hold even when nothing runs.
        range_A: the cycler channel's current range, for the OFF-current check.
        slack_s: lab seconds that a step may outlast its `at_most` (a few samples).
        cycler: freshness of the cycler channel.
        thermometer: freshness of the temperature source; may be the cycler's own.
        at_cell: the thermometer is at the cell, and its chamber is measured besides: T3, T4, P4.
        back_check: freshness of the independent voltage channel, if there is one (V3).
        interlocks: freshness of every channel that must not tell a fault (K1).
        checks: the station's thresholds.

    Attributes:
        caution: told of what is no reason to cut off; on the thread of whoever noticed.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        range_A: float,
        slack_s: float,
        cycler: Freshness,
        thermometer: Freshness | None,
        at_cell: bool = False,
        back_check: Freshness | None = None,
        interlocks: Iterable[Freshness] = (),
        checks: Checks | None = None,
    ) -> None:
        self.caution: Callable[[Caution], None] = lambda _: None
        self.cycler = cycler
        self.thermometer = thermometer
        self.back_channel = back_check
        self.chamber_degC = nan
        self.cell_degC = nan
        self.voltage_V = nan
        self.current_A = nan
        self._hard = limits
        self._rise_K_min = inf
        self._checks = checks or Checks()
        self.output = Output(range_A)
        self.voltage = Voltage()
        self.current = Current()
        self.temperature = Temperature(self.output)
        self.tracking = Tracking(self.output, self._checks.I2)
        self.jump = Jump(self.output)
        self.back_check = BackCheck(self._checks.V3)
        self.step_time = StepTime(slack_s)
        self.step_minimum = StepMinimum()
        self.program_time = ProgramTime(slack_s)
        self.charge = Charge()
        self.efficiency = Efficiency()
        self.polls = Polls(cycler.period_s)
        self.interlocks = Interlocks({source.source: source for source in interlocks})
        self.rise = Rise(lambda: self.chamber_degC)
        self.excess = Excess(self.output, lambda: self.chamber_degC)
        self.attached = Attached(self.output, lambda: self.chamber_degC, lambda: self.current_A)
        trails = {name: Trail(name) for name in ("voltage", "current", "temperature")}
        self._driven = trails["voltage"], trails["current"]
        self._last_setpoint: Setpoint | None = None
        self._stuck = {
            name: Stuck(trail, [other for other in trails.values() if other is not trail])
            for name, trail in trails.items()
        }
        self.cycler_rules: Sequence[Rule] = (
            self.voltage,
            self.current,
            self.output,
            self.tracking,
            self.jump,
            self.back_check,
            self.step_time,
            self.charge,
        )
        self.thermometer_rules: Sequence[Rule] = (
            (self.temperature, self.rise, self.excess, self.attached)
            if at_cell
            else (self.temperature,)
        )
        self.relax()

    # A run, and its steps.

    def begin(
        self,
        nominal_Ah: float,
        checks: Checks,
        *,
        at_most_s: float,
        cycles: float,
        cycle: int,
        counters: Counters,
        snapshot: Mapping[str, Any],
    ) -> None:
        """A run begins, or goes on from what `snapshot` said.

        Args:
            nominal_Ah: of the cell.
            checks: of the protocol; they may only tighten the station's.
            at_most_s: of the whole program.
            cycles: of the whole program.
            cycle: where it stands.
            counters: where it stands.
            snapshot: empty for a fresh run.
        """
        both = self._checks.tighten(checks)
        self.charge.reset()
        if snapshot:
            self.charge.restore(snapshot)
        self.charge.window_Ah = both.Q2 * nominal_Ah
        self.efficiency.least = both.E1
        self.efficiency.begin(cycle, counters)
        self.step_minimum.begin(both.S2, nominal_Ah, snapshot)
        self.program_time.begin(at_most_s, cycles, snapshot.get("ran_s", 0.0))
        self._thresholds(both)
        self.attached.nominal_Ah = nominal_Ah

    def _thresholds(self, checks: Checks) -> None:
        self.tracking.patience_s = checks.I2
        self.jump.factor = checks.R1
        self.back_check.allowed_V = checks.V3
        self.excess.limit_K = checks.T4
        self.attached.patience_s = checks.P4
        self._rise_K_min = checks.T3
        for stuck in self._stuck.values():
            stuck.patience_s = checks.P2

    def enter(self, limits: Limits, time_s: float, at_most_s: float) -> None:
        """A step begins: its limits are the intersection of all tiers."""
        self._set(limits)
        self.rise.limit_K_min = self._rise_K_min
        self.step_time.enter(time_s, at_most_s)

    def relax(self) -> None:
        """Nothing runs: only the upper hard limits hold, since the position may be empty.

        Whoever mends a cable or takes the cell out warms its sensor: that is no trip of T3.
        """
        hard = self._hard
        upper = Limits((-inf, hard.voltage_V[1]), hard.current_A, (-inf, hard.temperature_degC[1]))
        self._set(upper)
        self.rise.limit_K_min = inf
        self.step_time.leave()

    def end(self) -> None:
        """The run is over."""
        self.relax()
        self.charge.window_Ah = inf

    def _set(self, limits: Limits) -> None:
        self.voltage.span = limits.voltage_V
        self.current.span = limits.current_A
        self.temperature.set(limits)
        self.charge.limit_Ah = limits.charge_Ah

    def snapshot(self) -> dict[str, Any]:
        """What a restart must not forget of a run."""
        own = {"ran_s": self.program_time.ran_s}
        return self.charge.snapshot() | self.step_minimum.snapshot() | own

    # Samples, each on the thread that read it.

    def check_cycler(self, sample: Sample) -> Trip | None:
        """Judge a sample of the cycler channel; on its bus thread, before any queue."""
        reading = sample.reading
        self.voltage_V, self.current_A = reading.voltage_V, reading.current_A
        self.polls.answered(sample.stamp_s)
        if valid_cycler(reading):
            self.cycler.fresh(sample.stamp_s)
        for rule in self.cycler_rules:
            if trip := rule.check(sample):
                return trip
        return self._stands_still(sample)

    def _stands_still(self, sample: Sample) -> Trip | None:
        reading, output = sample.reading, self.output
        off = not output.commanded_on
        trip = self._stuck["voltage"].judge(
            reading.voltage_V,
            sample.time_s,
            expected_still=off or output.regulates(reading.voltage_V),
        ) or self._stuck["current"].judge(reading.current_A, sample.time_s, expected_still=off)
        if output.setpoint != self._last_setpoint:  # a ramp or a profile: not what noise does
            self._last_setpoint = output.setpoint
            for trail in self._driven:
                trail.forget()
        return trip

    def check_temperature(self, sample: Sample) -> Trip | None:
        """Judge a sample of the temperature source; on the bus thread that read it."""
        degC = self.cell_degC = sample.reading.temperature_degC
        if self.thermometer and valid_degC(degC):
            self.thermometer.fresh(sample.stamp_s)
        for rule in self.thermometer_rules:
            if trip := rule.check(sample):
                return trip
        if self.rise.caution:
            self.caution(self.rise.caution)
        return self._stuck["temperature"].judge(
            degC, sample.time_s, expected_still=not self.output.commanded_on
        )

    def see_chamber(self, sample: Sample) -> None:
        """Take a reading of the chamber."""
        self.chamber_degC = sample.reading.temperature_degC

    def see_back_check(self, sample: Sample) -> None:
        """Take a reading of the independent voltage channel."""
        if self.back_channel and valid(sample.reading.voltage_V):
            self.back_channel.fresh(sample.stamp_s)
        self.back_check.see(sample)

    # What has not arrived. Only energised stations are asked.

    def check_silence(self, now_s: float, on_since_s: float = -inf) -> Trip | None:
        """Judge what has not arrived.

        Args:
            now_s: real time.
            on_since_s: when the cycler has confirmed to be ON. Until then it was answering, and
                a slow one takes seconds to have its limits written and read back.
        """
        if trip := self.cycler.judge(now_s, on_since_s):
            return trip
        for source in (self.thermometer, self.back_channel):
            if source and (trip := source.judge(now_s)):
                return trip
        return None

    # Clearing.

    def still(self, latch: Trip, now_s: float) -> str:
        """Why the condition behind a trip is not gone; empty when it is.

        The latest valid reading of every source is judged against the hard limits; the lower
        ones only where one of them has tripped, since the position may be empty by now.
        """
        if silence := self.check_silence(now_s) or self.interlocks.judge(now_s):
            return silence.message
        hard = self._hard
        volts = hard.voltage_V if latch.check == "V2" else (-inf, hard.voltage_V[1])
        degrees = hard.temperature_degC if latch.check == "T2" else (-inf, hard.temperature_degC[1])
        spans = (
            ("voltage", "V", self.voltage_V, volts),
            ("temperature", "degC", self.cell_degC, degrees if self.thermometer else EVERYWHERE),
            ("current", "A", self.current_A, (-self.output.error_A, self.output.error_A)),
        )
        for name, unit, value, (low, high) in spans:
            if value == value and not low <= value <= high:
                return f"{name} {value:.6g} {unit} is not within {low:.6g} to {high:.6g} {unit}"
        return ""
