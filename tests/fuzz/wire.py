"""A peer whose every word is the fuzzer's: it stands under the true lines, in place of a socket.

The input is cut into pieces; the n-th message of the driver is answered with the n-th piece.
Nothing waits: where a true wire would run into its deadline, this one says so at once.
"""

from __future__ import annotations

from collections.abc import Iterable

from daq.bus.line import Endpoint
from daq.bus.wire import gone, not_open

HANG_UP = b"\xfc"
"""A piece that is no answer but the end of the connection."""


class Hostile:
    """`daq.bus.wire.Wire`.

    Attributes:
        sent: the messages that it was told, in order.
        said: all that it has answered so far.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._waiting = b""
        self._opened = False
        self.sent: list[bytes] = []
        self.said = b""

    @property
    def is_open(self) -> bool:
        return self._opened

    def open(self, timeout_s: float) -> None:
        self._opened, self._waiting = True, b""

    def close(self) -> None:
        self._opened, self._waiting = False, b""

    def send(self, data: bytes, deadline: float) -> None:
        self._require_open()
        self.sent.append(data)
        self._waiting += next(self._pieces, b"")

    def receive(self, deadline: float) -> bytes:
        """What waits, all at once; without any, the next piece comes by itself (a stream)."""
        self._require_open()
        data, self._waiting = self._waiting or next(self._pieces, b""), b""
        if data == HANG_UP:
            raise gone("the peer")
        self.said += data
        return data

    def receive_now(self) -> bytes:
        self._require_open()
        data, self._waiting = self._waiting, b""
        self.said += data
        return data

    def endpoint(self) -> Endpoint:
        return Endpoint("tcp", "127.0.0.1", 1)

    def _require_open(self) -> None:
        if not self._opened:
            raise not_open("the peer")
