"""Notes when a fault of a link begins and when it ends; once each."""

from __future__ import annotations

import time

from daq.control.instrument import Instrument
from daq.errors import InstrumentError
from daq.journal import Journal
from daq.logs import get_logger
from daq.model import Event, EventKind

_log = get_logger()


class Faults:
    """Listens to every instrument; see `daq.control.instrument.Listener`."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        """First failure since the link was good."""
        self._note(EventKind.FAULT_BEGAN, instrument, f"{type(error).__name__}: {error}")

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        """The link is good again."""
        self._note(EventKind.FAULT_ENDED, instrument, f"lasted {lasted_s:.3g} s")

    def _note(self, kind: EventKind, instrument: Instrument, message: str) -> None:
        data = {"instrument": instrument.name, "message": message}
        self._journal.append(Event(kind, time.time(), data=data), at_once=True)
        say = _log.warning if kind is EventKind.FAULT_BEGAN else _log.info
        say(kind.value.replace("_", " "), **data)
