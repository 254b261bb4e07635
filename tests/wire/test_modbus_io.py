"""Contacts and relays against the simulated module, over real sockets.

A relay is wired to the cell of a real cycler's simulation: what it breaks is read from the ledger.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from daq.bus.resource import make_line, parse_resource
from daq.errors import InstrumentRefused, NoReply, ReadbackMismatch
from drivers.modbus_inputs import ModbusInputs, ModbusInputsOptions
from drivers.modbus_outputs import ModbusOutputs, ModbusOutputsOptions
from drivers.modbus_relays import ModbusRelays, ModbusRelaysOptions
from simulators.client import RunningBench, running_bench

CELL = "cell-1"
SCHEMES = {"io": "modbus+tcp", "rtu": "modbus+rtu+tcp"}
BENCH = {
    "cells": {CELL: {"model": "nmc", "capacity": 2.5}},
    "instruments": {
        "aps": {
            "dialect": "keysight_aps",
            "listen": "tcp://127.0.0.1:0",
            "channels": {1: CELL},
        },
        "io": {
            "dialect": "modbus_io",
            "listen": "modbus+tcp://127.0.0.1:0",
            "channels": {1: CELL},
            "options": {"inputs": 4, "relays": 2},
        },
        "rtu": {
            "dialect": "modbus_io",
            "listen": "modbus+rtu+tcp://127.0.0.1:0",
            "options": {"inputs": 4, "relays": 2},
        },
    },
}
CHARGE = b"CURR:LIM 1;:VOLT 4.2;:OUTP 1;:OUTP?\n"


@pytest.fixture(scope="module")
def bench() -> Iterator[RunningBench]:
    with running_bench(BENCH) as running:
        yield running


@pytest.fixture(params=SCHEMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def connect(bench: RunningBench, name: str, driver_class, options):
    host, port = bench.endpoint(name)
    resource = parse_resource(f"{SCHEMES[name]}://{host}:{port}")
    line = make_line(resource, driver_class.settings)
    line.open()
    return driver_class(line, options)


@pytest.fixture
def contacts(bench: RunningBench, name: str) -> Iterator[ModbusInputs]:
    options = ModbusInputsOptions(inputs=4, names={3: "door"})
    driver = connect(bench, name, ModbusInputs, options)
    yield driver
    driver.line.close()
    bench.clear_faults()
    bench.ask("touch", instrument=name, input_3=True)


@pytest.fixture
def relays(bench: RunningBench) -> Iterator[ModbusRelays]:
    driver = connect(bench, "io", ModbusRelays, ModbusRelaysOptions(relays=2))
    yield driver
    driver.line.close()
    bench.clear_faults()
    bench.ask("touch", instrument="io", relay_1=True, relay_2=True)


def test_a_door_that_opens_and_closes_is_seen(
    bench: RunningBench, name: str, contacts: ModbusInputs
) -> None:
    contacts.identify()
    assert {reading.fault for reading in contacts.read().values()} == {""}
    bench.ask("touch", instrument=name, input_3=False)
    assert contacts.read()[3].fault == "door (input 3) is open"
    bench.ask("touch", instrument=name, input_3=True)
    assert contacts.read()[3].fault == ""


def test_a_module_that_is_unplugged_gives_no_state_at_all(
    bench: RunningBench, name: str, contacts: ModbusInputs
) -> None:
    bench.fault(name, "unplugged")
    with pytest.raises(NoReply):
        contacts.read()


def test_more_inputs_than_there_are_are_refused(bench: RunningBench, name: str) -> None:
    driver = connect(bench, name, ModbusInputs, ModbusInputsOptions(inputs=5))
    with pytest.raises(InstrumentRefused, match="no such address"):
        driver.identify()
    driver.line.close()


def charging(bench: RunningBench) -> None:
    with socket.create_connection(bench.endpoint("aps"), 20.0) as supply:
        supply.sendall(CHARGE)
        assert supply.makefile("rb").readline() == b"1\n"
    while bench.state(CELL)["current_A"] < 0.9:
        pass  # the supply's own relay takes 30 ms


def test_a_relay_breaks_the_current_of_whoever_drives_the_cell(
    bench: RunningBench, relays: ModbusRelays
) -> None:
    charging(bench)
    relays.off(1)
    assert relays.read()[1].output_on is False
    broken = bench.ledger(CELL)
    assert not broken["on"]
    assert broken["edges"][-1]["by"] == "io/1"
    assert bench.state(CELL)["current_A"] == 0.0
    assert bench.ledger(CELL)["charged_Ah"] == broken["charged_Ah"]


def test_a_hand_may_close_it_again(bench: RunningBench, relays: ModbusRelays) -> None:
    charging(bench)
    relays.off(1)
    bench.ask("touch", instrument="io", relay_1=True)
    assert bench.ledger(CELL)["on"]
    assert bench.state(CELL)["current_A"] > 0.9


@pytest.mark.fault("F15", family="modbus_relays")
def test_a_relay_that_does_not_open_is_noticed(bench: RunningBench, relays: ModbusRelays) -> None:
    bench.fault("io", "ignored_off")
    with pytest.raises(ReadbackMismatch, match="relay 2"):
        relays.off(2)


def test_the_sentinels_bytes_open_it(bench: RunningBench, relays: ModbusRelays) -> None:
    charging(bench)
    (exchange,) = relays.off_exchanges(1)
    with socket.create_connection(bench.endpoint("io"), 20.0) as other:
        other.sendall(exchange.send)
        assert re.fullmatch(exchange.expect, other.recv(100), re.DOTALL)
    assert not bench.ledger(CELL)["on"]


def test_an_output_goes_on_and_off_on_the_wire(bench: RunningBench, name: str) -> None:
    driver = connect(bench, name, ModbusOutputs, ModbusOutputsOptions(outputs=2))
    driver.identify()
    for on in (False, True, False):
        driver.switch(2, on)
        assert driver.read()[2].output_on is on
    assert driver.read()[1].output_on  # the other one is as it was
    driver.line.close()


def test_more_outputs_than_there_are_are_refused(bench: RunningBench, name: str) -> None:
    driver = connect(bench, name, ModbusOutputs, ModbusOutputsOptions(outputs=5))
    with pytest.raises(InstrumentRefused, match="no such address"):
        driver.identify()
    driver.line.close()
