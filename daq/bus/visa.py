"""VISA resources, with pyvisa: pyvisa-py by default, a vendor's library where one is chosen.

What pyvisa-py's raw sockets do, and this module hides:

- Opening a port that nobody serves succeeds. Here the socket is asked for its error.
- After the peer has closed, a read spins at full CPU until its timeout and then reports one.
  Here the end of the connection is seen at once.
- The timeout starts anew with every chunk, and does not bound a write at all. Here the deadline
  is the caller's, and bounds both.
- `clear()` on a connection that the peer has closed never returns. It is never called.
- Small messages wait for the acknowledgement of the one before (Nagle): 40 ms. Switched off.
- Descriptors from 1024 on make select() fail. Refused at open, with what to do about it.
- A failed open raises a bare `Exception`.
"""

from __future__ import annotations

import os
import select
import socket
from threading import Lock
from typing import Any, cast

import pyvisa
from pyvisa import constants, rname
from pyvisa.errors import InvalidSession, VisaIOError
from pyvisa.resources import MessageBasedResource, SerialInstrument

from daq.bus.line import Endpoint, LineSettings
from daq.bus.serial_wire import serial_endpoint
from daq.bus.wire import (
    CHUNK,
    cannot_open,
    check_descriptor,
    gone,
    not_open,
    remaining,
    too_many_descriptors,
)
from daq.errors import InputError, LinkDown, NoReply

_PARITY = {"N": 0, "O": 1, "E": 2, "M": 3, "S": 4}
_managers: dict[str, pyvisa.ResourceManager] = {}
_lock = Lock()


def manager(backend: str) -> pyvisa.ResourceManager:
    """The process's one resource manager for a backend ("@py", "@ivi", a library's path).

    Raises:
        InputError: there is no such backend on this machine.
    """
    with _lock:
        try:
            return _managers.setdefault(backend, pyvisa.ResourceManager(backend))
        except (OSError, ValueError) as error:
            raise InputError(
                f"the VISA backend {backend!r} cannot be loaded: {error}",
                remedy='"@py" needs nothing else; "@ivi" needs NI-VISA or Keysight IO Libraries',
            ) from error


class VisaWire:
    """Any VISA resource, with any backend: only what the VISA standard promises.

    Where messages have an end of their own (GPIB, USB, VXI-11, HiSLIP) a reply without the
    terminator is given one, and stale replies wait inside the instrument, out of reach.
    """

    def __init__(self, name: str, settings: LineSettings, backend: str = "@py") -> None:
        self._name = name
        self._settings = settings
        self._manager = manager(backend)
        self._parsed = rname.parse_resource_name(name)
        self._stream = isinstance(self._parsed, rname.TCPIPSocket | rname.ASRLInstr)
        self._terminator = settings.read_terminator or settings.terminator
        self._open: MessageBasedResource | None = None

    @property
    def is_open(self) -> bool:
        """See `daq.bus.wire.Wire`."""
        return self._open is not None

    def open(self, timeout_s: float) -> None:
        """See `daq.bus.wire.Wire`."""
        self._open = self._open_resource(timeout_s)
        try:
            self._configure(self._open)
        except (VisaIOError, OSError) as error:
            self.close()
            raise cannot_open(self._name, error) from error

    def close(self) -> None:
        """See `daq.bus.wire.Wire`."""
        resource, self._open = self._open, None
        if resource is not None:
            try:
                resource.close()
            except (VisaIOError, InvalidSession, OSError):
                return  # the library has given it up already

    def send(self, data: bytes, deadline: float) -> None:
        """See `daq.bus.wire.Wire`."""
        resource = self._resource()
        try:
            resource.timeout = 1000 * remaining(deadline)
            resource.write_raw(data)
        except VisaIOError as error:
            raise self._not_sent(error) from error
        except OSError as error:
            raise gone(self._name, error) from error

    def receive(self, deadline: float) -> bytes:
        """See `daq.bus.wire.Wire`."""
        if not self._stream:
            return self._read_message(remaining(deadline))
        first = self._read(1, remaining(deadline))
        return first + self.receive_now() if first else b""

    def receive_now(self) -> bytes:
        """See `daq.bus.wire.Wire`. Byte by byte: a read that times out loses what it has."""
        if not self._stream:
            return b""
        data = bytearray()
        while len(data) < CHUNK and (byte := self._read(1, 0.0)):
            data += byte
        return bytes(data)

    def endpoint(self) -> Endpoint | None:
        """See `daq.bus.wire.Wire`."""
        match self._parsed:
            case rname.TCPIPSocket(host_address=host, port=port):
                return Endpoint("tcp", host, int(port))
            case rname.ASRLInstr(board=device) if device.startswith("/"):
                return serial_endpoint(device, self._settings)
            case _:
                return None

    def __str__(self) -> str:
        return self._name

    def _open_resource(self, timeout_s: float) -> MessageBasedResource:
        try:
            resource = self._manager.open_resource(self._name, open_timeout=int(1000 * timeout_s))
        except (VisaIOError, OSError) as error:
            raise cannot_open(self._name, error) from error
        except ValueError as error:
            if "filedescriptor out of range" in str(error):
                raise too_many_descriptors(self._name) from error
            raise cannot_open(self._name, error) from error
        except AttributeError as error:  # pyvisa-py goes on with None where no socket was made
            raise cannot_open(self._name, error) from error
        except Exception as error:
            if type(error) is not Exception:
                raise
            raise cannot_open(self._name, error) from error  # pyvisa-py's own, bare
        return cast(MessageBasedResource, resource)

    def _configure(self, resource: MessageBasedResource) -> None:
        if isinstance(resource, SerialInstrument):
            settings = self._settings
            resource.baud_rate = settings.baud
            resource.data_bits = settings.bytesize
            resource.parity = constants.Parity(_PARITY[settings.parity])
            resource.stop_bits = constants.StopBits(int(10 * settings.stopbits))
            resource.flow_control = constants.ControlFlow(int(settings.xonxoff))
            resource.end_input = constants.SerialTermination.none
        elif not self._stream:
            resource.read_termination = chr(self._terminator[-1])

    def _read(self, count: int, timeout_s: float) -> bytes:
        resource = self._resource()
        try:
            resource.timeout = 1000 * timeout_s
            return resource.read_bytes(count)
        except VisaIOError as error:
            if error.error_code == constants.StatusCode.error_timeout:
                return b""
            raise gone(self._name, error) from error
        except OSError as error:
            raise gone(self._name, error) from error

    def _read_message(self, timeout_s: float) -> bytes:
        resource = self._resource()
        try:
            resource.timeout = 1000 * timeout_s
            data = resource.read_raw()
        except VisaIOError as error:
            if error.error_code == constants.StatusCode.error_timeout:
                return b""
            raise gone(self._name, error) from error
        except OSError as error:
            raise gone(self._name, error) from error
        return data if data.endswith(self._terminator) else data + self._terminator

    def _not_sent(self, error: VisaIOError) -> NoReply | LinkDown:
        if error.error_code == constants.StatusCode.error_timeout:
            return NoReply(f"{self._name} does not take the message in time")
        return gone(self._name, error)

    def _resource(self) -> MessageBasedResource:
        if self._open is None:
            raise not_open(self._name)
        return self._open


class VisaSocketWire(VisaWire):
    """`TCPIP::host::port::SOCKET`: pyvisa-py opens and closes, its socket does what lies between.

    pyvisa-py takes eight system calls for an exchange where four do, and every one of them lets go
    of the interpreter's lock and has to win it back from all other bus threads.
    """

    _socket: socket.socket

    def send(self, data: bytes, deadline: float) -> None:
        """See `daq.bus.wire.Wire`."""
        self._resource()
        unsent = memoryview(data)
        try:
            while unsent:
                unsent = unsent[self._send_now(unsent) :]
                if unsent and not select.select([], [self._socket], [], remaining(deadline))[1]:
                    raise NoReply(f"{self._name} does not take the message in time")
        except OSError as error:
            raise gone(self._name, error) from error

    def receive(self, deadline: float) -> bytes:
        """See `daq.bus.wire.Wire`."""
        self._resource()
        try:
            while select.select([self._socket], [], [], remaining(deadline))[0]:
                if data := self.receive_now():
                    return data
        except OSError as error:
            raise gone(self._name, error) from error
        return b""

    def receive_now(self) -> bytes:
        """See `daq.bus.wire.Wire`."""
        self._resource()
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise gone(self._name, error) from error
        if not data:
            raise gone(self._name)
        return data

    def _send_now(self, data: memoryview) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def _configure(self, resource: MessageBasedResource) -> None:
        session: Any = cast(Any, resource.visalib).sessions[resource.session]
        self._socket = session.interface
        check_descriptor(self._name, self._socket.fileno())
        refused = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refused:
            raise OSError(refused, os.strerror(refused))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
