"""Keysight DAQ970A, 34970A, 34972A, 34980A: scanners for thermocouples, RTDs and voltages, SCPI.

The channel numbers are the instrument's own: `logger.103` is channel 3 of slot 1. A scan of many
channels takes longer than anybody may wait for a reply, so the instrument scans by itself, by its
own timer, into its memory, and a reading takes out what has come since the last one (`R?`, a block
of definite length). Where nothing has come there is no reading: an old one is never given out
twice. A new scan, which every connection starts, clears the memory.

UNCONFIRMED (not on a page that was seen): port 5025, `TRIG:COUN INF`, that `ABOR` is harmless where
nothing runs, how many digits a channel number has in the block, and that a 34970A agrees with a
DAQ970A in all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import nan
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from daq.bus.line import LineSettings, TextLine
from daq.driver import DriverOptions, Logger
from daq.errors import BadReply, InstrumentRefused, ReadbackMismatch, UnitError
from daq.model import Identity, Reading
from daq.units import TIME, parse

MODELS = re.compile(r"DAQ97\dA|3497\dA|34980A")
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(E[+-]?\d+)?", re.IGNORECASE)
BLOCK = re.compile(r"#(\d)(.*)", re.DOTALL)
OVERLOAD = 9.9e37
"""Also an open thermocouple: both are no measurement."""
ERRORS_AT_MOST = 30

Channel = Annotated[int, Field(ge=101, le=899)]
Channels = tuple[Channel, ...]
Thermocouple = Literal["B", "E", "J", "K", "N", "R", "S", "T"]


def _seconds(value: Any) -> float:
    try:
        return parse(value, TIME)
    except UnitError as error:
        raise ValueError(str(error)) from error  # what pydantic gathers


class KeysightDaq970aOptions(DriverOptions):
    """Options of a scanner in a lab file: what is wired where.

    Attributes:
        thermocouples: type -> channels; the reference is the module's own.
        rtds: channels of four-wire Pt100 (alpha 0.00385).
        voltages: channels.
        interval: of the scan; not longer than the instrument's `period`.
    """

    thermocouples: dict[Thermocouple, Channels] = Field(
        default_factory=dict[Thermocouple, Channels]
    )
    rtds: Channels = ()
    voltages: Channels = ()
    interval: Annotated[float, BeforeValidator(_seconds), Field(ge=0.05, le=3600.0)] = 1.0

    @property
    def temperatures(self) -> Channels:
        """All channels that measure one."""
        return (*(one for wired in self.thermocouples.values() for one in wired), *self.rtds)

    @model_validator(mode="after")
    def _each_channel_once(self) -> KeysightDaq970aOptions:
        wired = (*self.temperatures, *self.voltages)
        if not wired:
            raise ValueError("no channel is wired: give `thermocouples`, `rtds` or `voltages`")
        if twice := [channel for channel in wired if wired.count(channel) > 1]:
            raise ValueError(f"channel {twice[0]} is wired twice")
        return self


class KeysightDaq970a(Logger[TextLine]):
    """Keysight DAQ970A, 34970A, 34972A and 34980A scanners; `setup` starts the scan."""

    settings = LineSettings(timeout_s=0.5)
    Options = KeysightDaq970aOptions

    def __init__(self, line: TextLine, options: KeysightDaq970aOptions) -> None:
        super().__init__(line, options)
        self.options: KeysightDaq970aOptions
        self.channels = sorted((*options.temperatures, *options.voltages))

    def identify(self) -> Identity:
        """See `Driver.identify`."""
        fields = [field.strip() for field in self.line.ask("*IDN?").split(",")]
        if len(fields) != 4 or not MODELS.match(fields[1]):
            raise BadReply(f"not a DAQ970A, 34970A, 34972A or 34980A: {','.join(fields)!r}")
        return Identity(*fields)

    def setup(self) -> None:
        """Configure every channel, then the scan list, which `CONF` replaces, and start."""
        self.line.tell("ABOR")
        self._drain_errors()
        for command in (*self._configured(), *self._scan()):
            self._tell(command)
        size = self.line.ask("ROUT:SCAN:SIZE?")
        if not NUMBER.fullmatch(size) or float(size) != len(self.channels):
            raise ReadbackMismatch(f"{len(self.channels)} channels are to be scanned, not {size}")
        self._tell("INIT")

    def read(self) -> Mapping[int, Reading]:
        """What was scanned since the last reading; {} where nothing was."""
        latest = dict(self._taken(self.line.ask("R?")))
        return {channel: self._reading(channel, value) for channel, value in latest.items()}

    def _reading(self, channel: int, value: float) -> Reading:
        if channel in self.options.voltages:
            return Reading(voltage_V=value)
        return Reading(temperature_degC=value)

    def _taken(self, block: str) -> Iterator[tuple[int, float]]:
        """Channel and value, oldest first, of a block such as `#236+2.38E+01,101,+2.39E+01,102`."""
        fields = _content(block).split(",") if block != "#10" else []
        if len(fields) % 2:
            raise BadReply(f"values and their channels were asked for: {block!r}")
        for value, channel in zip(fields[::2], fields[1::2], strict=True):
            number = _number(channel)
            if number not in self.channels:
                raise BadReply(f"channel {channel} is none of those that are scanned")
            measured = _number(value)
            yield int(number), measured if abs(measured) < OVERLOAD else nan

    def _configured(self) -> Iterator[str]:
        for kind, channels in self.options.thermocouples.items():
            yield f"CONF:TEMP TC,{kind},1,DEF,{_list(channels)}"
        if self.options.rtds:
            yield f"CONF:TEMP FRTD,85,1,DEF,{_list(self.options.rtds)}"
        if self.options.voltages:
            yield f"CONF:VOLT:DC AUTO,DEF,{_list(self.options.voltages)}"
        if self.options.temperatures:
            yield f"UNIT:TEMP C,{_list(self.options.temperatures)}"

    def _scan(self) -> Iterator[str]:
        """`CONF` switches the channel's number off in the format, so that comes last."""
        yield f"ROUT:SCAN {_list(self.channels)}"
        yield "TRIG:SOUR TIM"
        yield f"TRIG:TIM {self.options.interval:.6g}"
        yield "TRIG:COUN INF"
        for field in ("TIME", "ALAR", "UNIT"):
            yield f"FORM:READ:{field} OFF"
        yield "FORM:READ:CHAN ON"

    def _tell(self, command: str) -> None:
        self.line.tell(command)
        if not (error := self.line.ask("SYST:ERR?")).startswith("+0,"):
            raise InstrumentRefused(f"{command}: {error}")

    def _drain_errors(self) -> None:
        for _ in range(ERRORS_AT_MOST):
            if self.line.ask("SYST:ERR?").startswith("+0,"):
                return
        raise BadReply(f"the error queue is not empty after {ERRORS_AT_MOST} errors")


def _list(channels: Any) -> str:
    return f"(@{','.join(str(channel) for channel in channels)})"


def _content(block: str) -> str:
    """What a block of definite length holds: `#`, how many digits, the length, the bytes."""
    match = BLOCK.fullmatch(block)
    digits = int(match[1]) if match else 0
    length, content = (match[2][:digits], match[2][digits:]) if match else ("", "")
    if not digits or not length.isdecimal() or len(content) != int(length):
        raise BadReply(f"not a block of definite length: {block[:40]!r}")
    return content


def _number(text: str) -> float:
    """A number; float() would take blanks, underscores and "nan" as well."""
    if not NUMBER.fullmatch(text):
        raise BadReply(f"not a number: {text!r}")
    return float(text)
