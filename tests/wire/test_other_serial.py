"""Another unit of the same model at the address where one was before."""

from __future__ import annotations

import time

import pytest

from daq.bus.resource import make_line, parse_resource
from daq.control.instrument import URGENT_PAUSE_S, Instrument, InstrumentSpec
from daq.driver import find_driver
from daq.errors import InstrumentError, LinkDown, WrongIdentity
from simulators.client import running_bench

CLASSES = {"keysight_aps": "drivers.keysight_aps:KeysightAps", "ea_psb": "drivers.ea_psb:EaPsb"}


class Listener:
    """Remembers what went wrong."""

    def __init__(self) -> None:
        self.errors: list[InstrumentError] = []

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        self.errors.append(error)

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        raise AssertionError("another unit was taken for the one before")


def bench_file(family: str, serial: str, port: int = 0):
    return {
        "cells": {"cell": {"model": "nmc", "capacity": 2.5}},
        "instruments": {
            "box": {
                "dialect": family,
                "listen": f"tcp://127.0.0.1:{port}",
                "channels": {1: "cell"},
                "options": {"serial": serial},
            }
        },
    }


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=pytest.mark.fault("F22", family=name)) for name in CLASSES],
)
def test_a_unit_with_another_serial_number_is_refused_and_told_nothing(family: str) -> None:
    listener = Listener()
    driver_class = find_driver(CLASSES[family])
    with running_bench(bench_file(family, "A1")) as bench:
        host, port = bench.endpoint("box")
        resource = f"TCPIP::{host}::{port}::SOCKET"
        line = make_line(parse_resource(resource), driver_class.settings)
        spec = InstrumentSpec("box", family, resource, 0.1)
        instrument = Instrument(spec, line, driver_class(line), listener)
        assert instrument.ready()
        assert instrument.identity is not None
        assert instrument.identity.serial == "A1"
    assert instrument.read() == {}
    with running_bench(bench_file(family, "B2", port)) as other:
        assert not instrument.reopen_now()
        heard = [text for _, way, text in other.tape("box") if way == "heard"]
        assert heard == ["*IDN?\n"]
        assert other.ledger("cell")["edges"] == []
        time.sleep(URGENT_PAUSE_S)
        assert not instrument.reopen_now()  # it is told once, however often it is tried
        assert [type(error) for error in listener.errors] == [LinkDown, WrongIdentity]
        assert "B2 answers" in str(listener.errors[-1])
        instrument.forget_identity()
        assert instrument.ready()
        instrument.close()
