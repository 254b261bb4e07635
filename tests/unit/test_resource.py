"""Resource strings: what each form means, and what is refused with which words."""

from __future__ import annotations

import os
import tty
from pathlib import Path

import pytest

from daq.bus.line import LineSettings
from daq.bus.modbus import ModbusLine
from daq.bus.resource import is_local, make_line, parse_resource
from daq.bus.serial_wire import SerialWire
from daq.bus.text import WireTextLine
from daq.bus.visa import VisaSocketWire, VisaWire
from daq.bus.wire import TcpWire
from daq.errors import InputError


@pytest.mark.parametrize(
    ("text", "line_type", "wire_type"),
    [
        ("TCPIP::10.0.0.21::5025::SOCKET", WireTextLine, VisaSocketWire),
        ("TCPIP0::10.0.0.21::inst0::INSTR", WireTextLine, VisaWire),
        ("GPIB0::5::INSTR", WireTextLine, VisaWire),
        ("USB0::0x2A8D::0x1234::MY1::INSTR", WireTextLine, VisaWire),
        ("ASRL/dev/ttyUSB0::INSTR", WireTextLine, SerialWire),
        ("ASRL3::INSTR", WireTextLine, SerialWire),
        ("serial:///dev/ttyUSB0", WireTextLine, SerialWire),
        ("serial://COM3", WireTextLine, SerialWire),
        ("modbus+tcp://10.0.0.30", ModbusLine, TcpWire),
        ("modbus+rtu+tcp://10.0.0.30:10001", ModbusLine, TcpWire),
        ("modbus+rtu+tcp://10.0.0.30:10001?session=per-exchange", ModbusLine, TcpWire),
        ("modbus+rtu:///dev/ttyUSB0", ModbusLine, SerialWire),
    ],
)
def test_each_form_makes_its_line(text: str, line_type: type, wire_type: type) -> None:
    line = make_line(parse_resource(text), LineSettings())
    assert isinstance(line, line_type)
    assert type(line._wire) is wire_type


def test_modbus_over_tcp_has_a_default_port() -> None:
    assert parse_resource("modbus+tcp://gateway").port == 502


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10.0.0.21:5025",
        "TCPIP::10.0.0.21::99999::SOCKET",
        "TCPIP::10.0.0.21::scpi::SOCKET",
        "LPT1::INSTR",
        "http://10.0.0.21",
        "modbus://10.0.0.30",
        "modbus+tcp://",
        "modbus+tcp://host:port",
        "modbus+tcp://host:70000",
        "modbus+tcp://host:502/unit1",
        "modbus+rtu+tcp://host",
        "modbus+rtu+tcp://host:10001?session=always",
        "modbus+rtu+tcp://host:10001?unit=2",
        "modbus+rtu://",
        "serial://",
        "serial:///dev/ttyUSB0?baud=9600",
        "TCPIP::10.0.0.21::5025::SOCKET?session=per-exchange",
    ],
)
def test_anything_else_is_refused_with_the_known_forms(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_resource(text)
    assert repr(text) in str(caught.value)
    assert "modbus+rtu+tcp://host:10001" in caught.value.remedy
    assert "TCPIP::" in caught.value.remedy


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("modbus+rtu+tcp://h:10001", "modbus+rtu+tcp://h:10001"),
        ("modbus+tcp://h", "modbus+tcp://h:502"),
        ("TCPIP::h::5025::SOCKET", "TCPIP0::h::5025::SOCKET"),
        ("serial:///dev/ttyUSB0", "ASRL/dev/ttyUSB0::INSTR"),
        ("serial:///dev/ttyUSB0", "modbus+rtu:///dev/../dev/ttyUSB0"),
        ("GPIB0::5::INSTR", "GPIB0::6::INSTR"),
    ],
)
def test_what_shares_a_line_has_one_owner(one: str, other: str) -> None:
    assert parse_resource(one).bus_key == parse_resource(other).bus_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("modbus+tcp://h:502", "modbus+tcp://h:503"),
        ("TCPIP::h::5025::SOCKET", "TCPIP::g::5025::SOCKET"),
        ("GPIB0::5::INSTR", "GPIB1::5::INSTR"),
        ("USB0::1::2::A::INSTR", "USB0::1::2::B::INSTR"),
        ("serial:///dev/ttyUSB0", "serial:///dev/ttyUSB1"),
    ],
)
def test_what_shares_nothing_has_owners_of_its_own(one: str, other: str) -> None:
    assert parse_resource(one).bus_key != parse_resource(other).bus_key


def test_instruments_of_one_gpib_board_share_the_owner_but_not_the_session() -> None:
    one, other = (make_line(parse_resource(f"GPIB0::{n}::INSTR"), LineSettings()) for n in (5, 6))
    assert one._session is not other._session


def test_units_of_one_gateway_share_the_session() -> None:
    one, other = (
        make_line(parse_resource("modbus+tcp://gateway:502"), LineSettings(unit=n)) for n in (1, 2)
    )
    assert one._session is other._session


def test_one_gateway_cannot_be_held_and_be_opened_per_exchange() -> None:
    held = make_line(parse_resource("modbus+tcp://gateway:1502"), LineSettings())
    with pytest.raises(InputError, match="session option"):
        make_line(parse_resource("modbus+tcp://gateway:1502?session=per-exchange"), LineSettings())
    held.close()


@pytest.mark.parametrize(
    "text",
    [
        "TCPIP::127.0.0.1::5025::SOCKET",
        "TCPIP::localhost::5025::SOCKET",
        "modbus+tcp://127.3.2.1:502",
        "modbus+rtu+tcp://[::1]:10001",
    ],
)
def test_a_loopback_address_is_on_this_machine(text: str) -> None:
    assert is_local(parse_resource(text))


@pytest.mark.parametrize(
    "text",
    [
        "TCPIP::10.0.0.21::5025::SOCKET",
        "TCPIP::127.example.com::5025::SOCKET",
        "modbus+tcp://binder.lab:502",
        "GPIB0::5::INSTR",
        "USB0::1::2::A::INSTR",
        "serial:///dev/ttyUSB0",
        "serial:///dev/pts/../ttyS0",
    ],
)
def test_anything_that_may_lead_elsewhere_is_not_on_this_machine(text: str) -> None:
    assert not is_local(parse_resource(text))


def test_a_link_to_a_pseudo_terminal_is_on_this_machine(tmp_path: Path) -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    link = tmp_path / "pico.pty"
    link.symlink_to(os.ttyname(slave))
    assert is_local(parse_resource(f"ASRL{link}::INSTR"))
    assert is_local(parse_resource(f"serial://{link}"))
    link.unlink()
    link.symlink_to("/dev/null")
    assert not is_local(parse_resource(f"serial://{link}"))
    os.close(master)
    os.close(slave)
