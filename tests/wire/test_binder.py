"""The BINDER driver against simulated chambers in a process of their own, on real lines."""

import os
import socket
import struct
import termios
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.client import ModbusTcpClient

from daq.bus.resource import make_line, parse_resource
from daq.errors import BadReply, InstrumentRefused, NoReply, ReadbackMismatch
from daq.sentinel import switch_off
from drivers.binder import Binder, BinderOptions, from_words, to_words
from simulators.client import RunningBench, running_bench

FACTOR = 20_000  # an hour of the chamber takes 0.18 s
DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBench]:
    folder: Path = tmp_path_factory.mktemp("binder")
    entry = {"dialect": "binder", "chamber": "room"}
    listen = {
        "mb1_tcp": "modbus+rtu+tcp://127.0.0.1:0",
        "mb2_tcp": "modbus+rtu+tcp://127.0.0.1:0",
        "mb1_serial": f"modbus+rtu:{folder / 'mb1.pty'}",
        "mb2_serial": f"modbus+rtu:{folder / 'mb2.pty'}",
        "mb2_gateway": "modbus+tcp://127.0.0.1:0",
        "mb1_humid": "modbus+rtu+tcp://127.0.0.1:0",
        "mb2_humid": "modbus+rtu+tcp://127.0.0.1:0",
    }
    config = {
        "clock": {"factor": FACTOR},
        "chambers": {name: {"temperature": 23.0} for name in listen},
        "instruments": {
            name: entry
            | {
                "listen": address,
                "chamber": name,
                "options": {"controller": name[:3], "unit": 5, "humidity": "humid" in name},
            }
            for name, address in listen.items()
        },
    }
    with running_bench(config) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy(bench: RunningBench) -> Iterator[None]:
    yield
    bench.clear_faults()


LINES = ["mb1_tcp", "mb2_tcp", "mb1_serial", "mb2_serial", "mb2_gateway"]
EVERY_LINE = pytest.mark.parametrize("name", LINES)


def resource(bench: RunningBench, name: str) -> str:
    """The chamber's address as a lab file writes it."""
    if name.endswith("serial"):
        return f"modbus+rtu://{bench.path(name)}"
    return bench.addresses[name]


@pytest.fixture
def connect(bench: RunningBench) -> Iterator[Callable[..., Binder]]:
    drivers: list[Binder] = []

    def connect(name: str, query: str = "", **options: Any) -> Binder:
        settings = replace(Binder.settings, unit=5, timeout_s=2.0)
        line = make_line(parse_resource(resource(bench, name) + query), settings)
        driver = Binder(line, BinderOptions(controller=name[:3], **options))
        drivers.append(driver)
        line.open()
        driver.identify()
        driver.setup()
        return driver

    yield connect
    for driver in drivers:
        driver.line.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@EVERY_LINE
def test_a_chamber_identifies_warms_up_and_is_switched_off(
    connect: Callable[..., Binder], name: str
) -> None:
    driver = connect(name)
    assert driver.identify().model == name[:3].upper()
    driver.off(1)
    assert driver.read()[1].output_on is False

    driver.set_temperature(45.0)
    assert driver.read()[1].output_on is True
    wait_until(lambda: abs(driver.read()[1].temperature_degC - 45.0) < 0.5)

    driver.off(1)
    assert driver.read()[1].output_on is False
    wait_until(lambda: driver.read()[1].temperature_degC < 40.0)


@EVERY_LINE
def test_the_sentinels_frame_switches_a_running_chamber_off(
    bench: RunningBench, connect: Callable[..., Binder], name: str
) -> None:
    driver = connect(name)
    driver.set_temperature(30.0)
    (exchange,) = driver.off_exchanges(1)
    endpoint = driver.line.endpoint()
    assert endpoint is not None
    driver.line.close()
    recipe = {
        "kind": endpoint.kind,
        "address": endpoint.address,
        "port": endpoint.port,
        "frame": endpoint.frame,
        "exchanges": [[[exchange.send.hex(), exchange.expect.hex()]]],
        "command": [],
    }
    assert switch_off(recipe) == ""
    assert connect(name).read()[1].output_on is False


def test_an_independent_modbus_master_sees_what_the_driver_set(
    bench: RunningBench, connect: Callable[..., Binder]
) -> None:
    driver = connect("mb1_tcp")
    driver.set_temperature(-10.5)
    driver.line.close()
    host, port = bench.endpoint("mb1_tcp")
    with ModbusTcpClient(host, port=port, framer=FramerType.RTU, retries=0) as client:
        words = client.read_holding_registers(0x1581, count=2, device_id=5).registers
        mode = client.read_holding_registers(0x1A22, count=1, device_id=5).registers
        refused = client.read_holding_registers(0x002C, count=1, device_id=5)
    assert from_words(words) == -10.5
    assert mode == [0x0800]
    assert refused.isError() and refused.exception_code == 3


def test_raw_frames_on_a_bare_socket_are_answered_with_their_checksum(bench: RunningBench) -> None:
    with socket.create_connection(bench.endpoint("mb2_tcp"), DEADLINE_S) as raw:
        raw.sendall(bytes.fromhex("05 03 10 04 00 02 80 8E"))
        reply = b""
        while len(reply) < 9:
            reply += raw.recv(64)
    assert reply[:3] == bytes.fromhex("05 03 04")
    low, high = struct.unpack(">HH", reply[3:7])
    assert -60.0 < from_words([low, high]) < 100.0


def test_raw_frames_on_a_bare_serial_port_are_answered(bench: RunningBench) -> None:
    port = os.open(bench.path("mb2_serial"), os.O_RDWR | os.O_NOCTTY)
    try:
        tty.setraw(port)
        termios.tcflush(port, termios.TCIOFLUSH)
        os.write(port, bytes.fromhex("05 03 10 04 00 02 80 8E"))
        reply = b""
        while len(reply) < 9:
            reply += os.read(port, 64)
    finally:
        os.close(port)
    assert reply[:3] == bytes.fromhex("05 03 04")


def test_an_open_door_and_the_thermostat_are_read_as_faults(
    bench: RunningBench, connect: Callable[..., Binder]
) -> None:
    driver = connect("mb1_tcp")
    bench.ask("set", chamber="mb1_tcp", door_open=True)
    assert driver.read()[1].fault == "DOOR OPEN"
    bench.ask("set", chamber="mb1_tcp", door_open=False, over_temperature=True)
    assert driver.read()[1].fault == "TEMPERATURE LIMIT"
    bench.ask("set", chamber="mb1_tcp", over_temperature=False)
    assert driver.read()[1].fault == ""


def test_a_chamber_taken_for_the_other_controller_is_not_accepted(bench: RunningBench) -> None:
    settings = replace(Binder.settings, unit=5, timeout_s=2.0)
    line = make_line(parse_resource(bench.addresses["mb2_tcp"]), settings)
    line.open()
    try:
        with pytest.raises((BadReply, InstrumentRefused)):
            Binder(line, BinderOptions(controller="mb1")).identify()
    finally:
        line.close()


def test_a_connection_per_exchange_leaves_the_chamber_to_others_in_between(
    bench: RunningBench, connect: Callable[..., Binder]
) -> None:
    driver = connect("mb2_tcp", "?session=per-exchange")
    with socket.create_connection(bench.endpoint("mb2_tcp"), DEADLINE_S) as other:
        other.sendall(bytes.fromhex("05 03 10 04 00 02 80 8E"))
        assert other.recv(64)[:3] == bytes.fromhex("05 03 04")
    assert driver.read()[1].output_on is not None


def test_a_second_client_hears_nothing_while_the_first_is_connected(
    bench: RunningBench, connect: Callable[..., Binder]
) -> None:
    driver = connect("mb2_tcp")
    with socket.create_connection(bench.endpoint("mb2_tcp"), DEADLINE_S) as second:
        second.settimeout(0.2)
        second.sendall(bytes.fromhex("05 03 10 04 00 02 80 8E"))
        with pytest.raises(TimeoutError):
            second.recv(64)
        driver.read()
        driver.line.close()
        second.settimeout(DEADLINE_S)
        assert second.recv(64)[:3] == bytes.fromhex("05 03 04")


@pytest.mark.parametrize("name", ["mb1_tcp", "mb2_serial"])
def test_an_off_that_the_chamber_ignores_is_noticed(
    bench: RunningBench, connect: Callable[..., Binder], name: str
) -> None:
    driver = connect(name)
    driver.set_temperature(25.0)
    bench.fault(name, "ignored_off")
    with pytest.raises(ReadbackMismatch):
        driver.off(1)
    bench.clear_faults()
    driver.off(1)


@pytest.mark.parametrize("name", ["mb1_serial", "mb2_tcp"])
def test_a_setpoint_that_the_chamber_ignores_is_noticed(
    bench: RunningBench, connect: Callable[..., Binder], name: str
) -> None:
    driver = connect(name)
    bench.fault(name, "ignored_set")
    with pytest.raises(ReadbackMismatch):
        driver.set_temperature(77.0)


@pytest.mark.parametrize(
    ("kind", "error"), [("silence", NoReply), ("half", BadReply), ("garbage", BadReply)]
)
def test_a_broken_line_is_an_error_and_the_chamber_is_back_after_reopening(
    bench: RunningBench, connect: Callable[..., Binder], kind: str, error: type[Exception]
) -> None:
    driver = connect("mb2_tcp")
    driver.line.settings = replace(driver.line.settings, timeout_s=0.3)
    bench.fault("mb2_tcp", kind, count=1)
    with pytest.raises(error):
        driver.read()
    driver.line.close()
    driver.line.settings = replace(driver.line.settings, timeout_s=2.0)
    driver.line.open()
    assert driver.identify().model == "MB2"


def test_the_worked_float_survives_the_whole_way(connect: Callable[..., Binder]) -> None:
    driver = connect("mb2_tcp")
    driver.set_temperature(40.1)
    assert driver.line.read(0x114C, 2) == to_words(40.1) == [0x6666, 0x4220]


@pytest.mark.parametrize("name", ["mb1_humid", "mb2_humid"])
def test_a_humidity_is_regulated(name: str, connect: Callable[..., Binder]) -> None:
    driver = connect(name, humidity=True)
    driver.set_humidity(65.0)
    driver.set_temperature(30.0)
    deadline = time.monotonic() + DEADLINE_S
    while abs(driver.read()[1].humidity_pct - 65.0) > 1.0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert driver.read()[1].output_on
