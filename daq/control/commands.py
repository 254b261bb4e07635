"""What each command means. Runs on control's event loop; the deed is done on the home bus thread.

The same command id again gets the stored answer, also after a restart: a script whose connection
broke may simply send it again.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from daq.access.roles import OFF_VERBS, check_role
from daq.control.answers import Answers, check_same
from daq.control.assembly import Bench
from daq.control.start import Starter
from daq.control.station import Station
from daq.control.status import station_status
from daq.errors import CommandRefused, DaqError
from daq.journal import Journal, Kept
from daq.logs import get_logger
from daq.model import Command, Event, EventKind, Reply

DEED_S = 10.0
"""Longest wait for a home bus; it answers at the latest after the transaction in flight."""
READY_S = 3.0
READY_LOOKS = 60
COMMIT_S = 1.0
LONGEST_ASKED = 2000
"""Characters of a command's arguments that the audit log keeps."""
EVERYWHERE = "*"
_SILENT = frozenset({"status", "instruments", "timing", "alarms", "protocols", "report"})
"""Commands that change nothing are neither journalled nor remembered."""

Handler = Callable[[Command], Awaitable[Mapping[str, Any]]]
_log = get_logger()


class Commands:
    """Carries out commands.

    Args:
        bench: what they act on.
        starter: makes runs.
        journal: where commands and their replies are kept.
        why_not: says why a station must not be energised.
        extra: documents for `status` that others provide.
        more: verbs that others carry out.
    """

    def __init__(
        self,
        bench: Bench,
        starter: Starter,
        journal: Journal,
        *,
        why_not: Callable[[str], str],
        replies: Mapping[str, Mapping[str, Any]],
        extra: Callable[[], Mapping[str, Any]],
        more: Mapping[str, Handler] | None = None,
    ) -> None:
        self._bench = bench
        self._starter = starter
        self._journal = journal
        self._extra = extra
        self._why_not = why_not
        self._answers = Answers(journal, replies)
        self._pending: dict[str, tuple[Command, asyncio.Future[Reply]]] = {}
        self._starting = asyncio.Lock()
        self._handlers: dict[str, Handler] = {
            "status": self._status,
            "instruments": self._instruments,
            "timing": self._timing,
            "start": self._start,
            "stop": self._stop,
            "pause": self._pause,
            "resume": self._resume,
            "clear": self._clear,
            "forget": self._forget,
            **(more or {}),
        }

    async def handle(self, command: Command) -> Reply:
        """Carry out one command; refusals are replies, not exceptions."""
        if not command.id:  # nothing to know it by: never take it for another
            command = replace(command, id=uuid.uuid4().hex)
        try:
            if known := self._answers.find(command):
                return known
            if pending := self._pending.get(command.id):
                check_same(command, pending[0])
                return await asyncio.shield(pending[1])
        except CommandRefused as error:
            refused = Reply(command.id, "refused", str(error))
            self._note(command, refused)
            return refused
        return await self._handle_new(command)

    async def _handle_new(self, command: Command) -> Reply:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[command.id] = command, future
        try:
            reply = await self._carry_out(command)
            future.set_result(reply)
        finally:
            del self._pending[command.id]
            future.cancel()
        if command.verb not in _SILENT:
            self._note(command, reply)
            self._answers.remember(command, reply)
            await self._committed()
        return reply

    async def _committed(self) -> None:
        """Whoever is told "done" may rely on it after a crash; a slow disk delays only the word."""
        ticket = self._journal.sync()
        await asyncio.get_running_loop().run_in_executor(None, ticket.wait, COMMIT_S)

    async def _carry_out(self, command: Command) -> Reply:
        try:
            handler = self._handlers.get(command.verb)
            if handler is None:
                known = ", ".join(sorted(self._handlers))
                raise CommandRefused(f"there is no command {command.verb!r}", remedy=known)
            check_role(command)
            if time.time() > command.expires_utc_s and command.verb not in OFF_VERBS:
                raise CommandRefused("the command has expired")
            return Reply(command.id, "done", data=await handler(command))
        except DaqError as error:
            return Reply(command.id, "refused", str(error))
        except TimeoutError:
            return Reply(command.id, "refused", f"the bus did not answer within {DEED_S:g} s")
        except Exception as error:  # noqa: BLE001 - a bug must not leave anybody without an answer
            _log.exception("a command failed with a bug", verb=command.verb, exc_info=error)
            return Reply(command.id, "refused", f"a bug: {type(error).__name__}: {error}")

    def _note(self, command: Command, reply: Reply) -> None:
        data = {
            "verb": command.verb,
            "id": command.id,
            "client": command.client,
            "role": command.role.value,
            "station": command.station,
            "state": reply.state,
            "reason": reply.reason,
            "asked": _asked(command),
        }
        self._journal.append(
            Event(EventKind.COMMAND, time.time(), command.station, data=data), at_once=True
        )

    # Verbs.

    async def _status(self, command: Command) -> Mapping[str, Any]:
        chosen = self._chosen(command)
        stations = {station.name: station_status(station) for station in chosen}
        return {"stations": stations, **self._extra()}

    async def _instruments(self, command: Command) -> Mapping[str, Any]:
        return {
            name: {
                "online": found.online,
                "identity": str(found.identity or ""),
                "resource": found.spec.resource,
                "connections": found.connections,
            }
            for name, found in self._bench.instruments.items()
        }

    async def _timing(self, command: Command) -> Mapping[str, Any]:
        """How each bus has kept its grid, with the lateness of its latest ticks one by one."""
        return {
            name: {
                "ticks": bus.statistics.ticks,
                "missed": bus.statistics.missed,
                "lateness_s": [round(late_s, 6) for late_s in bus.lateness_s.values()],
            }
            for name, bus in self._bench.buses.items()
        }

    async def _start(self, command: Command) -> Mapping[str, Any]:
        station = self._one(command)
        if station.latch:  # no waiting: a clear that is on its way is not to be followed blindly
            raise CommandRefused(f"tripped: {station.latch.message}", remedy="clear it first")
        await self._ready(station)
        # One at a time: two could take the same cell. Not on this loop: a large protocol takes
        # seconds to compile, and neither the heartbeat nor a `stop` can wait for that.
        async with self._starting:
            loop = asyncio.get_running_loop()
            run = await loop.run_in_executor(None, self._starter.make, station, command)
            if command.arguments.get("check") is True:
                return {"expected_s": run.engine.program.expected_s}
            await self._do(station, lambda: self._starter.begin(station, run))
        return {"run": run.info.id, "expected_s": run.engine.program.expected_s}

    async def _stop(self, command: Command) -> Mapping[str, Any]:
        reason = str(command.arguments.get("reason") or f"by {command.client}")
        chosen = self._chosen(command)
        deeds = (
            self._do(station, lambda s=station: _stop_now(s, reason), urgent=True)
            for station in chosen
        )
        verified = await asyncio.gather(*deeds)
        owed = [s.name for s, is_off in zip(chosen, verified, strict=True) if not is_off]
        if owed:
            raise CommandRefused(
                f"OFF was sent but is not verified yet at {', '.join(owed)}",
                remedy="it is being repeated; watch daq status, use the emergency stop if need be",
            )
        return {"stopped": [station.name for station in chosen]}

    async def _pause(self, command: Command) -> Mapping[str, Any]:
        reason = str(command.arguments.get("reason") or f"by {command.client}")
        station = self._one(command)
        pause = station.conductor.pause
        return _unless(await self._do(station, lambda: pause(reason, station.last), urgent=True))

    async def _resume(self, command: Command) -> Mapping[str, Any]:
        station = self._one(command)
        if not station.latch:  # else the station itself says what to do
            await self._ready(station)
        return _unless(await self._do(station, lambda: station.resume(command.client)))

    async def _clear(self, command: Command) -> Mapping[str, Any]:
        station = self._one(command)
        reason = str(command.arguments.get("reason") or "")
        if not reason.strip():
            raise CommandRefused("clearing a trip needs a reason", remedy="--reason TEXT")
        role = command.role.value
        _unless(await self._do(station, lambda: station.clear(command.client, reason, role)))
        run = station.conductor.run
        return {"run": run.info.id if run else ""}

    async def _forget(self, command: Command) -> Mapping[str, Any]:
        name = str(command.arguments.get("instrument") or "")
        instrument = self._bench.instruments.get(name)
        if instrument is None:
            known = ", ".join(self._bench.instruments)
            raise CommandRefused(f"there is no instrument {name!r}", remedy=known)
        instrument.forget_identity()
        self._journal.forget(Kept.IDENTITY, name)
        return {"forgotten": name}

    # Helpers.

    async def _ready(self, station: Station) -> None:
        """A daemon that has just come up needs a moment before it may energise anything."""
        why = ""
        for _ in range(READY_LOOKS):
            why = self._why_not(station.name)
            if not why:
                return
            await asyncio.sleep(READY_S / READY_LOOKS)
        raise CommandRefused(f"{station.name} cannot be energised: {why}")

    def _one(self, command: Command) -> Station:
        station = self._bench.stations.get(command.station)
        if station is None:
            known = ", ".join(self._bench.stations)
            raise CommandRefused(
                f"there is no station {command.station!r}", remedy=f"stations: {known}"
            )
        return station

    def _chosen(self, command: Command) -> list[Station]:
        if command.station in ("", EVERYWHERE):
            return list(self._bench.stations.values())
        return [self._one(command)]

    async def _do(self, station: Station, job: Callable[[], Any], *, urgent: bool = False) -> Any:
        future = asyncio.wrap_future(station.home.call(job, urgent=urgent))
        # OFF is done however late; what would energise is not, once its asker was told "no".
        return await asyncio.wait_for(asyncio.shield(future) if urgent else future, DEED_S)


def _asked(command: Command) -> dict[str, Any]:
    """The arguments, for the audit log; a protocol and its files are the run's to keep."""
    long = ("text", "files")
    asked = {key: value for key, value in command.arguments.items() if key not in long}
    return asked if len(str(asked)) <= LONGEST_ASKED else {"too_long": len(str(asked))}


def _stop_now(station: Station, reason: str) -> bool:
    """On its bus thread; whether OFF is verified. Later somebody else's OFF may be on its way."""
    station.conductor.stop(reason, station.last)
    return not station.output.owed


def _unless(reason: str) -> Mapping[str, Any]:
    """Turn a bus thread's "why not" into a refusal."""
    if reason:
        raise CommandRefused(reason)
    return {}
