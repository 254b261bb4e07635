"""Notes when a fault of a link begins and when it ends; once each. One that lasts is an alarm."""

from __future__ import annotations

import time
from dataclasses import dataclass

from daq.clock import monotonic
from daq.control.alarms import Alarms, Cause
from daq.control.instrument import Instrument
from daq.errors import InstrumentError, WrongIdentity
from daq.journal import Journal
from daq.logs import get_logger
from daq.model import Event, EventKind

OF_A_LINK = (Cause.CHAMBER_DEAD, Cause.INSTRUMENT_SILENT, Cause.WRONG_INSTRUMENT)
_log = get_logger()


@dataclass(frozen=True, slots=True)
class Fault:
    """A link that is not good: since when (`monotonic()`), and what it said first."""

    since_s: float
    message: str
    stranger: bool


class Faults:
    """Listens to every instrument; see `daq.control.instrument.Listener`.

    Attributes:
        open: by instrument: the faults that last.
    """

    def __init__(self, journal: Journal, alarms: Alarms) -> None:
        self.open: dict[str, Fault] = {}
        self._journal = journal
        self._alarms = alarms

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        """First failure since the link was good."""
        message = f"{type(error).__name__}: {error}"
        stranger = isinstance(error, WrongIdentity)
        self.open[instrument.name] = Fault(monotonic(), message, stranger)
        self._note(EventKind.FAULT_BEGAN, instrument, message)

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        """The link is good again."""
        self.open.pop(instrument.name, None)
        self._note(EventKind.FAULT_ENDED, instrument, f"lasted {lasted_s:.3g} s")
        self._end(instrument.name)

    def connected(self, instrument: Instrument) -> None:
        """Its link came up; what an earlier session said of it is over. A fault is not, yet."""
        if instrument.name not in self.open:
            self._end(instrument.name)

    def _end(self, instrument: str) -> None:
        for cause in OF_A_LINK:
            self._alarms.end(cause, instrument=instrument)

    def _note(self, kind: EventKind, instrument: Instrument, message: str) -> None:
        data = {"instrument": instrument.name, "message": message}
        self._journal.append(Event(kind, time.time(), data=data), at_once=True)
        say = _log.warning if kind is EventKind.FAULT_BEGAN else _log.info
        say(kind.value.replace("_", " "), **data)
