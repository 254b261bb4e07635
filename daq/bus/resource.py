"""Resource strings: what stands after `resource:` in a lab file, and the lines they open.

| form | line |
|---|---|
| `TCPIP::10.0.0.21::5025::SOCKET`, `GPIB0::5::INSTR`, `USB0::...`, any VISA resource | text |
| `ASRL/dev/ttyUSB0::INSTR`, `serial:///dev/ttyUSB0`, `serial://COM3` | text |
| `modbus+tcp://host:502` | Modbus TCP |
| `modbus+rtu+tcp://host:10001` | Modbus RTU frames on a raw TCP connection |
| `modbus+rtu:///dev/ttyUSB0` | Modbus RTU on a serial port |

The two Modbus forms over TCP take the option `?session=per-exchange`: connect, exchange, close,
for each exchange. For a controller that serves one connection at a time (Binder MB1 and MB2) and
must be left free for its vendor's software in between. Everything else keeps its connection.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pyvisa import rname

from daq.bus.line import Line, LineSettings
from daq.bus.modbus import Framing, ModbusLine
from daq.bus.serial_wire import SerialWire
from daq.bus.session import Session, shared_session
from daq.bus.text import WireTextLine
from daq.bus.visa import VisaSocketWire, VisaWire
from daq.bus.wire import TcpWire, Wire
from daq.errors import InputError

PER_EXCHANGE = "per-exchange"
_PORTS: Mapping[str, int] = {"modbus+tcp": 502, "modbus+rtu+tcp": 0}
_DEVICES = ("serial", "modbus+rtu")
_FRAMINGS: Mapping[str, Framing] = {
    "modbus+tcp": "tcp",
    "modbus+rtu+tcp": "rtu",
    "modbus+rtu": "rtu",
}
_FORMS = (
    'a VISA resource such as "TCPIP::10.0.0.21::5025::SOCKET" or "ASRL/dev/ttyUSB0::INSTR", '
    '"serial:///dev/ttyUSB0", "modbus+tcp://host:502", "modbus+rtu+tcp://host:10001" or '
    '"modbus+rtu:///dev/ttyUSB0"'
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A parsed resource string.

    Attributes:
        text: canonical form.
        kind: "visa", "serial", "modbus+tcp", "modbus+rtu+tcp" or "modbus+rtu".
        bus_key: equal for all resources that one bus thread must own: the same TCP address,
            serial port, Modbus gateway or GPIB board.
        host, port: where it leads over TCP; empty and 0 otherwise.
        device: path or name of a serial port; empty otherwise.
        per_exchange: connect for each exchange.
    """

    text: str
    kind: str
    bus_key: str
    host: str = ""
    port: int = 0
    device: str = ""
    per_exchange: bool = False

    def __str__(self) -> str:
        return self.text


def parse_resource(text: str) -> Resource:
    """Understand a resource string; opens nothing.

    Raises:
        InputError: it has none of the known forms.
    """
    if not text.isprintable():
        raise _unknown(text, "it holds characters that nobody can see")
    if "://" not in text:
        return _visa(text)
    try:
        url = urlsplit(text)
    except ValueError as error:  # a bracket of an IPv6 address that is not closed
        raise _unknown(text, str(error)) from error
    if url.scheme in _PORTS:
        return _tcp(text, url)
    if url.scheme in _DEVICES:
        return _device(text, url)
    raise _unknown(text, f"there is no form {url.scheme}://")


def is_local(resource: Resource) -> bool:
    """Whether it leads nowhere beyond this machine: a loopback address or a pseudo-terminal."""
    if resource.device:
        return os.path.realpath(resource.device).startswith("/dev/pts/")
    return is_loopback(resource.host)


def make_line(resource: Resource, settings: LineSettings, visa_backend: str = "@py") -> Line:
    """The line for a resource, closed. Lines of one gateway or one port share their session.

    Raises:
        InputError: no such VISA backend, or other settings than another line on the same port.
    """
    session = shared_session(
        _session_key(resource),
        lambda: Session(
            _make_wire(resource, settings, visa_backend), per_exchange=resource.per_exchange
        ),
    )
    if resource.kind in _FRAMINGS:
        return ModbusLine(session, settings, _FRAMINGS[resource.kind])
    return WireTextLine(session, settings)


def _make_wire(resource: Resource, settings: LineSettings, visa_backend: str) -> Wire:
    if resource.kind in _PORTS:
        return TcpWire(resource.host, resource.port)
    if resource.kind != "visa":
        return SerialWire(resource.device, settings)
    if visa_backend != "@py":
        return VisaWire(resource.text, settings, visa_backend)
    if resource.device:
        # pyvisa-py's serial session is pyserial read byte by byte, each with a timeout anew
        return SerialWire(resource.device, settings)
    return (VisaSocketWire if resource.host and resource.port else VisaWire)(
        resource.text, settings, visa_backend
    )


def _session_key(resource: Resource) -> str:
    """As the bus, except on GPIB, where each instrument has a session of its own."""
    return resource.text if resource.bus_key.startswith("gpib:") else resource.bus_key


def _visa(text: str) -> Resource:
    try:
        parsed = rname.parse_resource_name(text)
    except rname.InvalidResourceName as error:
        raise _unknown(text, str(error)) from error
    name = str(parsed)
    match parsed:
        case rname.TCPIPSocket(host_address=host, port=port):
            return Resource(name, "visa", f"tcp:{host}:{port}", host=host, port=_port(text, port))
        case rname.TCPIPInstr(host_address=host):
            return Resource(name, "visa", f"visa:{name}", host=host)
        case rname.ASRLInstr(board=board):
            device = board if "/" in board else f"COM{board}"
            return Resource(name, "visa", _serial_key(device), device=device)
        case rname.GPIBInstr(board=board):
            return Resource(name, "visa", f"gpib:{board}")
        case _:
            return Resource(name, "visa", f"visa:{name}")


def _tcp(text: str, url: SplitResult) -> Resource:
    host = url.hostname or ""
    try:
        port = url.port or _PORTS[url.scheme]
    except ValueError as error:
        raise _unknown(text, str(error)) from error
    if not host or not port or url.path not in ("", "/"):
        raise _unknown(text, f"{url.scheme}:// takes host:port")
    per_exchange = _options(text, url)
    key = f"tcp:{host}:{port}"
    return Resource(text, url.scheme, key, host=host, port=port, per_exchange=per_exchange)


def _device(text: str, url: SplitResult) -> Resource:
    device = url.netloc + url.path
    if not device or url.query:
        raise _unknown(text, f"{url.scheme}:// takes the path of a port and no options")
    return Resource(text, url.scheme, _serial_key(device), device=device)


def _options(text: str, url: SplitResult) -> bool:
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    session = options.pop("session", "")
    if options or session not in ("", PER_EXCHANGE):
        raise _unknown(text, f"the only option is session={PER_EXCHANGE}")
    return session == PER_EXCHANGE


def _port(text: str, port: str) -> int:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise _unknown(text, f"{port!r} is not a TCP port")
    return int(port)


def _serial_key(device: str) -> str:
    return f"serial:{os.path.realpath(device)}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by what is written: a name is not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _unknown(text: str, reason: str) -> InputError:
    return InputError(f"{text!r} is not a resource: {reason}", remedy=f"write {_FORMS}")
