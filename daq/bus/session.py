"""One open wire and the lines that share it.

Two instruments behind one Modbus gateway, or on one RS-485 pair, are two lines on one session:
one TCP connection, one serial port. The first line that opens opens the wire, the last one that
closes closes it.

After a missing or a wrong reply the wire is dropped at once, for all: the late reply must not
answer anybody's next question. A line that did not cause it gets `LinkDown` at its next exchange
and opens again like after any other loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from weakref import WeakValueDictionary

from daq.bus.line import Endpoint, LineSettings
from daq.bus.wire import CONNECT_S, Wire, not_open, remaining
from daq.clock import monotonic
from daq.errors import BadReply, InputError


class Session:
    """The wire, who is on it, and when it was last busy. One thread uses it: that of the bus.

    Args:
        wire: closed.
        per_exchange: open the wire for each exchange and close it after, for a controller that
            takes one connection at a time and is shared with other programs.
    """

    def __init__(self, wire: Wire, *, per_exchange: bool = False) -> None:
        self.wire = wire
        self.per_exchange = per_exchange
        self.busy_until = 0.0
        self._members: set[SessionLine] = set()

    def join(self, line: SessionLine) -> None:
        """Add a line; opens the wire if nobody has. Raises LinkDown."""
        if not self.per_exchange and not self.wire.is_open:
            self._members.clear()
            self.wire.open(max(line.settings.timeout_s, CONNECT_S))
        self._members.add(line)

    def leave(self, line: SessionLine) -> None:
        """Remove a line; closes the wire with the last one."""
        self._members.discard(line)
        if not self._members:
            self.wire.close()

    def drop(self) -> None:
        """Close the wire now, for every line."""
        self._members.clear()
        self.wire.close()

    def holds(self, line: SessionLine) -> bool:
        """Whether the line has joined and the wire has not been dropped since."""
        return line in self._members

    def keep_gap(self, gap_s: float) -> None:
        """Sleep until the wire has been quiet for `gap_s`."""
        pause = self.busy_until + gap_s - monotonic()
        if pause > 0:
            time.sleep(pause)


class SessionLine:
    """What text and Modbus lines share: joining, leaving, and refusing after a failure."""

    def __init__(self, session: Session, settings: LineSettings) -> None:
        self.settings = settings
        self.exchanged: Callable[[], None] = _nothing
        self._session = session
        self._wire = session.wire

    def open(self) -> None:
        """See `daq.bus.line.Line`."""
        self._session.join(self)
        self.exchanged()

    def close(self) -> None:
        """See `daq.bus.line.Line`."""
        self._session.leave(self)

    def endpoint(self) -> Endpoint | None:
        """See `daq.bus.line.Line`."""
        return self._wire.endpoint()

    def _require_open(self) -> None:
        if not self._session.holds(self):
            raise not_open(str(self._wire))

    def _begin(self) -> float:
        """Start an exchange: refuse, pause or connect as needed; return its deadline."""
        self._require_open()
        session = self._session
        if self.settings.gap_s:
            session.keep_gap(self.settings.gap_s)
            self.exchanged()
        deadline = monotonic() + self.settings.timeout_s
        if session.per_exchange:
            session.wire.open(remaining(deadline))
        return deadline

    def _drop_stale(self, deadline: float) -> None:
        """Throw away what arrived unasked: it would answer the next question."""
        while self._wire.receive_now():
            if monotonic() >= deadline:
                raise BadReply(f"{self._wire} never stops sending")

    def _end(self) -> None:
        """End an exchange that went well, or was refused in good order."""
        self._session.busy_until = monotonic()
        if self._session.per_exchange:
            self._wire.close()
        self.exchanged()

    def _fail(self) -> None:
        """End an exchange that leaves the wire in doubt."""
        self._session.busy_until = monotonic()
        self._session.drop()
        self.exchanged()


def _nothing() -> None:
    """Nobody wants to know."""


_sessions: WeakValueDictionary[str, Session] = WeakValueDictionary()
_lock = Lock()


def shared_session(key: str, make: Callable[[], Session]) -> Session:
    """The process's one session for `key`; made when there is none.

    Raises:
        InputError: it exists with other settings (baud rate, frame, session mode).
    """
    made = make()
    with _lock:
        session = _sessions.setdefault(key, made)
    if (session.wire.endpoint(), session.per_exchange) != (made.wire.endpoint(), made.per_exchange):
        raise InputError(
            f"two instruments share {made.wire} but ask for different settings: "
            f"{session.wire.endpoint()} and {made.wire.endpoint()}",
            remedy="give both the same baud rate, frame and session option",
        )
    return session
