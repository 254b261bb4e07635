"""BINDER climate chambers (MK, MKF, KBF ...) with an MB1 or MB2 controller: Modbus RTU.

RTU frames go over RS-422 (9600 8N1), or raw, with their CRC, over the chamber's TCP port 10001
(`modbus+rtu+tcp://`), which serves one connection at a time. float32 values are two words, the
LOW word first. There is no communication watchdog, and an alarm is reset at the panel only.

The maker's "Interface Technical Specifications" (Art. 7001-0242) is not public. The addresses are
those that public clients (ovenctl, basil, an MKFT 115 client) and memory dumps of a real MB1 show.
Rows marked UNCONFIRMED rest on a single client and want a look at the chamber before unattended
use. Only manual mode is used: a program that was started at an MB2's panel goes on.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from daq.bus.line import Exchange, LineSettings, RegisterLine
from daq.driver import Chamber, DriverOptions, Range
from daq.errors import BadReply, InstrumentRefused, ReadbackMismatch, UnitError
from daq.model import Identity, Reading, Span
from daq.units import TEMPERATURE, parse

READBACK_K = READBACK_PCT = 0.05
"""How far a setpoint may be from what was written: half a digit of the panel."""

PLAUSIBLE_DEGC = (-100.0, 250.0)
PLAUSIBLE_PCT = (-1.0, 110.0)
"""What a chamber's sensors can show; anything else is no measurement, or another register."""


@dataclass(frozen=True, slots=True)
class Registers:
    """Where a controller keeps what. W: one word; F: float32 in two, low word first.

    Attributes:
        temperature, humidity: F, R. Process values in degC and % r.h.
        setpoints: F, RW. All of them are written, before conditioning starts.
        switch: W, RW. Under `mask` it reads `running` or, for OFF, `idle`.
        humidity_setpoints: F, RW, in % r.h.
        humidity_off: bits of `switch` that keep the chamber from regulating its humidity.
        identity: 30 W, R, two characters a word; None where no identity is known.
        alarm: 20 W, R, one character a word; blank when there is neither alarm nor note.
        door: W, R, bit 0 set while the door is open.
    """

    name: str
    temperature: int
    humidity: int
    setpoints: tuple[int, ...]
    switch: int
    mask: int
    running: int
    idle: int
    humidity_setpoints: tuple[int, ...]
    humidity_off: int = 0
    identity: int | None = None
    alarm: int | None = None
    door: int | None = None


MB1 = Registers(
    name="MB1",
    temperature=0x11A9,
    humidity=0x11CD,
    # Manual and basic mode. The chamber keeps its temperature if somebody changes the mode.
    setpoints=(0x1581, 0x156F),
    switch=0x1A22,  # 0x1000 basic, 0x0800 manual, 0x0400 program, 0 idle
    mask=0xFFFF,
    running=0x0800,
    idle=0x0000,
    humidity_setpoints=(0x1583, 0x1571),  # manual, basic; one client has them the other way round
    identity=0x0000,  # firmware, "Binder", build date: undocumented, as found in dumps
    alarm=0x1228,
    door=0x1007,  # one MK 53 is said not to set it; the note "DOOR OPEN" then speaks
)

MB2 = Registers(
    name="MB2",
    temperature=0x1004,
    humidity=0x100A,  # UNCONFIRMED
    setpoints=(0x114C,),  # manual
    switch=0x1158,  # operation contacts; bit 1 set: idle. UNCONFIRMED
    mask=0x0002,
    running=0x0000,
    idle=0x0002,
    humidity_setpoints=(0x114E,),  # manual. UNCONFIRMED
    humidity_off=0x0001,  # UNCONFIRMED
)

CONTROLLERS = {"mb1": MB1, "mb2": MB2}


def _degC(value: Any) -> float:
    try:
        return parse(value, TEMPERATURE)
    except UnitError as error:
        raise ValueError(str(error)) from error  # what pydantic gathers


def _rising(span: Span) -> Span:
    if not span[0] < span[1]:
        raise ValueError(f"{span[0]:g} is not below {span[1]:g}")
    return span


Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Temperature = Annotated[float, BeforeValidator(_degC)]
TemperatureSpan = Annotated[tuple[Temperature, Temperature], AfterValidator(_rising)]


class BinderOptions(DriverOptions):
    """Options of a BINDER chamber in a lab file.

    Attributes:
        controller: which controller the chamber has; the MK 56 and newer have an MB2.
        humidity: whether the chamber has humidity (MKF, KBF, KMF).
        humidity_range: relative humidities that may be asked for, in %; the default is what all of
            these models can do at room temperature.
        temperature: setpoints that may be asked for; the default is the rated range of an MK 53.
            What a controller does beyond its range is not documented.
    """

    controller: Literal["mb1", "mb2"] = "mb2"
    humidity: bool = False
    humidity_range: Annotated[tuple[Percent, Percent], AfterValidator(_rising)] = (10.0, 80.0)
    temperature: TemperatureSpan = (-40.0, 180.0)


class Binder(Chamber[RegisterLine]):
    """BINDER chambers (MK, MKF, KBF ...) with an MB1 or MB2 controller, in manual mode."""

    # The controller answers within 250 ms (its specification); the way back takes its time too.
    settings = LineSettings(timeout_s=0.5, baud=9600, unit=1)
    Options = BinderOptions

    def __init__(self, line: RegisterLine, options: BinderOptions | None = None) -> None:
        super().__init__(line, options)
        self.options: BinderOptions
        self._registers = CONTROLLERS[self.options.controller]
        self._switch = 0

    def identify(self) -> Identity:
        """Read the MB1's identity words; an MB2 is known by a plausible temperature alone.

        Neither tells a serial number: one chamber cannot be told from another of its kind.
        """
        firmware = self._read_firmware()
        temperature = self._read_float(self._registers.temperature)
        if not PLAUSIBLE_DEGC[0] <= temperature <= PLAUSIBLE_DEGC[1]:
            raise BadReply(
                f"the temperature register of a {self._registers.name} holds {temperature:g} degC",
                remedy="is `controller` in the options right: mb1 or mb2?",
            )
        return Identity("BINDER", self._registers.name, firmware=firmware)

    def setup(self) -> None:
        """Learn the switches that OFF must leave as they are."""
        self._read_switch()

    def read(self) -> Mapping[int, Reading]:
        """Read the chamber; an alarm, a note or an open door is a fault.

        An RTU reply does not say what it answers: no two questions of one length follow each
        other, so that a reply that comes twice never fits the next question.
        """
        registers = self._registers
        temperature = self._measured(registers.temperature, PLAUSIBLE_DEGC)
        output_on = self._read_switch() != registers.idle
        humidity = self._humidity() if self.options.humidity else nan
        reading = Reading(
            temperature_degC=temperature,
            humidity_pct=humidity,
            output_on=output_on,
            fault=self._read_fault(),
        )
        return {1: reading}

    def range(self, channel: int) -> Range:
        """The setpoints that the options allow; the controller does not tell its own."""
        return self.known_range(self.options)

    @classmethod
    def known_range(cls, options: BinderOptions) -> Range:
        """All that there is to know."""
        humidity_pct = options.humidity_range if options.humidity else None
        return Range(temperature_degC=options.temperature, humidity_pct=humidity_pct)

    def set_temperature(self, degC: float) -> None:
        """Write every setpoint first: conditioning would else start towards the old one."""
        low, high = self.options.temperature
        if not low <= degC <= high:
            raise InstrumentRefused(
                f"{degC:g} degC is outside the chamber's {low:g} to {high:g} degC",
                remedy="the range is `temperature` in the options",
            )
        for address in self._registers.setpoints:
            self._write_setpoint(address, degC, "degC", READBACK_K)
        self._turn(self._registers.running)

    def set_humidity(self, pct: float) -> None:
        """Write every setpoint, and on an MB2 the contact; UNCONFIRMED, see the registers."""
        low, high = self.options.humidity_range
        if not (self.options.humidity and low <= pct <= high):
            raise InstrumentRefused(
                f"{pct:g} % r.h. is not what this chamber can be asked for",
                remedy="see `humidity` and `humidity_range` in the options",
            )
        for address in self._registers.humidity_setpoints:
            self._write_setpoint(address, pct, "% r.h.", READBACK_PCT)
        if self._registers.humidity_off:
            self._regulate_humidity()

    def _regulate_humidity(self) -> None:
        """Clear the contact; whether the chamber runs or idles stays as it is."""
        off, address = self._registers.humidity_off, self._registers.switch
        self._read_switch()
        self.line.write_one(address, self._switch & ~off)
        self._read_switch()
        if self._switch & off:
            raise ReadbackMismatch(f"register {address:#06x} still says that humidity is off")

    def off(self, channel: int) -> None:
        """Stop conditioning: mode idle (MB1), contact "idle" (MB2)."""
        self._turn(self._registers.idle)

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        """The write of `off`; on an MB2 with the contacts as they were read last."""
        word = self._with_state(self._registers.idle)
        return (self.line.write_exchange(self._registers.switch, [word]),)

    def _turn(self, state: int) -> None:
        self.line.write_one(self._registers.switch, self._with_state(state))
        found = self._read_switch()
        if found != state:
            raise ReadbackMismatch(
                f"register {self._registers.switch:#06x} was to be {state:#06x} "
                f"under {self._registers.mask:#06x} and is {found:#06x}"
            )

    def _with_state(self, state: int) -> int:
        return self._switch & ~self._registers.mask | state

    def _read_switch(self) -> int:
        """The bits that say running or idle; the others are kept for the next write."""
        self._switch = self.line.read(self._registers.switch)[0]
        return self._switch & self._registers.mask

    def _write_setpoint(self, address: int, value: float, unit: str, error: float) -> None:
        self.line.write(address, to_words(value))
        found = self._read_float(address)
        if not abs(found - value) <= error:
            message = f"setpoint {address:#06x} is {found:g} {unit}, not {value:g} {unit}"
            raise ReadbackMismatch(message)

    def _read_float(self, address: int) -> float:
        return from_words(self.line.read(address, 2))

    def _measured(self, address: int, plausible: Span) -> float:
        value = self._read_float(address)
        return value if plausible[0] <= value <= plausible[1] else nan

    def _humidity(self) -> float:
        humidity = self._measured(self._registers.humidity, PLAUSIBLE_PCT)
        if self._registers.alarm is None:
            self._read_switch()  # else the next question would be for two words again
        return humidity

    def _read_fault(self) -> str:
        registers = self._registers
        if registers.alarm is None or registers.door is None:
            return ""  # an MB2's alarms are not known to be on the wire
        text = "".join(chr(word & 0xFF) for word in self.line.read(registers.alarm, 20))
        is_open = self.line.read(registers.door)[0] & 1
        return _printable(text) or ("DOOR OPEN" if is_open else "")

    def _read_firmware(self) -> str:
        """The MB1's firmware and its build date; the maker's name must stand between them."""
        if self._registers.identity is None:
            return ""
        try:
            words = self.line.read(self._registers.identity, 30)
        except InstrumentRefused:
            return ""  # the words are undocumented: other firmware may lack them
        text = struct.pack(">30H", *words).decode("latin-1")
        if "binder" not in text[0x26:0x2E].lower():
            raise BadReply(f"no BINDER MB1 answers: its identity words are {text!r}")
        return f"{_printable(text[:10])} ({_printable(text[0x2E:])})"


def _printable(text: str) -> str:
    """Words are filled up with blanks or zeros; neither they nor stray bytes belong to a name."""
    return "".join(letter for letter in text if letter.isprintable()).strip()


def to_words(value: float) -> list[int]:
    """float32 as the two registers of a BINDER controller, low word first."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return [low, high]


def from_words(words: Sequence[int]) -> float:
    """The float32 in two registers, low word first."""
    low, high = words
    return struct.unpack(">f", struct.pack(">HH", high, low))[0]
