"""What the rest of control raises alarms with, and what carries them to the journal.

`raise_` and `end` may be called from any thread, on the path from a sample to OFF too: they
append to a deque. Everything else belongs to the supervisor's loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from daq.control.alarms.alarm import Alarm, Place, Report, State, alarm_from
from daq.control.alarms.book import RUNBOOKS, Book, Happening
from daq.control.alarms.causes import CAUTIONS, Cause, cause_of
from daq.control.alarms.maintenance import LONGEST_S, Maintenance, Window
from daq.errors import CommandRefused
from daq.journal import Journal, Kept
from daq.logs import get_logger
from daq.model import Event, EventKind, Severity, Trip

MOST_WAITING = 10_000
KEEP_S = 1.0
_OF_THE_LINK = frozenset({"P1", "C1"})
"""Checks that blame an instrument that does not answer: its trips are symptoms of that."""
_OPEN = "open"
_log = get_logger()


class Alarms:
    """The alarms of a lab.

    Args:
        journal: where they are told and kept.
        utc: lab Unix time, now.
        kept: what earlier sessions left: kind -> name -> document.
        chambers: names of the instruments that are chambers.
        runbooks: what the name of a runbook's page is put behind.
        heard: told of everything that happens to an alarm, on the loop.
    """

    def __init__(
        self,
        journal: Journal,
        utc: Callable[[], float],
        *,
        kept: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
        chambers: Iterable[str] = (),
        runbooks: str = RUNBOOKS,
        heard: Callable[[State, Alarm], None] = lambda _, __: None,
    ) -> None:
        kept = kept or {}
        self._journal = journal
        self._utc = utc
        self._heard = heard
        self._chambers = frozenset(chambers)
        self._waiting: deque[Report] = deque(maxlen=MOST_WAITING)
        self._places: dict[str, Callable[[], Place]] = {}
        self.maintenance = Maintenance(kept.get(Kept.MAINTENANCE, {}))
        self.book = Book(place=self._place, hushed=self.maintenance.covers, runbooks=runbooks)
        self._restore(kept.get(Kept.ALARM, {}).get(_OPEN, {}))
        self._kept: tuple[Alarm, ...] | None = None  # none at all is worth keeping, too
        self._keep_at_utc_s = 0.0

    def _restore(self, document: Mapping[str, Any]) -> None:
        alarms: list[Alarm] = []
        for one in document.get("alarms", ()):
            try:
                alarms.append(alarm_from(one))
            except (LookupError, TypeError, ValueError) as error:  # of another version
                _log.warning("an alarm of an earlier session is not understood", error=str(error))
        self.book.restore(alarms, int(document.get("last", 0)))

    def know(self, station: str, place: Callable[[], Place]) -> None:
        """Where to ask which cell is at a station."""
        self._places[station] = place

    def _place(self, station: str) -> Place:
        found = self._places.get(station)
        return found() if found else Place()

    # From any thread; never waits.

    def raise_(
        self,
        cause: Cause,
        message: str,
        *,
        station: str = "",
        stations: Iterable[str] = (),
        instrument: str = "",
        severity: Severity | None = None,
        report: str = "",
    ) -> None:
        """Something is wrong. Say it once when it begins; saying it again does no harm.

        Args:
            cause: what it is about, of the closed list.
            message: what was seen, in words that a person can act on.
            station: the one that it concerns;
            stations: or several of them.
            instrument: the instrument (or the process) that it is about.
            severity: if it is not as loud as its cause usually is.
            report: what a machine wrote about it, word for word.
        """
        named = tuple(stations) or ((station,) if station else ())
        self._waiting.append(
            Report(cause, self._utc(), message, severity, instrument, named, report=report)
        )

    def end(self, cause: Cause, *, station: str = "", instrument: str = "") -> None:
        """It is not wrong any more; does nothing when it was not."""
        named = (station,) if station else ()
        self._waiting.append(
            Report(cause, self._utc(), subject=instrument, stations=named, over=True)
        )

    def tripped(self, station: str, trip: Trip) -> None:
        """A station has tripped. What is the fault of an instrument is told beneath it."""
        cause, instrument = cause_of(trip), trip.source.partition(".")[0]
        silent = Cause.CHAMBER_DEAD if instrument in self._chambers else Cause.INSTRUMENT_SILENT
        of_link = trip.check in _OF_THE_LINK and instrument
        self._waiting.append(
            Report(
                cause,
                self._utc(),
                trip.message,
                subject=instrument if cause is Cause.TRIP_K1 else "",
                stations=(station,),
                under=(silent, instrument) if of_link else None,
            )
        )

    def cautioned(self, station: str, check: str, message: str) -> None:
        """A check of the guard has seen what is no reason to cut off, and one to look."""
        self.raise_(CAUTIONS.get(check, Cause.TRIP_OTHER), message, station=station)

    def cleared(self, station: str, trip: Trip) -> None:
        """Its trip was cleared."""
        self.end(cause_of(trip), station=station)

    # On the loop.

    def drain(self) -> None:
        """Take what was reported and what time has brought, and tell the journal."""
        while self._waiting:
            self._tell(self.book.take(self._waiting.popleft()))
        utc_s = self._utc()
        for window in self.maintenance.over(utc_s):
            self._close_window(window.station, "its time is over")
        self._tell(self.book.tick(utc_s))
        self._keep(utc_s)

    def drop(self, is_gone: Callable[[Alarm], bool]) -> None:
        """End alarms about what is not there any more."""
        self._tell(self.book.drop(is_gone, self._utc()))

    def acknowledge(self, ident: str, by: str, reason: str) -> Alarm:
        """Somebody has taken an alarm on.

        Raises:
            CommandRefused: there is no such open alarm.
        """
        self.drain()
        try:
            happenings = self.book.acknowledge(ident, by, reason, self._utc())
        except KeyError:
            known = ", ".join(alarm.id for alarm in self.book.open) or "none is open"
            raise CommandRefused(f"there is no open alarm {ident!r}", remedy=known) from None
        self._tell(happenings)
        self._keep(self._utc())
        return happenings[-1][1]

    def open_window(self, station: str, for_s: float, by: str, reason: str) -> Window:
        """Open a maintenance window at a station.

        Raises:
            CommandRefused: no reason, or not more than 0 s and at most 24 h.
        """
        if not reason.strip():
            raise CommandRefused("a maintenance window needs a reason", remedy="--reason TEXT")
        if not 0.0 < for_s <= LONGEST_S:
            raise CommandRefused(
                f"a maintenance window of {for_s:g} s", remedy="more than 0 s, at most 24 h"
            )
        now = self._utc()
        window = Window(station, now, now + for_s, by, reason)
        self.maintenance.open(window)
        self._journal.keep(Kept.MAINTENANCE, station, window.document())
        self._note_window("maintenance began", window.document(), station)
        return window

    def window(self, station: str) -> Mapping[str, Any] | None:
        """The document of the window that is open at a station."""
        window = self.maintenance.window(station)
        is_open = window and self.maintenance.covers(station, self._utc())
        return window.document() if window and is_open else None

    def close_window(self, station: str, by: str) -> None:
        """Close a maintenance window before its time.

        Raises:
            CommandRefused: none is open.
        """
        if not self.maintenance.covers(station, self._utc()):
            raise CommandRefused(f"no maintenance window is open at {station}")
        self._close_window(station, f"by {by}")

    def _close_window(self, station: str, why: str) -> None:
        self.maintenance.close(station)
        self._journal.forget(Kept.MAINTENANCE, station)
        self._note_window("maintenance ended", {"reason": why}, station)

    def _note_window(self, text: str, data: Mapping[str, Any], station: str) -> None:
        event = Event(EventKind.NOTE, self._utc(), station, data={"text": text, **data})
        self._journal.append(event, at_once=True)
        _log.info(text, **{**data, "station": station})

    def _tell(self, happenings: Iterable[Happening]) -> None:
        for state, alarm in happenings:
            self._keep_at_utc_s = 0.0
            self._journal.append(alarm.event(state), at_once=True)
            _say(state, alarm)
            self._heard(state, alarm)

    def _keep(self, utc_s: float) -> None:
        """Keep the open ones: at once when it was told, else (it counts on) once a second."""
        found = self.book.open
        if found == self._kept or 0.0 <= self._keep_at_utc_s - utc_s <= KEEP_S:
            return
        self._kept, self._keep_at_utc_s = found, utc_s + KEEP_S
        alarms = [alarm.document() for alarm in found]
        document = {"last": self.book.last, "utc_s": utc_s, "alarms": alarms}
        self._journal.keep(Kept.ALARM, _OPEN, document)


def _say(state: State, alarm: Alarm) -> None:
    loud = alarm.severity is Severity.PAGE and state in (State.BEGAN, State.AGAIN)
    say = _log.critical if loud and not alarm.suppressed else _log.warning
    say(
        f"alarm {state.value}",
        alarm=alarm.id,
        cause=alarm.cause.value,
        severity=alarm.severity.value,
        message=alarm.message,
        stations=list(alarm.stations),
    )
