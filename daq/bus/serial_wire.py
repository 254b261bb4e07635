"""Serial ports, with pyserial."""

from __future__ import annotations

import select
import sys
import time

import serial

from daq.bus.line import Endpoint, LineSettings
from daq.bus.wire import cannot_open, check_descriptor, gone, not_open, remaining
from daq.clock import monotonic
from daq.errors import LinkDown, NoReply

if sys.platform == "win32":
    _FAILURES = (OSError, ValueError)
else:
    import termios

    _FAILURES = (OSError, ValueError, termios.error)  # the last is not an OSError

POLL_S = 0.001


class SerialWire:
    """A serial port, held exclusively: a second program that tries to open it is refused."""

    def __init__(self, device: str, settings: LineSettings) -> None:
        self._device = device
        self._settings = settings
        self._port: serial.Serial | None = None

    @property
    def is_open(self) -> bool:
        """See `daq.bus.wire.Wire`."""
        return self._port is not None

    def open(self, timeout_s: float) -> None:
        """See `daq.bus.wire.Wire`."""
        settings = self._settings
        try:
            port = serial.Serial(
                self._device,
                baudrate=settings.baud,
                bytesize=settings.bytesize,
                parity=settings.parity,
                stopbits=settings.stopbits,
                xonxoff=settings.xonxoff,
                timeout=0,
                write_timeout=settings.timeout_s,
                exclusive=True,
            )
        except _FAILURES as error:
            raise cannot_open(self._device, error) from error
        self._port = port
        self._check(port)

    def close(self) -> None:
        """See `daq.bus.wire.Wire`.

        Unsent bytes are thrown away first: with a peer that holds the flow, closing would
        otherwise wait up to 30 s for them (the tty's closing_wait).
        """
        port, self._port = self._port, None
        if port is None:
            return
        for step in (port.reset_output_buffer, port.close):
            try:
                step()
            except _FAILURES:
                continue  # unplugged: there is nothing left to throw away

    def send(self, data: bytes, deadline: float) -> None:
        """See `daq.bus.wire.Wire`."""
        port = self._opened()
        try:
            if remaining(deadline) <= 0 or port.write(data) != len(data):
                raise NoReply(f"{self._device} does not take the message in time")
        except serial.SerialTimeoutException as error:
            raise NoReply(f"{self._device} does not take the message in time") from error
        except OSError as error:
            raise gone(self._device, error) from error

    def receive(self, deadline: float) -> bytes:
        """See `daq.bus.wire.Wire`."""
        port = self._opened()
        try:
            return port.read(port.in_waiting or 1) if _wait(port, deadline) else b""
        except OSError as error:
            raise gone(self._device, error) from error

    def receive_now(self) -> bytes:
        """See `daq.bus.wire.Wire`."""
        return self.receive(0.0)

    def endpoint(self) -> Endpoint:
        """See `daq.bus.wire.Wire`."""
        return serial_endpoint(self._device, self._settings)

    def __str__(self) -> str:
        return self._device

    def _opened(self) -> serial.Serial:
        if self._port is None:
            raise not_open(self._device)
        return self._port

    def _check(self, port: serial.Serial) -> None:
        if sys.platform == "win32":
            return
        try:
            check_descriptor(self._device, port.fileno())
        except LinkDown:
            self.close()
            raise


def _wait(port: serial.Serial, deadline: float) -> bool:
    """Whether bytes are there, or come before the deadline.

    Not by pyserial's own timeout: that is per byte, and setting it reprograms the port.
    """
    if sys.platform != "win32":
        return bool(select.select([port], [], [], remaining(deadline))[0])
    while not port.in_waiting:
        if monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def serial_endpoint(device: str, settings: LineSettings) -> Endpoint:
    """A serial line as the sentinel opens it."""
    frame = f"{settings.bytesize}{settings.parity}{settings.stopbits:g}"
    return Endpoint("serial", device, settings.baud, frame)
