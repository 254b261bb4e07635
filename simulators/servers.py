"""Real sockets in front of simulated instruments, and what every kind of port shares.

Serial ports are in `simulators.serial_port`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

from simulators.clock import Clock
from simulators.faults import Faults, Hangup
from simulators.wire import Out, Session

_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_REMEMBERED = 256  # messages of one instrument, both ways


class Tape:
    """The latest bytes of an instrument's line, each with its stamp on the real clock.

    What a client does, and how soon after what it was told, is seen here and nowhere else: its
    own word for it would be its own. A chunk towards the client is stamped just before it leaves,
    one from the client as soon as it is read.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._chunks: deque[tuple[float, str, bytes]] = deque(maxlen=_REMEMBERED)

    def heard(self, data: bytes) -> None:
        """Bytes have come from the client."""
        self._chunks.append((self._clock.real(), "heard", data))

    def said(self, data: bytes) -> None:
        """Bytes are about to leave for the client."""
        self._chunks.append((self._clock.real(), "said", data))

    def since(self, real_s: float) -> list[tuple[float, str, str]]:
        """(stamp, "heard" or "said", text) of what is remembered from that moment on."""
        return [(at, way, data.decode("latin-1")) for at, way, data in self._chunks if at >= real_s]


class Box:
    """What a port needs of an instrument, whichever language that speaks.

    Args:
        name: As in the bench file.
        open_session: Opens a connection.
        advance: Brings the instrument up to now.
        max_connections: Served at a time.
        waits: Whether a further connection is held until one is free, instead of closed.
        faults: Of this instrument.
        clock: The bench's.

    Attributes:
        tape: What passes on its lines.
    """

    def __init__(
        self,
        name: str,
        open_session: Callable[[], Session],
        advance: Callable[[], None],
        max_connections: int,
        waits: bool,
        faults: Faults,
        clock: Clock,
    ) -> None:
        self.name = name
        self.open_session = open_session
        self.advance = advance
        self.max_connections = max_connections
        self.waits = waits
        self.faults = faults
        self.clock = clock
        self.tape = Tape(clock)


class Line:
    """One connection: a session on one side, a byte sink on the other, answers in order between."""

    def __init__(self, box: Box, write: Callable[[bytes], None]) -> None:
        self._box = box
        self._sink = write
        self._session = box.open_session()
        self._queue: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def receive(self, data: bytes) -> None:
        """Give bytes of the peer to the instrument."""
        self._box.tape.heard(data)
        if not self._box.faults.hears():
            return
        self._box.advance()
        self._send(self._session.feed(data))

    def tick(self) -> None:
        """Send what the session has become ready to say."""
        self._send(self._session.tick())

    def close(self) -> None:
        """End the session; what it still had to say is lost."""
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
        self._session.close()

    def _send(self, outs: Iterable[Out]) -> None:
        if not outs:
            return
        for out in self._box.faults.shape(outs):
            if out.delay_s <= 0.0 and not self._queue:
                self._write(out.data)
            else:
                self._enqueue(out)

    def _write(self, data: bytes) -> None:
        self._box.tape.said(data)
        self._sink(data)

    def _enqueue(self, out: Out) -> None:
        due = self._box.clock.real() + out.delay_s
        if self._queue:
            due = max(due, self._queue[-1][0])
        self._queue.append((due, out.data))
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        wait_s = max(0.0, self._queue[0][0] - self._box.clock.real())
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._flush)

    def _flush(self) -> None:
        self._timer = None
        now = self._box.clock.real()
        while self._queue and self._queue[0][0] <= now:
            self._write(self._queue.popleft()[1])
        if self._queue:
            self._arm()


class TcpPort:
    """A listening socket of one instrument.

    Args:
        box: The instrument.
        host: Address to listen on.
        port: 0 for any free one.
        scheme: How the address is printed.
    """

    def __init__(self, box: Box, host: str, port: int, scheme: str = "tcp") -> None:
        self.box = box
        self.host = host
        self.port = port
        self._scheme = scheme
        self._server: asyncio.Server | None = None
        self._connections: list[_Connection] = []
        self._listening: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        """The true address, as a URL."""
        return f"{self._scheme}://{self.host}:{self.port}"

    async def open(self) -> None:
        """Start to listen.

        Raises:
            OSError: The address is taken or not this machine's.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), self.host, self.port, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop to listen and end every connection."""
        self._stop_listening()
        self._hang_up("close")

    def tick(self) -> None:
        """Do what faults and sessions ask for since the last beat."""
        if self.box.faults.planned or self._server is None:
            self._suffer()
        self.box.advance()
        for connection in self._connections:
            if connection.line is not None:
                connection.line.tick()

    def _suffer(self) -> None:
        self.box.faults.advance()
        if hangup := self.box.faults.hangup():
            self._hang_up(hangup)
        if self.box.faults.refusing:
            self._stop_listening()
        elif self._server is None and self._listening is None:
            self._listening = asyncio.ensure_future(self._listen_again())

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _listen_again(self) -> None:
        with contextlib.suppress(OSError):  # someone took the port meanwhile: the next beat retries
            await self.open()
        self._listening = None

    def _hang_up(self, how: Hangup) -> None:
        for connection in list(self._connections):
            connection.hang_up(how)

    def admit(self, connection: _Connection) -> None:
        """Serve a new connection, or hold or close it if the instrument has no room."""
        if len(self._connections) >= self.box.max_connections and not self.box.waits:
            connection.hang_up("close")
            return
        self._connections.append(connection)
        self._serve_waiting()

    def forget(self, connection: _Connection) -> None:
        """Make room for the next."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        for connection in self._connections[: self.box.max_connections]:
            connection.serve()


class _Connection(asyncio.Protocol):
    def __init__(self, port: TcpPort) -> None:
        self._port = port
        self._early = bytearray()
        self.line: Line | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._port.admit(self)

    def serve(self) -> None:
        if self.line is None:
            self.line = Line(self._port.box, self._transport.write)
            if self._early:
                self.line.receive(bytes(self._early))

    def data_received(self, data: bytes) -> None:
        if self.line is not None:
            self.line.receive(data)
        else:
            self._early += data

    def connection_lost(self, exc: Exception | None) -> None:
        if self.line is not None:
            self.line.close()
        self._port.forget(self)

    def hang_up(self, how: Hangup) -> None:
        if how == "reset":
            sock: Any = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            self._transport.abort()
        else:
            self._transport.close()
