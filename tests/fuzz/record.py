"""First inputs for the corpus: true conversations of drivers and simulators, and true files.

    python -m tests.fuzz.record

writes them; `python -m tests.fuzz.engine` makes more of them. Needed again for a new target.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from daq.bus.modbus import ModbusLine
from daq.bus.session import Session
from daq.bus.text import WireTextLine
from daq.driver import AnyDriver
from drivers.binder import Binder, BinderOptions
from drivers.ea_psb import EaPsb
from drivers.espec import Espec
from drivers.keysight_aps import KeysightAps
from drivers.palmsens import Options, PalmSens
from simulators import binder, ea_psb, espec, keysight_aps, palmsens
from simulators.cell import Cell
from simulators.chamber import ChamberModel
from simulators.clock import ManualClock
from simulators.modbus import MbapSession, RtuSession, crc16
from simulators.rig import Position
from tests.fuzz.driver_targets import CHAMBER, COMMON, CYCLER, POTENTIOSTAT, SEPARATOR, UNIT
from tests.fuzz.targets import CORPUS
from tests.fuzz.text_targets import NOW
from tests.fuzz.wire import Hostile
from tests.unit.test_config import LAB

ROOT = Path(__file__).parents[2]
HEALED = 0.5  # seconds of the bench's time after each message: every answer is out


class Simulated(Hostile):
    """A wire to a simulated instrument that notes each answer."""

    def __init__(self, box: Any, session: Any, clock: ManualClock) -> None:
        super().__init__(())
        self._box, self._session, self._clock = box, session, clock
        self.pieces: list[bytes] = []

    def send(self, data: bytes, deadline: float) -> None:
        outs = list(self._session.feed(data))
        for _ in range(50):
            self._clock.advance(HEALED / 50)
            self._box.advance()
            outs += self._session.tick()
        self.sent.append(data)
        self.pieces.append(b"".join(out.data for out in outs))
        self._waiting += self.pieces[-1]


def converse(driver: AnyDriver, wire: Simulated, verbs: Sequence[Any]) -> bytes:
    """Every verb once, in order; what was said is in the wire."""
    driver.line.open()
    for _, call in verbs:
        call(driver)
    return bytes(range(len(verbs)))


def text_box(box: Any, clock: ManualClock, make: Any, verbs: Sequence[Any]) -> tuple[bytes, bytes]:
    """What the client and what the instrument said."""
    wire = Simulated(box, box.session(), clock)
    driver = make(wire)
    order = converse(driver, wire, verbs)
    return b"".join(wire.sent), SEPARATOR.join([order, *wire.pieces])


def on_cell(make: Any, options: dict[str, Any]) -> tuple[Any, ManualClock]:
    clock = ManualClock()
    lead = Position(Cell("nmc", 2.5, 0.5), clock, owner="cell-1")
    return make("box", clock, {1: lead}, options), clock


def keep(name: str, seed: str, data: bytes) -> None:
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / seed).write_bytes(data)


def record_keysight() -> None:
    for model in ("N6974A", "RP7935A"):
        box, clock = on_cell(keysight_aps.KeysightAps, {"model": model, "serial": "MY1"})
        made = lambda wire: KeysightAps(WireTextLine(Session(wire), KeysightAps.settings))  # noqa: E731
        sent, said = text_box(box, clock, made, COMMON + CYCLER)
        keep("keysight_aps", model.lower(), said)
        keep("sim_keysight_aps", model.lower(), sent)


def record_ea_psb() -> None:
    box, clock = on_cell(ea_psb.EaPsb, {})
    made = lambda wire: EaPsb(WireTextLine(Session(wire), _eager(EaPsb.settings)))  # noqa: E731
    sent, said = text_box(box, clock, made, COMMON + CYCLER)
    keep("ea_psb", "psb", said)
    keep("sim_ea_psb", "session", sent)


def record_modbus_io() -> None:
    frames = ("01 01 0000 0008", "01 02 0000 0008", "01 05 0000 0000", "01 05 0000 ff00")
    bodies = [bytes.fromhex(frame) for frame in frames]
    keep("sim_modbus_io", "rtu", b"\xff" + b"".join(body + crc16(body) for body in bodies))


def record_palmsens() -> None:
    box, clock = on_cell(palmsens.PalmSens, {"model": "es4_hr"})
    options = Options(read_voltage=True)
    made = lambda wire: PalmSens(WireTextLine(Session(wire), PalmSens.settings), options)  # noqa: E731
    sent, said = text_box(box, clock, made, COMMON + POTENTIOSTAT[:2])
    keep("palmsens", "es4_hr", said)
    keep("sim_palmsens", "es4_hr", sent)
    lines = [line for line in said.split(b"\n") if line.startswith((b"P", b"M", b"*"))]
    keep("methodscript", "sweep", b"\n".join(lines) + b"\n\n")


def record_espec() -> None:
    for old in (False, True):
        clock = ManualClock()
        box = espec.Espec("box", clock, {1: ChamberModel(clock)}, {"old_protocol": old})
        settings = Espec.settings
        option = Espec.Options(old_protocol=old)
        made = lambda wire: Espec(WireTextLine(Session(wire), _eager(settings)), option)  # noqa: B023, E731
        sent, said = text_box(box, clock, made, COMMON + CHAMBER)
        keep("espec", f"old_{old}".lower(), (b"\xff" if old else b"\0") + said)
        keep("sim_espec", f"old_{old}".lower(), sent)


def record_binder() -> None:
    for number, controller in enumerate(("mb1", "mb2")):
        for framing in ("rtu", "tcp"):
            clock = ManualClock()
            option = {"controller": controller, "humidity": True}
            box = binder.Binder("box", clock, {1: ChamberModel(clock)}, option)
            session = RtuSession(box, clock) if framing == "rtu" else MbapSession(box)
            wire = Simulated(box, session, clock)
            line = ModbusLine(Session(wire), _eager(Binder.settings, unit=UNIT), framing)
            order = converse(Binder(line, BinderOptions(**option)), wire, COMMON + CHAMBER)
            said = b"".join(bytes([len(piece)]) + piece for piece in wire.pieces)
            choice = number | 2 | 4 * (framing == "tcp")
            keep(
                "binder", f"{controller}_{framing}", bytes([choice]) + order.ljust(8, b"\0") + said
            )
            keep("sim_modbus", f"{controller}_{framing}",
                 bytes([number | 2 * (framing == "rtu")]) + b"".join(wire.sent))  # fmt: skip
    good = b"\x03\x04\x00\x00\x41\xbc"
    piece = bytes([0x80 | len(good)]) + good
    for framing in ("modbus_rtu", "modbus_tcp"):
        keep(framing, "reads", bytes([1, 1, 0x41, 0x81]) + piece * 2 + b"\x85\x06\0\x41\0\7"
             + b"\x85\x10\0\x81\0\2" + b"\x82\x83\x02")  # fmt: skip
    keep("text_line", "lines", b"\0\1\2\3\0" + SEPARATOR + b"a\nb\nc\n" + SEPARATOR + b"d\n")


def _eager(settings: Any, **changes: Any) -> Any:
    return replace(settings, gap_s=0.0, **changes)


def record_texts() -> None:
    for file in (ROOT / "config").glob("*.yaml"):
        if "lab:" in file.read_text():
            keep("lab", file.stem, file.read_bytes())
        keep("yaml", file.stem, file.read_bytes()[:4000])
    keep("lab", "small", LAB.encode())
    for file in (ROOT / "protocols").glob("*.yaml"):
        keep("protocol", file.stem, file.read_bytes())
    basic = {"id": "c-1", "client": "ana", "station": "A1", "issued": NOW - 1, "expires": NOW + 9}
    start = basic | {"cell": "c7", "protocol": "formation.yaml", "parameters": {"v": "4.2 V"}}
    keep("envelope", "stop", b"\x03" + json.dumps(basic | {"reason": "lunch"}).encode())
    keep("gate", "signed", b"\x80" + json.dumps(basic).encode())
    keep("gate", "unsigned", b"\x46" + json.dumps(basic).encode())
    forged = {"client": "ana", "signed": json.dumps(basic), "signature": "0" * 64}
    keep("gate", "forged", b"\x00" + json.dumps(forged).encode())
    keep("envelope", "start", b"\x02" + json.dumps(start).encode())
    local = {"verb": "stop", "id": "1", "client": "ana", "station": "A1", "issued_utc_s": NOW,
             "expires_utc_s": None, "arguments": {"n": [1, 2.5, True]}}  # fmt: skip
    keep("local_socket", "stop", json.dumps(local).encode())
    reply = {"id": "1", "state": "done", "reason": "", "data": {"A1": {"voltage_V": 3.7}}}
    keep("local_socket", "reply", json.dumps(reply).encode())
    for number, text in enumerate((
        "TCPIP::10.0.0.21::5025::SOCKET", "ASRL/dev/ttyUSB0::INSTR", "GPIB0::5::INSTR",
        "modbus+tcp://host:502?session=per-exchange", "modbus+rtu:///dev/ttyUSB0", "serial://COM3",
    )):  # fmt: skip
        keep("resource", str(number), text.encode())
    for number, text in enumerate(("4.2 V", "-25.5 degC", "1e3 mV", "298.15 K")):
        keep("units", str(number), text.encode())


def record_state() -> None:
    keep("journal", "header", b"\0\4\2\4\2\2\2\2" + b"\4\0\0\x08" + b"\xff" * 8)
    keep("journal", "cut", b"\x0f\0\0\0")
    keep("notes", "crashes", b"[950.5, 990]")
    keep("notes", "broker", b'{"url": "mqtt://127.0.0.1:18830", "kind": "embedded", "pid": 1}')
    recipe = {"kind": "tcp", "address": "127.0.0.1", "port": 9, "frame": "", "command": [],
              "exchanges": [["4f", "30"]]}  # fmt: skip
    document = {"buses": {"2": "aps1"}, "instruments": {"aps1": recipe}}
    keep("sentinel", "recipes", b"\0" * 24 + b"\n" + json.dumps(document).encode())


if __name__ == "__main__":
    record_keysight()
    record_ea_psb()
    record_modbus_io()
    record_palmsens()
    record_espec()
    record_binder()
    record_texts()
    record_state()
