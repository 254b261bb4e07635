"""Bytes to and from one peer, each call bounded in time: what every line is built on.

A wire knows nothing of messages. `receive` returns b"" when the deadline passes and raises
`LinkDown` as soon as the peer is gone, so that the two are never confused.
"""

from __future__ import annotations

import socket
from typing import Protocol

from daq.bus.line import Endpoint
from daq.clock import monotonic
from daq.errors import LinkDown, NoReply

CHUNK = 65536
CONNECT_S = 1.0
"""Shortest time that a connection gets: some instruments need 0.4 s for the TCP handshake."""

SELECT_LIMIT = 1024
"""Descriptors from here on cannot be given to select(), which pyvisa-py and pyserial use."""


class Wire(Protocol):
    """What a transport implements. Deadlines are `daq.clock.monotonic()` stamps."""

    @property
    def is_open(self) -> bool:
        """Whether `open` has succeeded and `close` has not been called since."""
        ...

    def open(self, timeout_s: float) -> None:
        """Open within `timeout_s`.

        Raises:
            LinkDown: it cannot be opened; the message says why.
        """
        ...

    def close(self) -> None:
        """Close; never raises, never waits for unsent bytes, may be called twice."""
        ...

    def send(self, data: bytes, deadline: float) -> None:
        """Send all of `data`.

        Raises:
            NoReply: the peer does not take it before the deadline.
            LinkDown: the peer is gone.
        """
        ...

    def receive(self, deadline: float) -> bytes:
        """The next bytes, as soon as there are any; b"" when the deadline passes first.

        Raises:
            LinkDown: the peer is gone.
        """
        ...

    def receive_now(self) -> bytes:
        """The bytes that have already arrived, without waiting; b"" when none."""
        ...

    def endpoint(self) -> Endpoint | None:
        """For the sentinel; None where only a vendor library can reach it."""
        ...


class TcpWire:
    """A TCP connection, with the standard library alone."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """See `Wire`."""
        return self._socket is not None

    def open(self, timeout_s: float) -> None:
        """See `Wire`."""
        try:
            connection = socket.create_connection(self._address, timeout_s)
        except OSError as error:
            raise cannot_open(str(self), error) from error
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection

    def close(self) -> None:
        """See `Wire`."""
        connection, self._socket = self._socket, None
        if connection is not None:
            try:
                connection.close()
            except OSError:
                return  # the descriptor is released all the same

    def send(self, data: bytes, deadline: float) -> None:
        """See `Wire`."""
        connection = self._connection()
        try:
            connection.settimeout(remaining(deadline))
            connection.sendall(data)
        except TimeoutError as error:
            raise NoReply(f"{self} does not take the message in time") from error
        except OSError as error:
            raise gone(str(self), error) from error

    def receive(self, deadline: float) -> bytes:
        """See `Wire`."""
        return self._receive(remaining(deadline))

    def receive_now(self) -> bytes:
        """See `Wire`."""
        return self._receive(0.0)

    def endpoint(self) -> Endpoint:
        """See `Wire`."""
        return Endpoint("tcp", *self._address)

    def __str__(self) -> str:
        return "{}:{}".format(*self._address)

    def _receive(self, timeout_s: float) -> bytes:
        connection = self._connection()
        try:
            connection.settimeout(timeout_s)
            data = connection.recv(CHUNK)
        except (TimeoutError, BlockingIOError):
            return b""
        except OSError as error:
            raise gone(str(self), error) from error
        if not data:
            raise gone(str(self))
        return data

    def _connection(self) -> socket.socket:
        if self._socket is None:
            raise not_open(str(self))
        return self._socket


def remaining(deadline: float) -> float:
    """Seconds until the deadline, >= 0."""
    return max(0.0, deadline - monotonic())


def check_descriptor(name: str, descriptor: int) -> None:
    """Refuse a descriptor that select() cannot take.

    Raises:
        LinkDown: the daemon holds too many open files.
    """
    if descriptor >= SELECT_LIMIT:
        raise too_many_descriptors(name)


def too_many_descriptors(name: str) -> LinkDown:
    """The error for a descriptor that select() cannot take."""
    return LinkDown(
        f"{name} cannot be opened: this process holds {SELECT_LIMIT} or more open files",
        remedy="run fewer instruments in one daemon: split the lab file over several daemons",
    )


def cannot_open(name: str, reason: object) -> LinkDown:
    """The error for a wire that does not open."""
    return LinkDown(
        f"{name} cannot be opened: {reason}",
        remedy="check power, cable and address; another program may hold it",
    )


def not_open(name: str) -> LinkDown:
    """The error for a use before `open` or after `close`."""
    return LinkDown(f"{name} is not open", remedy="open it again")


def gone(name: str, reason: object = "it closed the connection") -> LinkDown:
    """The error for a peer that has left."""
    return LinkDown(f"{name} is gone: {reason}")
