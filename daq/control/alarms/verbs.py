"""The commands about alarms: `alarms`, `ack`, `maintenance`, and what the gateway reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any

from daq.control.alarms.alarms import Alarms
from daq.control.alarms.book import counts
from daq.control.alarms.causes import Cause
from daq.errors import CommandRefused
from daq.model import Command

Handler = Callable[[Command], Awaitable[Mapping[str, Any]]]
REPORTED = frozenset({Cause.BROKER_AWAY, Cause.CERTIFICATE_EXPIRING})
"""What other processes of the daemon may report: they see it, and control does not."""


class AlarmVerbs:
    """Carries out the commands about alarms, on the loop.

    Args:
        stations: names of the stations of this lab.
    """

    def __init__(self, alarms: Alarms, stations: Container[str]) -> None:
        self._alarms = alarms
        self._stations = stations
        self.handlers: Mapping[str, Handler] = {
            "alarms": self._list,
            "ack": self._acknowledge,
            "maintenance": self._maintain,
            "report": self._report,
        }

    async def _list(self, command: Command) -> Mapping[str, Any]:
        self._alarms.drain()
        alarms = self._alarms.book.open
        if command.station:
            self._check(command.station)
            alarms = tuple(one for one in alarms if command.station in one.stations)
        return {"alarms": [one.document() for one in alarms], **counts(alarms)}

    async def _acknowledge(self, command: Command) -> Mapping[str, Any]:
        ident = str(command.arguments.get("alarm") or "")
        reason = str(command.arguments.get("reason") or "")
        if not reason.strip():
            raise CommandRefused("acknowledging an alarm needs a reason", remedy="--reason TEXT")
        return self._alarms.acknowledge(ident, command.client, reason).document()

    async def _maintain(self, command: Command) -> Mapping[str, Any]:
        self._check(command.station)
        arguments = command.arguments
        if arguments.get("end"):
            self._alarms.close_window(command.station, command.client)
            return {"station": command.station, "until_utc_s": None}
        seconds = arguments.get("for_s")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise CommandRefused("a maintenance window needs its length", remedy="--for 2h")
        reason = str(arguments.get("reason") or "")
        window = self._alarms.open_window(command.station, seconds, command.client, reason)
        return window.document()

    async def _report(self, command: Command) -> Mapping[str, Any]:
        named = str(command.arguments.get("cause") or "")
        if named not in REPORTED:
            raise CommandRefused(f"{named!r} is not a cause that is reported from outside")
        cause = Cause(named)
        if command.arguments.get("over"):
            self._alarms.end(cause)
        else:
            self._alarms.raise_(cause, str(command.arguments.get("message") or named))
        return {}

    def _check(self, station: str) -> None:
        if station not in self._stations:
            raise CommandRefused(f"there is no station {station!r}")
