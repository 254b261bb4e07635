"""While something that every run relies on is missing, every run is paused, and somebody is told.

The journal, the sentinel, and what daq/control/conditions.py looks at. A pause of this kind is
ended by an operator, or by the policy that resumes runs: never by the condition going away, which
it may do for a moment only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from daq.control.alarms import Alarms, Cause
from daq.control.station import Station
from daq.logs import get_logger

_log = get_logger()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that every run relies on.

    Attributes:
        look: says what is wrong now, empty when nothing is. Never blocks.
        cause: of its alarm; None where somebody else raises that.
    """

    look: Callable[[], str]
    cause: Cause | None = None


class Health:
    """Check U1 for all stations. On the event loop, several times a second.

    Args:
        stations: whose runs are paused.
        checks: in the order in which a pause names them.
        alarms: told when something begins to be wrong, and when it is over.
    """

    def __init__(
        self, stations: Iterable[Station], checks: Sequence[Check], alarms: Alarms
    ) -> None:
        self._stations = tuple(stations)
        self._checks = checks
        self._alarms = alarms
        self._wrong: dict[int, str] = {}

    @property
    def why_not(self) -> str:
        """Why nothing may be energised now; empty when nothing speaks against it."""
        return next(iter(self._wrong.values()), "")

    def tend(self) -> None:
        """Look, tell what is new, and pause what runs."""
        found = {at: why for at, check in enumerate(self._checks) if (why := check.look())}
        for at in sorted(found.keys() - self._wrong.keys()):
            _log.critical("every run is paused", reason=found[at])
            if cause := self._checks[at].cause:
                self._alarms.raise_(cause, f"{found[at]}; every run is paused")
        for at in sorted(self._wrong.keys() - found.keys()):
            _log.warning("over", reason=self._wrong[at])
            if cause := self._checks[at].cause:
                self._alarms.end(cause)
        self._wrong = found
        if why := self.why_not:
            self._pause_all(why)

    def _pause_all(self, why: str) -> None:
        for station in self._stations:
            conductor = station.conductor
            if conductor.run and not conductor.paused:
                station.home.urge(lambda c=conductor, s=station: c.pause(why, s.last))
