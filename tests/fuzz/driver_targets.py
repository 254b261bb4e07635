"""What an instrument may say: the lines, and each driver's reply parser, under a hostile peer.

A driver returns a value or raises an `InstrumentError`; no value is infinite or SCPI's 9.9E37; and
nothing but the verb that energises ever sends the bytes that energise.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isnan
from typing import Any

from daq.bus.line import LineSettings
from daq.bus.modbus import Framing, ModbusLine
from daq.bus.session import Session
from daq.bus.text import WireTextLine
from daq.driver import AnyDriver, Range
from daq.errors import InstrumentError
from daq.model import Protection, Reading, Setpoint, Spectrum
from drivers.binder import Binder, BinderOptions
from drivers.ea_psb import EaPsb
from drivers.espec import Espec, EspecOptions
from drivers.keysight_aps import KeysightAps
from drivers.methodscript import Sweep, parse_package
from drivers.palmsens import Options as PalmSensOptions
from drivers.palmsens import PalmSens
from simulators.modbus import crc16
from tests.fuzz.wire import Hostile

SEPARATOR = b"\xfe"
INVALID = 9.9e37
MOST_VERBS = 8
UNIT = 1

Verb = tuple[str, Callable[[AnyDriver], object]]

PROTECTION = Protection((2.5, 4.25), (-1.0, 1.0), 10.0)
SPECTRUM = Spectrum(1e4, 1.0, 2, 0.005)
COMMON: tuple[Verb, ...] = (
    ("identify", lambda driver: driver.identify()),
    ("setup", lambda driver: driver.setup()),
    ("read", lambda driver: driver.read()),
    ("range", lambda driver: driver.range(1)),
    ("off", lambda driver: driver.off(1)),
)
CYCLER: tuple[Verb, ...] = (
    ("protect", lambda driver: driver.protect(1, PROTECTION)),
    ("apply", lambda driver: driver.apply(1, Setpoint(4.2, 0.5, 0.0))),
    ("on", lambda driver: driver.on(1)),
    ("clear", lambda driver: driver.clear(1)),
)
CHAMBER: tuple[Verb, ...] = (("set_temperature", lambda driver: driver.set_temperature(25.0)),)
POTENTIOSTAT: tuple[Verb, ...] = (
    ("start", lambda driver: driver.start(1, SPECTRUM)),
    ("poll", lambda driver: driver.poll()),
    ("abort", lambda driver: driver.abort()),
)


def session(driver: AnyDriver, wire: Hostile, verbs: Sequence[Verb], order: bytes, on: str) -> None:
    """Let a driver do the verbs in that order, as the control loop would: reopened after errors.

    Args:
        on: regular expression of what energises; only `on`, `start`, `set_temperature` may send it.
    """
    driver.line.open()
    for byte in order[:MOST_VERBS]:
        name, call = verbs[byte % len(verbs)]
        before = len(wire.sent)
        try:
            judge(call(driver))
        except InstrumentError:
            driver.line.close()
            driver.line.open()
        sent = b"\n".join(wire.sent[before:])
        if name not in ("on", "start", "set_temperature"):
            assert not re.search(on.encode("latin-1"), sent, re.DOTALL), f"{name} sent {sent!r}"
    recipe = driver.off_exchanges(1)
    assert recipe and all(re.compile(exchange.expect) for exchange in recipe)


def judge(result: object) -> None:
    """Nothing that is not a number, and no infinity, may look like a value."""
    if isinstance(result, Mapping):
        for reading in result.values():
            _judge_reading(reading)
    if isinstance(result, Range):
        for low, high in (result.voltage_V, result.current_A, result.temperature_degC):
            assert low <= high, f"a range from {low} to {high}"


def _judge_reading(reading: Reading) -> None:
    for quantity in ("voltage_V", "current_A", "temperature_degC", "humidity_pct"):
        value = getattr(reading, quantity)
        assert isnan(value) or abs(value) < INVALID, f"{quantity} is {value}"


def text_line(data: bytes, settings: LineSettings) -> tuple[Hostile, WireTextLine, bytes]:
    """A text line; what stands before the first separator is the order of verbs."""
    order, *pieces = data.split(SEPARATOR)
    wire = Hostile(pieces)
    return wire, WireTextLine(Session(wire), replace(settings, gap_s=0.0)), order


def keysight(data: bytes) -> None:
    wire, line, order = text_line(data, KeysightAps.settings)
    session(KeysightAps(line), wire, COMMON + CYCLER, order, r"OUTP(:STAT)? (1|ON)")


def palmsens(data: bytes) -> None:
    wire, line, order = text_line(data, PalmSens.settings)
    options = PalmSensOptions(read_voltage=True)
    session(PalmSens(line, options), wire, COMMON + POTENTIOSTAT, order, "cell_on")


def ea_psb(data: bytes) -> None:
    wire, line, order = text_line(data, EaPsb.settings)
    session(EaPsb(line), wire, COMMON + CYCLER, order, "OUTP(:STAT)? (1|ON)")


def espec(data: bytes) -> None:
    wire, line, order = text_line(data[1:], Espec.settings)
    options = EspecOptions(old_protocol=bool(data[:1] > b"\x7f"))
    session(Espec(line, options), wire, COMMON + CHAMBER, order, "MODE, *CONSTANT")


def methodscript(data: bytes) -> None:
    """The packages of a sweep, line by line, without a line."""
    sweep = Sweep(1, 10)
    for line in data.decode("ascii", "replace").split("\n"):
        with suppress(InstrumentError):
            for variable in parse_package(line):
                assert isnan(variable.value) or abs(variable.value) < INVALID
        with suppress(InstrumentError):
            sweep.take(line)
    for point in sweep.points():
        parts = (point.frequency_Hz, point.z_real_ohm, point.z_imag_ohm)
        assert all(abs(value) < INVALID for value in parts), point


USES: tuple[Callable[[WireTextLine], list[str]], ...] = (
    lambda line: [line.ask("?")],
    lambda line: [line.read_line()],
    lambda line: line.read_ready(),
    lambda line: line.tell("!") or [],
)


def text_line_alone(data: bytes) -> None:
    """A text line by itself: what it returns has been said, whole and without its end."""
    wire, line, order = text_line(data, LineSettings(terminator=b"\r\n", read_terminator=b"\n"))
    line.open()
    for byte in order[:MOST_VERBS]:
        try:
            lines = USES[byte % len(USES)](line)
        except InstrumentError:
            line.close()
            line.open()
            continue
        for text in lines:
            assert "\n" not in text
            assert text.encode() + b"\n" in wire.said


# Modbus.


def modbus_pieces(data: bytes, framing: Framing) -> Iterator[bytes]:
    """Length-prefixed pieces; one whose first bit is set gets a header or checksum that is right.

    Random bytes have the right checksum once in 65,536 times: nothing behind it would be reached.
    """
    number = 0
    while data:
        head, data = data[0], data[1:]
        piece, data = data[: head & 0x7F], data[head & 0x7F :]
        number += 1
        if head & 0x80:
            body = bytes([UNIT]) + piece
            header = struct.pack(">HHH", number & 0xFFFF, 0, len(body))
            piece = header + body if framing == "tcp" else body + crc16(body)
        yield piece


def modbus_line(data: bytes, framing: Framing) -> tuple[Hostile, ModbusLine]:
    wire = Hostile(modbus_pieces(data, framing))
    return wire, ModbusLine(Session(wire), LineSettings(unit=UNIT), framing)


def registers(data: bytes, framing: Framing) -> None:
    """The Modbus line by itself, judged by a reader of frames of the test's own."""
    wire, line = modbus_line(data[4:], framing)
    line.open()
    for byte in data[:4]:
        count = byte % 8 + 1
        try:
            if byte & 0xE0 == 0xE0:
                bits = (line.read_coils if byte & 0x10 else line.read_inputs)(byte, count)
                assert len(bits) == count
            elif byte & 0xC0 == 0xC0:
                line.write_coil(byte, bool(byte & 1))
            elif byte & 0x80:
                line.write(byte, [7] * count)
            elif byte & 0x40:
                line.write_one(byte, 7)
            else:
                found = line.read(byte, count)
                assert len(found) == count
                assert _was_said(found, wire, framing), f"{found} is in no frame"
        except InstrumentError:
            line.close()
            line.open()


def _was_said(values: Sequence[int], wire: Hostile, framing: Framing) -> bool:
    """Whether a whole and undamaged frame to the last question holds these values."""
    count = len(values)
    body = struct.pack(f">BBB{count}H", UNIT, 3, 2 * count, *values)
    if framing == "rtu":
        return body + crc16(body) in wire.said
    number = wire.sent[-1][:2]
    return number + struct.pack(">HH", 0, len(body)) + body in wire.said


def modbus_rtu(data: bytes) -> None:
    registers(data, "rtu")


def modbus_tcp(data: bytes) -> None:
    registers(data, "tcp")


def binder(data: bytes) -> None:
    """First byte: which controller, with or without humidity; second: the framing."""
    choice, order, rest = data[:1] or b"\0", data[1:9], data[9:]
    framing: Framing = "tcp" if choice[0] & 4 else "rtu"
    wire, line = modbus_line(rest, framing)
    made: Any = {"controller": ("mb1", "mb2")[choice[0] & 1], "humidity": bool(choice[0] & 2)}
    # An MB2 runs when its contact "idle" (bit 1) is not set; what the others were is kept.
    running = {"mb1": r"\x06\x1a\x22\x08\x00", "mb2": r"\x06\x11\x58.[\x00\x01\x04\x05]"}
    driver = Binder(line, BinderOptions(**made))
    session(driver, wire, COMMON + CHAMBER, order, running[made["controller"]])
