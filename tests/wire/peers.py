"""Peers that misbehave on command: a TCP server and a pseudo-terminal, each with a thread.

A peer answers the n-th message it hears with the n-th of its `answers`: bytes, None for silence,
or a function of the connection for anything worse. It repeats the last one for ever.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Self

PATIENCE_S = 20.0
"""How long a test waits for something that must happen; never for something that must not."""


class Connection:
    """One end of the wire, as the peer sees it."""

    def __init__(self, descriptor: int | socket.socket, stop: threading.Event) -> None:
        self._end = descriptor
        self._stop = stop

    def send(self, data: bytes) -> None:
        try:
            if isinstance(self._end, int):
                os.write(self._end, data)
            else:
                self._end.sendall(data)
        except OSError:
            return  # the client has left

    def hear(self) -> bytes:
        """The next bytes; b"" when the client has left or the peer stops."""
        while not self._stop.is_set():
            try:
                if not select.select([self._end], [], [], 0.02)[0]:
                    continue
                if isinstance(self._end, int):
                    return os.read(self._end, 65536)
                return self._end.recv(65536)
            except (OSError, ValueError):  # ValueError: this side has closed it
                if isinstance(self._end, int) and not self._stop.wait(0.01):
                    continue  # a pty with nobody at the other end, for now
                return b""
        return b""

    def drip(self, data: bytes, every_s: float) -> None:
        """Send byte by byte, slowly."""
        for byte in data:
            self.send(bytes([byte]))
            if self._stop.wait(every_s):
                return

    def flood(self, data: bytes) -> None:
        """Send without end, as fast as it goes."""
        while not self._stop.is_set() and not self._left():
            self.send(data)

    def hang_up(self) -> None:
        """Close in good order."""
        if isinstance(self._end, socket.socket):
            self._end.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with a TCP reset."""
        if isinstance(self._end, socket.socket):
            self._end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._end.close()

    def _left(self) -> bool:
        if isinstance(self._end, int):
            return False
        try:
            return self._end.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


Answer = bytes | None | Callable[[Connection], None]


class Peer:
    """What both kinds share.

    Attributes:
        heard: what the client sent, in order, with the time of arrival in `heard_at`.
        connections: the ends of all connections so far.
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.heard: list[bytes] = []
        self.heard_at: list[float] = []
        self.connections: list[Connection] = []
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def push(self, data: bytes) -> None:
        """Send bytes that nobody asked for, on the newest connection."""
        self.wait_for(lambda: bool(self.connections))
        self.connections[-1].send(data)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), "it never happened"

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, connection: Connection) -> None:
        with self._changed:
            self.connections.append(connection)
            self._changed.notify_all()
        while data := connection.hear():
            answer = self._note(data)
            if callable(answer):
                answer(connection)
            elif answer is not None:
                connection.send(answer)

    def _note(self, data: bytes) -> Answer:
        with self._changed:
            self.heard.append(data)
            self.heard_at.append(time.monotonic())
            self._changed.notify_all()
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class TcpPeer(Peer):
    """Serves any number of connections on a free port of the loopback address."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*answers)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.02)
        self.port: int = self._listener.getsockname()[1]
        self.visa = f"TCPIP::127.0.0.1::{self.port}::SOCKET"
        self._sockets: list[socket.socket] = []
        self._start(self._accept)

    def stop(self) -> None:
        super().stop()
        for end in (self._listener, *self._sockets):
            end.close()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                end = self._listener.accept()[0]
            except TimeoutError:
                continue
            end.setblocking(True)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(end)
            self._start(self._serve_and_close, end)

    def _serve_and_close(self, end: socket.socket) -> None:
        """A client that comes back a thousand times must not use up the descriptors."""
        self._serve(Connection(end, self._stop))
        end.close()
        self._sockets.remove(end)


class PtyPeer(Peer):
    """A pseudo-terminal; `device` is the end for the client."""

    def __init__(self, *answers: Answer) -> None:
        super().__init__(*answers)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.device = os.ttyname(self._slave)
        self._start(self._serve, Connection(self._master, self._stop))

    def unplug(self) -> None:
        """The device disappears, as when a USB cable is pulled."""
        self.stop()
        if self._master >= 0:
            os.close(self._slave)
            os.close(self._master)
            self._master = -1

    def __exit__(self, *_: object) -> None:
        self.unplug()


def closed_port() -> int:
    """A port of the loopback address that nobody serves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class BlackHole:
    """An address whose connections never complete: a listener with a full queue."""

    def __enter__(self) -> int:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self._fill = [socket.socket() for _ in range(4)]
        for end in self._fill:
            end.setblocking(False)
            end.connect_ex(self._listener.getsockname())
        return self._listener.getsockname()[1]

    def __exit__(self, *_: object) -> None:
        for end in [*self._fill, self._listener]:
            end.close()
