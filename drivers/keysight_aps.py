"""Keysight N6900 and N7900 APS, and RP7900 regenerative supplies: two-quadrant, one output.

The instrument stays in voltage priority (`FUNC VOLT`) for everything, discharges included. A
setpoint (voltage, most charge, most discharge) is native there: `VOLT`, `CURR:LIM` and
`CURR:LIM:NEG`. A change to current priority would turn the output OFF and reset its settings; and
only in voltage priority has an N6900 a floor that ends a discharge (it has no under-voltage
protection, the RP7900 has).

What the dialect demands:

- An unknown query, and any compound message with an error in it, is never answered.
- `VOLT`, `CURR:LIM` and `CURR:LIM:NEG` queried in the message that writes them give the old
  value: every read-back is a message of its own.
- Clearing a protection restores the output as it was before the fault, so that it can switch
  ON: `OUTP 0` is sent and verified first.
- After a protection or the watchdog has opened the output, `OUTP?` still says 1.
- Over-current protection (`CURR:PROT`) trips when the output reaches its current limit, which is
  what every constant-current step does: it is kept off. The current limits bound the current.

UNCONFIRMED: that an RP7900 behaves on TCP as an N6974A was measured to; the manufacturer's name in
early units; that the counters of charge and energy count a discharge backwards; that `STAT:QUES2`
bits IPK+/IPK- mark a limit and not a trip; that under-voltage protection (RP7900) ignores an output
that is off.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from math import inf, isfinite, nan

from pydantic import Field

from daq.bus.line import Exchange, LineSettings, TextLine
from daq.driver import Cycler, DriverOptions, Layers, Range
from daq.errors import BadReply, InstrumentRefused, ReadbackMismatch
from daq.model import EVERYWHERE, Counted, Identity, Protection, Reading, Setpoint, Span

FAMILIES = re.compile(r"(N69|N79|RP79)\d\d")

OPER_OFF = 4
TRIPS = {
    1: "over-voltage",
    2: "over-current",
    4: "power fail",
    8: "over-power",
    16: "over-temperature",
    32: "negative over-power",
    64: "negative over-voltage",
    512: "inhibit",
    2048: "watchdog",
    4096: "excessive dynamic load",
}
TRIPS_2 = {
    1: "user protection",
    8: "current sharing",
    16: "parallel group",
    32: "dissipator",
    64: "under-voltage",
    128: "current fault",
    256: "local over-voltage",
    512: "differential over-voltage",
}
ALARMS = {8192: "sense leads lost"}
"""The output stays on, and regulates on its own terminals, about 1 % too high."""

INFINITE = 9.9e37
NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(E[+-]?\d+)?|nan|inf)", re.IGNORECASE)
"""Closer than float(), which takes blanks and underscores as well."""
STATUS = re.compile(r"\+?\d{1,10}")
HIGHEST_V, HIGHEST_A = 2100.0, 900.0
"""More than any model of the three families has; a tolerance is a part of the range."""
WATCHDOG_S = (1, 3600)
ERRORS_AT_MOST = 40
"""20 of the connection's own queue, and those of the queue for power-on and hardware errors."""

STEPS = 2**14
"""Settings are quantised: a read-back may differ by the full scale divided by this."""

ON_POLLS, ON_POLL_S = 40, 0.005
"""The output takes some tens of milliseconds to close."""

_STATUS = "STAT:QUES:COND?;:STAT:QUES2:COND?;:STAT:OPER:COND?"
_MEASURE = f"MEAS:VOLT?;:FETC:CURR?;:{_STATUS}"
READS = (f"{_MEASURE};:OUTP?", f"OUTP?;:{_MEASURE}")
"""Two forms in turn, so that a reply that comes twice does not fit the next question.

FETC is of MEAS's acquisition; a second MEAS would cost another power-line cycle.
"""
IS_ON = f"{_STATUS};:OUTP?"
"""Without a measurement: the answer comes at once."""

COUNTERS = "FETC:AHO?;:FETC:WHO?"
"""They go on whatever is measured, and survive runs; they are never reset here."""

LIMITS = (
    "VOLT? MIN;:VOLT? MAX;:CURR:LIM? MIN;:CURR:LIM? MAX;:CURR:LIM:NEG? MIN;:CURR:LIM:NEG? MAX"
    ";:VOLT:PROT? MAX;:CURR:LIM:NEG?;:CURR:LIM?"
)


NPLC_FRACTION = 0.01
"""Integration times are quantised: 1 reads 0.999936."""


class KeysightApsOptions(DriverOptions):
    """Options of an APS or an RP7900 in a lab file.

    Attributes:
        power_line_cycles: how long a measurement integrates, at 20 ms (50 Hz) a cycle; as it
            stands in the instrument (1 after a reset) where it is not given. With 1 a reading takes
            21 ms (manual, p. 208): for records every 20 ms give 0.5, at the price of more noise.
    """

    power_line_cycles: float | None = Field(default=None, ge=0.003, le=100.0)


class KeysightAps(Cycler[TextLine]):
    """Keysight N6900, N7900 APS and RP7900 supplies: one output; `setup` learns its limits.

    The class claims no under-voltage layer, because only RP7900 models have it; there it is set.
    """

    settings = LineSettings(timeout_s=0.25)
    Options = KeysightApsOptions
    layers = Layers(overvoltage=True, watchdog=True)
    count_messages = 1

    options: KeysightApsOptions
    _standing: Mapping[str, float] = {}
    _form = 1
    _regenerative = False
    _range = Range()
    _zero_A: Span = (0.0, 0.0)
    _overvoltage_V = inf
    _limits_A: Span = EVERYWHERE
    _allowed_A: Span = EVERYWHERE

    def identify(self) -> Identity:
        """See `Driver.identify`."""
        fields = [field.strip() for field in self.line.ask("*IDN?").split(",")]
        if len(fields) != 4 or not FAMILIES.match(fields[1]):
            raise BadReply(f"not a Keysight N6900, N7900 or RP7900: {','.join(fields)!r}")
        self._regenerative = fields[1].startswith("RP")
        return Identity(*fields)

    def setup(self) -> None:
        """Voltage priority, no sink at turn-off, no trip at the current limit; ask the limits."""
        self._standing = {}
        self._drain_errors()
        if self.line.ask("FUNC?") != "VOLT":
            self._choose("FUNC", "VOLT")  # turns the output OFF
        if not self._regenerative:
            # *RST and every change of priority say LOWZ, which sinks for 2 ms at turn-off (p. 251)
            self._choose("OUTP:PROT:MODE", "HIGHZ")
        self._choose("CURR:PROT:STAT", "0")
        self._integrate()
        self._learn()

    def read(self) -> Mapping[int, Reading]:
        """One message, one acquisition."""
        self._form = 1 - self._form
        answers = self._ask(READS[self._form], 6)
        output = answers.pop(0 if self._form else -1)
        volts, amps, *status = answers
        closed, fault = _state(*map(_bits, (*status, output)))
        return {1: Reading(_number(volts), _number(amps), nan, closed, fault)}

    def range(self, channel: int) -> Range:
        """As the instrument says; the discharge end tells how many dissipators it has."""
        return self._range

    def protect(self, channel: int, protection: Protection) -> None:
        """Over-voltage, under-voltage (RP7900) and the watchdog; current limits come down too.

        The watchdog counts whole seconds, from 1. The current limits belong to the setpoint:
        those that stand are tightened to the protection's, never widened.
        """
        volts, delay = protection.voltage_V, _whole(protection.watchdog_s, WATCHDOG_S)
        levels = {"VOLT:PROT": min(volts[1], self._overvoltage_V)}
        if self._regenerative:
            levels |= {"VOLT:PROT:LOW": max(volts[0], 0.0), "VOLT:PROT:LOW:STAT": 1}
        levels |= {"CURR:PROT:STAT": 0, "OUTP:PROT:WDOG:DEL": delay, "OUTP:PROT:WDOG": 1}
        self._set(levels)
        self._allowed_A = self._settable(protection.current_A)
        (low, high), (old_low, old_high) = self._allowed_A, self._limits_A
        self._limit((max(low, old_low), min(high, old_high)))

    def apply(self, channel: int, setpoint: Setpoint) -> None:
        """See `Cycler.apply`; what would widen the protection's currents is refused."""
        low, high = self._settable((-setpoint.discharge_A, setpoint.charge_A))
        if low < self._allowed_A[0] or high > self._allowed_A[1]:
            raise InstrumentRefused(f"{setpoint} is beyond the protection, {self._allowed_A} A")
        self._limit((low, high), setpoint.voltage_V)

    def verify(self, channel: int) -> None:
        """See `Cycler.verify`: all of it, in one message."""
        if standing := self._standing:
            answers = self._ask(";:".join(f"{name}?" for name in standing), len(standing))
            self._compare(standing, answers)

    def counted(self, channel: int) -> Counted | None:
        """See `Cycler.counted`; one message, without an acquisition."""
        charge, energy = self._ask(COUNTERS, 2)
        return Counted(_number(charge), _number(energy), _last_digit(charge), _last_digit(energy))

    def on(self, channel: int) -> None:
        """See `Cycler.on`."""
        self.line.tell("OUTP 1")
        fault = ""
        for _ in range(ON_POLLS):
            time.sleep(ON_POLL_S)
            closed, fault = _state(*map(_bits, self._ask(IS_ON, 4)))
            if closed:
                return
        raise ReadbackMismatch(f"the output does not switch on; fault: {fault or 'none'}")

    def off(self, channel: int) -> None:
        """See `Driver.off`. Rests the watchdog too, until `protect`.

        It has nothing left to guard, and would latch a fault whenever the daemon is stopped.
        """
        self.line.tell("OUTP 0")
        output, oper = self._ask("OUTP?;:STAT:OPER:COND?", 2)
        if _bits(output) and not _bits(oper) & OPER_OFF:
            raise ReadbackMismatch("the output is still on after OUTP 0")
        self.line.tell("OUTP:PROT:WDOG 0")
        self._standing = {}

    def clear(self, channel: int) -> None:
        """See `Cycler.clear`: a programmed state of OFF, verified, is what clearing restores."""
        self._open_output()
        self.line.tell("OUTP:PROT:CLE")
        self._open_output()
        self._drain_errors()

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        """As `off`: the watchdog rests once OFF is verified, or it would latch a fault."""
        off, proof = Exchange(b"OUTP 0\n"), Exchange(b"OUTP?\n", rb"\+?0\s*")
        return off, proof, Exchange(b"OUTP:PROT:WDOG 0\n")

    def _open_output(self) -> None:
        """As `off`, but the programmed state itself must be OFF, not only the output open."""
        self.off(1)
        if _bits(self.line.ask("OUTP?")):
            raise ReadbackMismatch("the output would switch on when its protection is cleared")

    def _integrate(self) -> None:
        """The integration time that the options ask for, read back."""
        if (cycles := self.options.power_line_cycles) is None:
            return
        (answer,) = self._change([f"SENS:SWE:NPLC {cycles:.6g}"], ["SENS:SWE:NPLC?"])
        if not abs(_number(answer) - cycles) <= NPLC_FRACTION * cycles:
            raise ReadbackMismatch(f"SENS:SWE:NPLC was set to {cycles:.6g} and reads {answer}")

    def _learn(self) -> None:
        """The programmable range, the nearest settings to zero, and the limits that stand."""
        answers = [_number(text) for text in self._ask(LIMITS, 9)]
        low_V, high_V, zero_up, high_A, low_A, zero_down, self._overvoltage_V = answers[:7]
        likely = 0.0 <= low_V < high_V <= HIGHEST_V and -HIGHEST_A <= low_A < high_A <= HIGHEST_A
        if not likely or not all(isfinite(answer) for answer in answers):
            raise BadReply(f"no limits of an instrument of these families: {answers}")
        self._range = Range(voltage_V=(low_V, high_V), current_A=(low_A, high_A))
        self._zero_A = (zero_down, zero_up)
        self._limits_A = (answers[7], answers[8])

    def _settable(self, span: Span) -> Span:
        """With exact zeros replaced by what the instrument can be set to nearest to zero."""
        return span[0] or self._zero_A[0], span[1] or self._zero_A[1]

    def _limit(self, span: Span, voltage_V: float | None = None) -> None:
        """Write current limits and voltage: limits that come down first, those that go up last.

        So that no step from one setpoint to the next passes through more current than either.
        """
        new = {"CURR:LIM:NEG": span[0], "CURR:LIM": span[1]}
        old = {"CURR:LIM:NEG": self._limits_A[0], "CURR:LIM": self._limits_A[1]}
        down = {name: value for name, value in new.items() if abs(value) <= abs(old[name])}
        level = {} if voltage_V is None else {"VOLT": voltage_V}
        self._set(down | level | new)
        self._limits_A = span

    def _set(self, values: Mapping[str, float]) -> None:
        """Write numbers, and read each back in a message of its own."""
        commands = [f"{name} {value:.6g}" for name, value in values.items()]
        answers = self._change(commands, [f"{name}?" for name in values])
        self._compare(values, answers)
        self._standing = {**self._standing, **values}

    def _compare(self, values: Mapping[str, float], answers: Sequence[str]) -> None:
        for (name, value), answer in zip(values.items(), answers, strict=True):
            if not abs(_number(answer) - value) <= self._tolerance(name):
                raise ReadbackMismatch(f"{name} was set to {value:.6g} and reads {answer}")

    def _tolerance(self, name: str) -> float:
        if name.endswith(("STAT", "WDOG", "DEL")):
            return 0.0  # a switch, or whole seconds
        span = self._range.voltage_V if name.startswith("VOLT") else self._range.current_A
        return max(abs(end) for end in span) / STEPS

    def _choose(self, name: str, keyword: str) -> None:
        """Write a keyword or a switch, and read it back."""
        (answer,) = self._change([f"{name} {keyword}"], [f"{name}?"])
        if answer != keyword:
            raise ReadbackMismatch(f"{name} was set to {keyword} and reads {answer}")

    def _change(self, commands: Sequence[str], queries: Sequence[str]) -> list[str]:
        """Write, then query in a second message that ends with the error queue."""
        self.line.tell(";:".join(commands))
        reply = self.line.ask(";:".join([*queries, "SYST:ERR?"]))
        *answers, error = reply.split(";", len(queries))  # an error's text may hold a semicolon
        if len(answers) != len(queries):
            raise BadReply(f"{len(queries)} answers and an error were asked for: {reply!r}")
        if not error.startswith("+0,"):
            raise InstrumentRefused(f"{';:'.join(commands)}: {error}")
        return answers

    def _ask(self, message: str, count: int) -> list[str]:
        reply = self.line.ask(message)
        answers = reply.split(";")
        if len(answers) != count:
            raise BadReply(f"{count} answers were asked for: {reply!r}")
        return answers

    def _drain_errors(self) -> None:
        """What is left of others and of power-on; a new connection's own queue is empty."""
        for _ in range(ERRORS_AT_MOST):
            if self.line.ask("SYST:ERR?").startswith("+0,"):
                return
        raise BadReply(f"the error queue is not empty after {ERRORS_AT_MOST} errors")


def _state(ques: int, ques2: int, oper: int, output: int) -> tuple[bool, str]:
    """Whether the output is closed, and the faults in words."""
    trips = _names(ques, TRIPS) + _names(ques2, TRIPS_2)
    closed = output == 1 and not oper & OPER_OFF and not trips
    return closed, ", ".join(trips + _names(ques, ALARMS))


def _names(bits: int, table: Mapping[int, str]) -> list[str]:
    return [name for bit, name in table.items() if bits & bit] if bits else []


def _number(text: str) -> float:
    """A number; nan for the instrument's infinity and not-a-number."""
    if not NUMBER.fullmatch(text):
        raise BadReply(f"not a number: {text!r}")
    value = float(text)
    return value if abs(value) < INFINITE else nan


def _last_digit(text: str) -> float:
    """The worth of a number's last digit: 1e-5 for `+8.160000E+01`."""
    mantissa, _, exponent = text.upper().partition("E")
    return 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))


def _bits(text: str) -> int:
    if not STATUS.fullmatch(text):
        raise BadReply(f"not a status: {text!r}")
    return int(text)


def _whole(seconds: float, span: tuple[int, int]) -> int:
    """The nearest whole number of seconds that is not longer, within the span."""
    return int(min(max(seconds, span[0]), span[1]))
