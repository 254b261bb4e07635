"""What a transport offers to a driver: one line, one exchange at a time, bounded in time.

A `Line` belongs to one bus thread and is not thread-safe. Nothing on it waits longer than
`timeout_s`. After `NoReply`, `BadReply` or `LinkDown` the owner must `close()` it: a late reply
would otherwise answer the next question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How an instrument's line is set up; a driver declares its own defaults.

    Attributes:
        terminator: ends every message, both ways, unless `read_terminator` says otherwise.
        gap_s: shortest pause between the end of one exchange and the next message.
        timeout_s: longest wait for a reply; also the daemon's reaction time to a silent peer.
        baud, bytesize, parity, stopbits, xonxoff: serial lines only.
        unit: Modbus unit id.
    """

    terminator: bytes = b"\n"
    read_terminator: bytes | None = None
    encoding: str = "ascii"
    timeout_s: float = 0.25
    gap_s: float = 0.0
    baud: int = 9600
    bytesize: int = 8
    parity: str = "N"
    stopbits: float = 1
    xonxoff: bool = False
    unit: int = 1


@dataclass(frozen=True, slots=True)
class Exchange:
    """Raw bytes to send, and a regular expression that the reply must match in full.

    An empty `expect` means that no reply is awaited. Used where no driver can run: by the
    sentinel, which knows bytes and addresses and nothing else.
    """

    send: bytes
    expect: bytes = b""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a line leads, in a form that the standard library can open.

    Attributes:
        kind: "tcp" or "serial".
        address: host or device path.
        port: TCP port; baud rate for a serial line.
        frame: how a serial line is framed, e.g. "8N1"; empty for TCP.
    """

    kind: str
    address: str
    port: int
    frame: str = ""


class Line(Protocol):
    """What every transport has.

    Attributes:
        exchanged: called at the end of every exchange, good or bad, of every pause and of every
            opening: the sign that the thread is not stuck in one.
    """

    settings: LineSettings
    exchanged: Callable[[], None]

    def open(self) -> None:
        """Open the line. Opening says nothing about who is there: identify afterwards.

        Raises:
            LinkDown: it cannot be opened.
        """
        ...

    def close(self) -> None:
        """Close; never raises, never blocks, may be called twice."""
        ...

    def endpoint(self) -> Endpoint | None:
        """For the sentinel; None where only a vendor library can reach it (GPIB, USB)."""
        ...


class TextLine(Line, Protocol):
    """Messages and replies that end with a terminator."""

    def ask(self, message: str) -> str:
        """Send one message and return its one-line reply, without the terminator.

        Stale bytes are dropped before the message leaves.

        Raises:
            NoReply: nothing whole arrived in time.
            LinkDown: the peer is gone.
            BadReply: bytes that the encoding does not allow.
        """
        ...

    def tell(self, message: str) -> None:
        """Send one message that has no reply."""
        ...

    def read_line(self) -> str:
        """Wait up to `timeout_s` for one more line (a reply of several lines).

        Raises:
            NoReply: nothing whole arrived in time.
        """
        ...

    def read_ready(self) -> list[str]:
        """The whole lines that have already arrived, without waiting; [] when none.

        For dialects that stream (a running script); never drops a partial line.
        """
        ...


class RegisterLine(Line, Protocol):
    """Modbus: registers and single bits of one unit. Addresses are as in the frame (from 0)."""

    def read(self, address: int, count: int = 1) -> list[int]:
        """Function 3, holding registers.

        Raises:
            NoReply, LinkDown, BadReply: as for text.
            InstrumentRefused: a Modbus exception; its code is in the message.
        """
        ...

    def write(self, address: int, values: Sequence[int]) -> None:
        """Function 16, several registers."""
        ...

    def write_one(self, address: int, value: int) -> None:
        """Function 6, one register."""
        ...

    def write_exchange(self, address: int, values: Sequence[int]) -> Exchange:
        """The raw frames of `write` (or `write_one` for one value), for the sentinel."""
        ...

    def read_inputs(self, address: int, count: int) -> list[bool]:
        """Function 2, discrete inputs; raises as `read` does."""
        ...

    def read_coils(self, address: int, count: int) -> list[bool]:
        """Function 1, coils."""
        ...

    def write_coil(self, address: int, value: bool) -> None:
        """Function 5, one coil."""
        ...

    def write_coil_exchange(self, address: int, value: bool) -> Exchange:
        """The raw frames of `write_coil`, for the sentinel."""
        ...
