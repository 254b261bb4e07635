"""The simulators under a hostile client: a test bench that falls over proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulators.binder import Binder
from simulators.cell import Cell
from simulators.chamber import ChamberModel
from simulators.clock import ManualClock
from simulators.ea_psb import EaPsb
from simulators.espec import Espec
from simulators.keysight_aps import KeysightAps
from simulators.modbus import MbapSession, RtuSession
from simulators.modbus_io import ModbusIo
from simulators.palmsens import PalmSens
from simulators.rig import Position

STEPS = 4


def _talk(box: Any, session: Any, clock: ManualClock, data: bytes) -> None:
    """Feed the bytes in a few pieces, with time between them."""
    size = len(data) // STEPS + 1
    for start in range(0, len(data), size):
        for out in session.feed(data[start : start + size]):
            assert isinstance(out.data, bytes)
        clock.advance(0.05)
        box.advance()
        list(session.tick())
    session.close()


def _of_cell(make: Callable[..., Any]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        clock = ManualClock()
        box = make("box", clock, {1: Position(Cell("nmc", 2.5, 0.5), clock, owner="box/1")}, {})
        _talk(box, box.session(), clock, data)

    return run


def espec(data: bytes) -> None:
    clock = ManualClock()
    box = Espec("box", clock, {1: ChamberModel(clock)}, {"humidity": True})
    _talk(box, box.session(), clock, data)


def modbus(data: bytes) -> None:
    """First byte: controller and framing."""
    choice = data[0] if data else 0
    clock = ManualClock()
    box = Binder("box", clock, {1: ChamberModel(clock)}, {"controller": ("mb1", "mb2")[choice & 1]})
    session = RtuSession(box, clock) if choice & 2 else MbapSession(box)
    _talk(box, session, clock, data[1:])


def modbus_io(data: bytes) -> None:
    """First byte: framing."""
    clock = ManualClock()
    box = ModbusIo("box", clock, {1: Position(Cell("nmc", 2.5, 0.5), clock, owner="box/1")}, {})
    session = RtuSession(box, clock) if data[:1] > b"\x7f" else MbapSession(box)
    _talk(box, session, clock, data[1:])


keysight = _of_cell(KeysightAps)
ea_psb = _of_cell(EaPsb)
palmsens = _of_cell(PalmSens)
