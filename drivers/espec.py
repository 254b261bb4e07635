"""ESPEC chambers with a P-300, SCP-220 or ES-102 controller (SH-241/242, EHS, PL/PR ...): ASCII.

One line asked, one line answered, CRLF. RS-232C and RS-485 (9600 8N1), an Ethernet-serial adapter
(raw TCP port 10001), or the LAN port of newer models (57732, where a second client gets no reply).
A setting is answered `OK:` and its echo, an error `NA:` and its name ("Network Guide", ch. 3).
There is no communication watchdog. Alarm codes differ between models: UNCONFIRMED.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import nan

from pydantic import Field

from daq.bus.line import Exchange, LineSettings, TextLine
from daq.driver import Chamber, DriverOptions, Range
from daq.errors import BadReply, InstrumentRefused, ReadbackMismatch
from daq.model import Identity, Reading, Span

NUMBER = re.compile(r"[+-]?\d{1,6}(\.\d*)?")
PLAUSIBLE_DEGC, PLAUSIBLE_PCT = (-100.0, 250.0), (-1.0, 110.0)
READBACK_K, READBACK_PCT = 0.051, 0.51
"""The chamber keeps tenths of a degree; whether it keeps tenths of a percent is UNCONFIRMED."""

CONDITIONING = ("CONSTANT", "RUN")
"""How the modes begin in which the chamber regulates; RUN is followed by a number or a detail."""

MEANINGS = {
    "CMD ERR": "the chamber does not know this command",
    "ADDR ERR": "the RS-485 address is wrong",
    "CONT NOT READY": "the chamber has not got, or has switched off, what was asked for",
    "DATA NOT READY": "there is no such program",
    "PARA ERR": "a parameter is wrong",
    "DATA OUT OF RANGE": "beyond the alarm limits that are set at the chamber",
    "PROTECT ON": "the chamber is locked: it cannot be controlled",
    "PRGM WRITE ERR": "the program cannot be written",
    "INVALID REQ": "not possible in the present state",
    "CHB NOT READY": "the chamber is not ready",
}
"""Error names after `NA:`, without their number; newer series write `_` for the blank."""

REMEDIES = {
    "PROTECT ON": "release the protection at the chamber's panel",
    "ADDR ERR": "check `address` in the options",
    "DATA OUT OF RANGE": "change the alarm limits at the chamber, or the protocol",
}


class EspecOptions(DriverOptions):
    """Options of an ESPEC chamber in a lab file.

    Attributes:
        address: RS-485 address, 1 to 16; none on RS-232C and LAN.
        old_protocol: the chamber answers a question with `OK:` and its echo, and the data on a
            second line (protocol setting "OLD").
    """

    address: int | None = Field(default=None, ge=1, le=16)
    old_protocol: bool = False


class Espec(Chamber[TextLine]):
    """ESPEC chambers with a P-300, SCP-220 or ES-102 controller, in constant mode."""

    # The guide wants a pause of 0.3 s after a question and 0.5 s after a setting.
    settings = LineSettings(terminator=b"\r\n", timeout_s=1.0, gap_s=0.5)
    Options = EspecOptions

    def __init__(self, line: TextLine, options: EspecOptions | None = None) -> None:
        super().__init__(line, options)
        self.options: EspecOptions
        self._is_humid = False

    def identify(self) -> Identity:
        """Ask for the ROM version, and for the sensors, which no other family answers alike.

        There is no serial number on the wire.
        """
        rom = self._ask("ROM?")
        sensors = self._ask("TYPE?")
        if not re.fullmatch(r"\w+(,\w+){1,2}, *\d+(\.\d+)?", sensors):
            raise BadReply(f"no ESPEC chamber answers: TYPE? is {sensors!r}")
        self._is_humid = sensors.count(",") == 3  # a dry sensor and a wet one
        model, _, firmware = rom.partition("Ver")
        return Identity("ESPEC", model.strip(" ,"), firmware=firmware.strip(" ."))

    def read(self) -> Mapping[int, Reading]:
        """Read the chamber: temperature, humidity (empty without a wet sensor), mode, alarms."""
        fields = self._ask_fields("MON?", 4)
        reading = Reading(
            temperature_degC=_measured(fields[0], PLAUSIBLE_DEGC),
            humidity_pct=_measured(fields[1], PLAUSIBLE_PCT) if fields[1] else nan,
            output_on=fields[2].startswith(CONDITIONING),
            fault="" if fields[3] == "0" else self._alarms(),
        )
        return {1: reading}

    def range(self, channel: int) -> Range:
        """The alarm limits: the chamber refuses setpoints beyond them."""
        return Range(temperature_degC=self._limits(), humidity_pct=self._humidity_limits())

    def _limits(self) -> Span:
        _, _, high, low = self._temperatures()
        if not low < high:  # neither for nan
            raise BadReply(f"the alarm limits are {low:g} and {high:g} degC")
        return low, high

    def _humidity_limits(self) -> Span | None:
        if not self._is_humid:
            return None
        high, low = (_number(field) for field in self._ask_fields("HUMI?", 4)[2:])
        return low, high

    def set_temperature(self, degC: float) -> None:
        """Setpoint first, then mode: conditioning would else start towards the old one."""
        low, high = self._limits()
        if not low <= degC <= high:
            raise InstrumentRefused(
                f"{degC:g} degC is beyond the chamber's alarm limits, {low:g} to {high:g} degC",
                remedy=REMEDIES["DATA OUT OF RANGE"],
            )
        self._set(f"TEMP, S{degC:.1f}")
        setpoint = self._temperatures()[1]
        if not abs(setpoint - degC) <= READBACK_K:
            raise ReadbackMismatch(f"the setpoint is {setpoint:g} degC, not {degC:g} degC")
        self._set_mode("CONSTANT")

    def set_humidity(self, pct: float) -> None:
        """The setpoint switches the regulation on; the question says `OFF` where it is not."""
        self._set(f"HUMI, S{pct:.1f}")
        setpoint = self._ask_fields("HUMI?", 4)[1]
        if setpoint == "OFF" or not abs(_number(setpoint) - pct) <= READBACK_PCT:
            raise ReadbackMismatch(f"the humidity's setpoint is {setpoint}, not {pct:g} %")

    def off(self, channel: int) -> None:
        """Stop conditioning; the controller stays awake."""
        self._set_mode("STANDBY")

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        """The setting of `off`; its echo is the proof, since a second message must wait 0.5 s."""
        message = self._addressed("MODE,STANDBY").encode() + b"\r\n"
        return (Exchange(message, rb"OK: *(\d+, *)?MODE, *STANDBY *\r\n"),)

    def _set_mode(self, mode: str) -> None:
        self._set(f"MODE,{mode}")
        found = self._ask("MODE?")
        if found != mode:
            raise ReadbackMismatch(f"the chamber's mode is {found}, not {mode}")

    def _temperatures(self) -> list[float]:
        """Temperature, setpoint, upper and lower alarm limit, in degC."""
        return [_number(field) for field in self._ask_fields("TEMP?", 4)]

    def _alarms(self) -> str:
        """The codes of the alarms: `2,5,11` are two, 5 and 11."""
        codes = self._ask("ALARM?").split(",")[1:]
        return f"alarm {', '.join(codes)}" if codes else ""

    def _ask_fields(self, question: str, count: int) -> list[str]:
        fields = [field.strip() for field in self._ask(question).split(",")]
        if len(fields) != count:
            raise BadReply(f"{question} is answered with {len(fields)} fields, not {count}")
        return fields

    def _ask(self, question: str) -> str:
        reply = self._exchange(question)
        if self.options.old_protocol:
            _check_echo(question, reply)
            return _checked(question, self.line.read_line())
        if reply.startswith("OK:"):
            raise BadReply(
                f"{question} is answered {reply!r}",
                remedy="if it always is, set `old_protocol: true` in the options",
            )
        return reply

    def _set(self, setting: str) -> None:
        _check_echo(setting, self._exchange(setting))

    def _exchange(self, message: str) -> str:
        return _checked(message, self.line.ask(self._addressed(message)))

    def _addressed(self, message: str) -> str:
        return message if self.options.address is None else f"{self.options.address},{message}"


def _checked(message: str, reply: str) -> str:
    """The reply, unless it is an error.

    Raises:
        InstrumentRefused: `NA:` and the error's name.
    """
    if not reply.startswith("NA:"):
        return reply.strip()
    error = reply[3:].replace("_", " ").strip()
    name = re.sub(r"-\d+$", "", error)
    meaning = MEANINGS.get(name, "an error that the manual does not list")
    raise InstrumentRefused(f"{message}: {meaning} ({error})", remedy=REMEDIES.get(name, ""))


def _check_echo(message: str, reply: str) -> None:
    """`OK:`, the address if there is one, and the message itself; blanks do not count."""
    echo = re.fullmatch(r"OK:(?:\d+,)?(.*)", reply.replace(" ", ""))
    if echo is None or echo[1] != message.replace(" ", ""):
        raise BadReply(f"{message} is answered {reply!r}")


def _measured(field: str, plausible: Span) -> float:
    """As `_number`; nan for what no sensor of a chamber can show, such as a broken one."""
    value = _number(field)
    return value if plausible[0] <= value <= plausible[1] else nan


def _number(field: str) -> float:
    if not NUMBER.fullmatch(field):  # float() takes blanks, underscores and "nan" as well
        raise BadReply(f"{field!r} is not a number")
    return float(field)
