"""Text lines: messages and replies that end with a terminator, over any wire."""

from __future__ import annotations

import re

from daq.bus.line import LineSettings
from daq.bus.session import Session, SessionLine
from daq.clock import monotonic
from daq.errors import BadReply, LinkDown, NoReply

DOUBT = (NoReply, BadReply, LinkDown)
"""After these nobody knows what the wire still carries."""

_STRAY = re.compile(r"[^\t\n\r\x11\x13\x20-\x7e\x80-\U0010ffff]")
"""No dialect says these but XON, XOFF and line ends; a NUL in a name is more than HDF5 can hold."""

LONGEST = 1 << 20
"""More than any instrument's reply; a peer that babbles without a terminator ends here."""


class WireTextLine(SessionLine):
    """`daq.bus.line.TextLine` over a wire.

    The deadline is for the whole reply, however slowly its bytes come.
    """

    def __init__(self, session: Session, settings: LineSettings) -> None:
        super().__init__(session, settings)
        self._end_out = settings.terminator
        self._end_in = settings.read_terminator or settings.terminator
        self._arrived = bytearray()

    def open(self) -> None:
        """See `daq.bus.line.Line`."""
        self._arrived.clear()
        super().open()

    def ask(self, message: str) -> str:
        """See `daq.bus.line.TextLine`."""
        deadline = self._begin()
        try:
            self._arrived.clear()
            self._drop_stale(deadline)
            self._send(message, deadline)
            reply = self._line(deadline)
        except DOUBT:
            self._fail()
            raise
        self._end()
        return reply

    def tell(self, message: str) -> None:
        """See `daq.bus.line.TextLine`. Drops nothing: a running script may be streaming."""
        deadline = self._begin()
        try:
            self._send(message, deadline)
        except DOUBT:
            self._fail()
            raise
        self._end()

    def read_line(self) -> str:
        """See `daq.bus.line.TextLine`."""
        self._require_open()
        try:
            line = self._line(monotonic() + self.settings.timeout_s)
        except DOUBT:
            self._fail()
            raise
        self._end()
        return line

    def read_ready(self) -> list[str]:
        """See `daq.bus.line.TextLine`."""
        self._require_open()
        try:
            self._collect()
            whole, end, rest = self._arrived.rpartition(self._end_in)
            self._arrived = rest
            return [self._decode(line) for line in whole.split(self._end_in)] if end else []
        except DOUBT:
            self._fail()
            raise

    def _send(self, message: str, deadline: float) -> None:
        self._wire.send(message.encode(self.settings.encoding) + self._end_out, deadline)

    def _line(self, deadline: float) -> str:
        while self._end_in not in self._arrived:
            data = self._wire.receive(deadline)
            if not data:
                raise self._nothing_whole()
            self._take(data)
        line, _, self._arrived = self._arrived.partition(self._end_in)
        return self._decode(line)

    def _collect(self) -> None:
        try:
            while data := self._wire.receive_now():
                self._take(data)
        except LinkDown:
            if self._end_in not in self._arrived:
                raise  # else the lines that came before the end are given out first

    def _take(self, data: bytes) -> None:
        self._arrived += data
        if len(self._arrived) > LONGEST:
            raise BadReply(f"{self._wire} sent {LONGEST} bytes")

    def _nothing_whole(self) -> NoReply | BadReply:
        if self._arrived:
            return BadReply(f"{self._wire} sent only a part of a line: {bytes(self._arrived)!r}")
        return NoReply(f"{self._wire} did not answer within {self.settings.timeout_s:g} s")

    def _decode(self, line: bytearray) -> str:
        try:
            text = line.decode(self.settings.encoding)
        except UnicodeDecodeError as error:
            raise BadReply(f"{self._wire} sent garbage: {bytes(line)!r}") from error
        if not text.isprintable() and _STRAY.search(text):
            raise BadReply(f"{self._wire} sent garbage: {bytes(line)!r}")
        return text
