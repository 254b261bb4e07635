"""The ESPEC driver against simulated chambers in a process of their own, on real lines."""

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pyvisa
import serial

from daq.bus.resource import make_line, parse_resource
from daq.errors import BadReply, InstrumentRefused, NoReply, ReadbackMismatch
from daq.sentinel import switch_off
from drivers.espec import Espec, EspecOptions
from simulators.client import RunningBench, running_bench

FACTOR = 20_000  # an hour of the chamber takes 0.18 s
DEADLINE_S = 20.0
OPTIONS: dict[str, dict[str, Any]] = {
    "lan": {"humidity": True},
    "serial": {},
    "bus": {"address": 3},
    "old": {"old_protocol": True},
    "locked": {"protected": True},
}
OF_THE_DRIVER = ("address", "old_protocol")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBench]:
    folder: Path = tmp_path_factory.mktemp("espec")
    listen = dict.fromkeys(OPTIONS, "tcp://127.0.0.1:0")
    listen |= {name: f"pty:{folder / name}.pty" for name in ("serial", "bus")}
    config = {
        "clock": {"factor": FACTOR},
        "chambers": {name: {"temperature": 23.0} for name in OPTIONS},
        "instruments": {
            name: {"dialect": "espec", "listen": listen[name], "chamber": name, "options": options}
            for name, options in OPTIONS.items()
        },
    }
    with running_bench(config) as running:
        yield running


@pytest.fixture(autouse=True)
def _healthy(bench: RunningBench) -> Iterator[None]:
    yield
    bench.clear_faults()


def resource(bench: RunningBench, name: str) -> str:
    """The chamber's address as a lab file writes it."""
    if name in ("serial", "bus"):
        return f"ASRL{bench.path(name)}::INSTR"
    host, port = bench.endpoint(name)
    return f"TCPIP::{host}::{port}::SOCKET"


@pytest.fixture
def connect(bench: RunningBench) -> Iterator[Callable[[str], Espec]]:
    drivers: list[Espec] = []

    def connect(name: str) -> Espec:
        # The simulated controller needs no rest between messages; 0.5 s each would add up.
        settings = replace(Espec.settings, gap_s=0.0, timeout_s=2.0)
        line = make_line(parse_resource(resource(bench, name)), settings)
        options = {key: OPTIONS[name][key] for key in OF_THE_DRIVER if key in OPTIONS[name]}
        driver = Espec(line, EspecOptions(**options))
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


EVERY_LINE = pytest.mark.parametrize("name", ["lan", "serial", "bus", "old"])


@EVERY_LINE
def test_a_chamber_identifies_warms_up_and_is_switched_off(
    connect: Callable[[str], Espec], name: str
) -> None:
    driver = connect(name)
    assert str(driver.identify()) == "ESPEC,EHS-211"
    assert driver.range(1).temperature_degC == (-40.0, 150.0)
    driver.off(1)
    assert driver.read()[1].output_on is False

    driver.set_temperature(45.0)
    assert driver.read()[1].output_on is True
    wait_until(lambda: abs(driver.read()[1].temperature_degC - 45.0) < 0.5)

    driver.off(1)
    wait_until(lambda: driver.read()[1].temperature_degC < 40.0)


@EVERY_LINE
def test_the_sentinels_bytes_switch_a_running_chamber_off(
    connect: Callable[[str], Espec], name: str
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


def test_plain_pyvisa_sees_what_the_driver_set(
    bench: RunningBench, connect: Callable[[str], Espec]
) -> None:
    driver = connect("lan")
    driver.set_temperature(-10.5)
    driver.line.close()
    manager = pyvisa.ResourceManager("@py")
    with manager.open_resource(resource(bench, "lan")) as chamber:
        chamber.read_termination = chamber.write_termination = "\r\n"
        chamber.timeout = 1000 * DEADLINE_S
        assert chamber.query("TEMP?").split(",")[1] == "-10.5"
        assert chamber.query("MODE?") == "CONSTANT"
        assert chamber.query("TEMP, S999.0") == "NA:DATA OUT OF RANGE"


def test_plain_pyserial_is_answered(bench: RunningBench) -> None:
    with serial.Serial(str(bench.path("serial")), 9600, timeout=DEADLINE_S) as port:
        port.write(b"TYPE?\r\n")
        assert port.read_until(b"\r\n") == b"T,S2,150.0\r\n"


def test_a_wet_sensor_shows_on_the_wire(connect: Callable[[str], Espec]) -> None:
    assert 0.0 < connect("lan").read()[1].humidity_pct <= 100.0


def test_a_humidity_is_regulated(bench: RunningBench, connect: Callable[[str], Espec]) -> None:
    driver = connect("lan")
    assert driver.range(1).humidity_pct == (0.0, 100.0)
    driver.set_humidity(65.0)
    driver.set_temperature(30.0)
    deadline = time.monotonic() + DEADLINE_S
    while abs(driver.read()[1].humidity_pct - 65.0) > 1.0:
        assert time.monotonic() < deadline
    with pytest.raises(InstrumentRefused, match="beyond the alarm limits"):
        driver.set_humidity(150.0)


def test_a_tripped_thermostat_is_read_as_a_fault(
    bench: RunningBench, connect: Callable[[str], Espec]
) -> None:
    driver = connect("serial")
    bench.ask("set", chamber="serial", over_temperature=True)
    assert driver.read()[1].fault == "alarm 1"
    bench.ask("set", chamber="serial", over_temperature=False)
    assert driver.read()[1].fault == ""


def test_a_protected_chamber_can_be_read_and_not_controlled(
    connect: Callable[[str], Espec],
) -> None:
    driver = connect("locked")
    assert driver.read()[1].temperature_degC == pytest.approx(23.0, abs=0.5)
    for command in (lambda: driver.set_temperature(30.0), lambda: driver.off(1)):
        with pytest.raises(InstrumentRefused, match="cannot be controlled"):
            command()


def test_the_lan_port_answers_one_client_only(
    bench: RunningBench, connect: Callable[[str], Espec]
) -> None:
    driver = connect("lan")
    with socket.create_connection(bench.endpoint("lan"), DEADLINE_S) as second:
        second.settimeout(0.2)
        second.sendall(b"MODE?\r\n")
        with pytest.raises(TimeoutError):
            second.recv(64)
        assert driver.read()[1].output_on is not None


@pytest.mark.parametrize("name", ["lan", "bus"])
def test_an_off_that_the_chamber_ignores_is_noticed(
    bench: RunningBench, connect: Callable[[str], Espec], name: str
) -> None:
    driver = connect(name)
    driver.set_temperature(25.0)
    bench.fault(name, "ignored_off")
    with pytest.raises(ReadbackMismatch):
        driver.off(1)
    bench.clear_faults()
    driver.off(1)


@pytest.mark.parametrize("name", ["serial", "old"])
def test_a_setpoint_that_the_chamber_ignores_is_noticed(
    bench: RunningBench, connect: Callable[[str], Espec], name: str
) -> None:
    driver = connect(name)
    bench.fault(name, "ignored_set")
    with pytest.raises(ReadbackMismatch):
        driver.set_temperature(77.0)


@pytest.mark.parametrize(
    ("kind", "error"), [("silence", NoReply), ("half", BadReply), ("garbage", BadReply)]
)
def test_a_broken_line_is_an_error_and_the_chamber_is_back_after_reopening(
    bench: RunningBench, connect: Callable[[str], Espec], kind: str, error: type[Exception]
) -> None:
    driver = connect("lan")
    driver.line.settings = replace(driver.line.settings, timeout_s=0.3)
    bench.fault("lan", kind, count=1)
    with pytest.raises(error):
        driver.read()
    driver.line.close()
    driver.line.settings = replace(driver.line.settings, timeout_s=2.0)
    driver.line.open()
    assert driver.identify().model == "EHS-211"


def test_the_driver_for_another_protocol_setting_says_which_option_is_wrong(
    bench: RunningBench,
) -> None:
    settings = replace(Espec.settings, gap_s=0.0, timeout_s=2.0)
    line = make_line(parse_resource(resource(bench, "old")), settings)
    line.open()
    try:
        with pytest.raises(BadReply, match="old_protocol: true"):
            Espec(line).identify()
    finally:
        line.close()
