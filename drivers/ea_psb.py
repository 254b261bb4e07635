"""EA Elektro-Automatik PSB 10000: bidirectional supplies, one DC terminal, SCPI over TCP or USB.

The instrument has one voltage and two currents, `CURR` for the source and `SINK:CURR` for the
sink: a setpoint is native. Current flows into the terminal whenever the voltage set is below the
cell's; `SINK:CURR 0` makes it a source only.

What the dialect demands (maker's "Programming ModBus & SCPI" as other drivers and the manual of
the APS 6RL, its sister with another label, quote it):

- At least 50 ms between messages, and one command a message. So a reading is two messages, what
  stands already is not written again, and no instrument is read faster than every 0.1 s.
- Nothing is obeyed without the remote lock (`-201`). A unit that is locked at its panel refuses
  it. The lock is taken after every open and looked at before every ON.
- Numbers come with their units, `4.20 V`: a number in any other unit is no number.
- Its watchdog does not trip: the unit leaves remote control. `POW:STAG:AFT:REM OFF` makes it
  open its output then.
- After an alarm the output stays off until the alarm is acknowledged, and reading `SYST:ERR?` is
  what acknowledges it. While an alarm stands only `clear` reads the queue.

UNCONFIRMED: port 5025; which bit of `STAT:QUES` is which alarm (remote 10 and output 11 are
known); the query forms of `SYST:CONF`, `SYST:COMM:MON` and `POW:STAG:AFT:REM`; that a protection
may be set to 110 % of nominal; that the sink is rated as the source is; that the under-voltage
event sleeps while the output is off; how finely its counters are shown; whether acknowledging
restores an output (assumed: it may).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import nan

from daq.bus.line import Exchange, LineSettings, TextLine
from daq.driver import Cycler, Layers, Range
from daq.errors import BadReply, InstrumentRefused, ReadbackMismatch
from daq.model import EVERYWHERE, Counted, Identity, Protection, Reading, Setpoint, Span

FAMILIES = re.compile(r"(PSBE?|PUB) 1\d{4}-")

REMOTE, OUTPUT_ON = 1 << 10, 1 << 11
ALARMS = {
    1: "over-voltage",
    2: "over-current",
    4: "over-power",
    8: "over-temperature",
    16: "power fail",
    32: "master-slave protection",
    64: "under-voltage",
}
ALARM_BITS = 0x03FF
"""Below bit 10; one that has no name here is told by its number."""

LOST = "remote control lost"
"""The watchdog has fired, or somebody unlocked the panel."""

NO_ERROR = "0,"
INFINITE = 9.9e37
SETTABLE, PROTECTABLE = 1.02, 1.1
"""Of nominal: setpoints, and thresholds of protections."""

STEPS = 26214
"""Settings are quantised: nominal divided by this."""

COARSEST = 1000
"""A reply is rounded to its last digit, but never excuses more than nominal divided by this."""

WATCHDOG_S = (1, 36000)
ON_POLLS = 10


class EaPsb(Cycler[TextLine]):
    """EA Elektro-Automatik PSB 10000 supplies: one DC terminal.

    `setup` takes the remote lock and asks the ratings.

    Nothing else is done there: a setting that an instrument refuses must stand in the way of ON,
    in `protect`, and never in the way of OFF.
    """

    settings = LineSettings(timeout_s=0.25, gap_s=0.05)
    layers = Layers(overvoltage=True, undervoltage=True, overcurrent=True, watchdog=True)
    read_messages = 2
    count_messages = 2
    settle_s = 0.3

    _nominal: Mapping[str, float] = {"V": 0.0, "A": 0.0, "W": 0.0}
    _prepared = False
    _standing: Mapping[str, float] = {}
    _verified = 0
    _is_on = False
    _limits_A: Span = EVERYWHERE
    _allowed_A: Span = EVERYWHERE

    def identify(self) -> Identity:
        """See `Driver.identify`. The firmware's own text may hold commas."""
        fields = [field.strip() for field in self.line.ask("*IDN?").split(",", 3)]
        if len(fields) != 4 or not FAMILIES.match(fields[1]):
            raise BadReply(f"not an EA PSB 10000: {','.join(fields)!r}")
        return Identity(*fields)

    def setup(self) -> None:
        """Remote lock and ratings; an output that is on stays on."""
        self._standing, self._is_on = {}, False
        self._lock()
        asked = {"V": "VOLT", "A": "CURR", "W": "POW"}
        found = {unit: self._level(f"SYST:NOM:{name}") for unit, name in asked.items()}
        if not all(value > 0.0 for value in found.values()):
            raise BadReply(f"no supply is rated so: {found}")
        self._nominal = found
        self._limits_A = (-self._level("SINK:CURR"), self._level("CURR"))

    def read(self) -> Mapping[int, Reading]:
        """Voltage and current, then the status; in this order, so that ON and its current fit."""
        volts, amps, _ = self._measure()
        status = self._status()
        return {1: Reading(volts, amps, nan, bool(status & OUTPUT_ON), _fault(status))}

    def range(self, channel: int) -> Range:
        """What can be set: a little more than nominal, both ways."""
        volts, amps = SETTABLE * self._nominal["V"], SETTABLE * self._nominal["A"]
        return Range(voltage_V=(0.0, volts), current_A=(-amps, amps))

    def protect(self, channel: int, protection: Protection) -> None:
        """Over- and under-voltage, over-current both ways, power, and the watchdog.

        The watchdog counts whole seconds, from 1. Power needs no protection of its own: its limits
        are set to nominal, or one that somebody left would bend a constant current.
        """
        volts, amps = protection.voltage_V, protection.current_A
        most_V, most_A = (PROTECTABLE * self._nominal[unit] for unit in "VA")
        if not self._prepared:
            self._prepare()
        self._stand("VOLT:PROT", min(volts[1], most_V))
        self._stand("SYST:CONF:UVD", max(volts[0], 0.0))
        self._choose("SYST:CONF:UVD:ACT", "ALARM")
        self._stand("CURR:PROT", min(amps[1], most_A))
        self._stand("SINK:CURR:PROT", min(-amps[0], most_A))
        self._stand("POW", self._nominal["W"])
        self._stand("SINK:POW", self._nominal["W"])
        self._choose("SYST:COMM:MON:TIME", str(_whole(protection.watchdog_s, WATCHDOG_S)))
        self._choose("SYST:COMM:MON:ACT", "ON")
        self._allowed_A = amps

    def _prepare(self) -> None:
        """What must be so whenever it is in our hands; others may have had it before."""
        self._choose("SYST:CONF:MODE", "UIP")  # with a resistance set, neither V nor A is held
        self._choose("POW:STAG:AFT:REM", "OFF")
        self._choose("SYST:ALAR:ACT:PFA", "OFF")  # no restart by itself once the mains are back
        self._choose("SYST:ALAR:ACT:OTEM", "OFF")
        self._prepared = True

    def apply(self, channel: int, setpoint: Setpoint) -> None:
        """See `Cycler.apply`. Currents that come down go first, those that go up last.

        While it is ON what stands is left alone: a new current the same way takes two messages, a
        reversal six, 0.2 s of which nothing flows. Before ON everything is written.
        """
        low, high = -setpoint.discharge_A, setpoint.charge_A
        if low < self._allowed_A[0] or high > self._allowed_A[1]:
            raise InstrumentRefused(f"{setpoint} is beyond the protection, {self._allowed_A} A")
        new = {"SINK:CURR": setpoint.discharge_A, "CURR": setpoint.charge_A}
        old = {"SINK:CURR": -self._limits_A[0], "CURR": self._limits_A[1]}
        down = {name: amps for name, amps in new.items() if amps <= old[name]}
        for name, value in (down | {"VOLT": setpoint.voltage_V} | new).items():
            if not (self._is_on and self._standing.get(name) == value):
                self._set(name, value)
        self._limits_A = (low, high)

    def verify(self, channel: int) -> None:
        """See `Cycler.verify`: one setting after the other, at 50 ms a message."""
        if not (names := list(self._standing)):
            return
        self._verified += 1
        name = names[self._verified % len(names)]
        answer = self.line.ask(f"{name}?")
        if not self._agrees(answer, name, self._standing[name]):
            raise ReadbackMismatch(f"{name} was set to {self._standing[name]:.6g}, reads {answer}")

    def counted(self, channel: int) -> Counted | None:
        """See `Cycler.counted`: what went in less what came out, of charge alone.

        Energy would be two more messages, in kWh.
        """
        source, sink = self.line.ask("FETC:AHO?"), self.line.ask("FETC:SINK:AHO?")
        net_Ah = _number(source, "Ah") - _number(sink, "Ah")
        return Counted(net_Ah, digit_Ah=max(_last_digit(source, "Ah"), _last_digit(sink, "Ah")))

    def on(self, channel: int) -> None:
        """See `Cycler.on`."""
        self._require_lock()
        self._is_on = True
        self.line.tell("OUTP ON")
        status = 0
        for _ in range(ON_POLLS):
            status = self._status()
            if status & OUTPUT_ON and not _fault(status):
                return
        raise ReadbackMismatch(f"the output does not switch on; fault: {_fault(status) or 'none'}")

    def off(self, channel: int) -> None:
        """See `Driver.off`. Only when it is not obeyed is the lock looked after, and OFF repeated.

        The watchdog goes on: leaving remote control with the output off harms nobody.
        """
        self._is_on = False
        self.line.tell("OUTP OFF")
        if self._word("OUTP?", "ON", "OFF") == "OFF":
            return
        self._lock()
        self.line.tell("OUTP OFF")
        if self._word("OUTP?", "ON", "OFF") != "OFF":
            raise ReadbackMismatch("the output is still on after OUTP OFF")

    def clear(self, channel: int) -> None:
        """See `Cycler.clear`: OFF, verified, and both currents at zero is what acknowledging finds.

        During an alarm `OUTP?` says OFF whatever is programmed. So if OFF was not obeyed and the
        output comes back nevertheless, it carries nothing until the second OFF.
        """
        self._lock()
        self.off(channel)
        self._set("CURR", 0.0)
        self._set("SINK:CURR", 0.0)
        self._limits_A = (0.0, 0.0)
        self.line.ask("SYST:ERR:ALL?")
        self.off(channel)

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        """See `Driver.off_exchanges`: without the lock OFF would not be obeyed."""
        take, off = Exchange(b"SYST:LOCK ON\n"), Exchange(b"OUTP OFF\n")
        return take, off, Exchange(b"OUTP?\n", rb"OFF\s*")

    def _lock(self) -> None:
        """Take remote control, whether or not it is ours already."""
        self._prepared = False
        self.line.tell("SYST:LOCK ON")
        self._require_lock()

    def _require_lock(self) -> None:
        owner = self._word("SYST:LOCK:OWN?", "REMOTE", "NONE", "LOCAL")
        if owner != "REMOTE":
            raise InstrumentRefused(
                f"remote control is not ours but {owner}",
                remedy="unlock it at its panel; no other interface may hold it either",
            )

    def _measure(self) -> Sequence[float]:
        fields = self.line.ask("MEAS:ARR?").split(",")
        if len(fields) != 3:
            raise BadReply(f"volts, amperes and watts were asked for: {','.join(fields)!r}")
        return [_number(field, unit) for field, unit in zip(fields, "VAW", strict=True)]

    def _status(self) -> int:
        text = self.line.ask("STAT:QUES:COND?")
        if not (text.isascii() and text.isdigit()):
            raise BadReply(f"not a status: {text!r}")
        return int(text)

    def _level(self, name: str) -> float:
        return _number(self.line.ask(f"{name}?"), _unit(name))

    def _set(self, name: str, value: float) -> None:
        """Write a number and read it back."""
        self.line.tell(f"{name} {value:.6g}")
        answer = self.line.ask(f"{name}?")
        if not self._agrees(answer, name, value):
            raise self._disobeyed(f"{name} was set to {value:.6g} and reads {answer}")
        self._standing = {**self._standing, name: value}

    def _stand(self, name: str, value: float) -> None:
        """See that a level stands, and write it only where it does not."""
        if not self._agrees(self.line.ask(f"{name}?"), name, value):
            self._set(name, value)
        self._standing = {**self._standing, name: value}

    def _choose(self, name: str, word: str) -> None:
        """See that a keyword, switch or whole number stands, or write it and read it back."""
        if self._chosen(name) == word:
            return
        self.line.tell(f"{name} {word}")
        if (answer := self._chosen(name)) != word:
            raise self._disobeyed(f"{name} was set to {word} and reads {answer}")

    def _chosen(self, name: str) -> str:
        return self.line.ask(f"{name}?").removesuffix("s").rstrip()  # `10 s`; no word ends so

    def _agrees(self, answer: str, name: str, value: float) -> bool:
        unit = _unit(name)
        found, nominal = _number(answer, unit), self._nominal[unit]
        half_digit = _last_digit(answer, unit) / 2
        return abs(found - value) <= min(nominal / STEPS + half_digit, nominal / COARSEST)

    def _disobeyed(self, what: str) -> InstrumentRefused | ReadbackMismatch:
        """Why a setting did not take, in the instrument's words if it has any.

        While an alarm stands it is not asked: that would acknowledge the alarm.
        """
        status = self._status()
        if not status & ALARM_BITS:
            error = self.line.ask("SYST:ERR:ALL?")
            if not error.startswith(NO_ERROR):
                return InstrumentRefused(f"{what}: {error}")
        return ReadbackMismatch(f"{what}; fault: {_fault(status) or 'none'}")

    def _word(self, question: str, *words: str) -> str:
        answer = self.line.ask(question)
        if answer not in words:
            raise BadReply(f"{question} is answered {answer!r}, not {' or '.join(words)}")
        return answer


def _fault(status: int) -> str:
    """What stands, in words."""
    alarms = [
        ALARMS.get(1 << bit, f"alarm bit {bit}")
        for bit in range(ALARM_BITS.bit_length())
        if status & 1 << bit
    ]
    return ", ".join(alarms if status & REMOTE else [*alarms, LOST])


def _unit(name: str) -> str:
    return "A" if "CURR" in name else "W" if "POW" in name else "V"


def _number(text: str, unit: str) -> float:
    """A number in exactly this unit (`4.20 V`, `4.20V`); nan where the number is not one."""
    bare = text.strip()
    try:
        value = float(bare.removesuffix(unit)) if bare.endswith(unit) else None
    except ValueError:
        value = None
    if value is None:
        raise BadReply(f"not a number of {unit}: {text!r}")
    return value if abs(value) < INFINITE else nan


def _last_digit(text: str, unit: str) -> float:
    """The worth of a number's last digit: 0.01 for `4.20 V`."""
    _, _, decimals = text.rstrip(f" {unit}").partition(".")
    return 10.0 ** -len(decimals)


def _whole(seconds: float, span: tuple[int, int]) -> int:
    """The nearest whole number of seconds that is not longer, within the span."""
    return int(min(max(seconds, span[0]), span[1]))
