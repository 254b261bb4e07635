"""The commands about released protocols: release, rollout, rollback, protocols.

Files are written beside the event loop: neither the heartbeat nor a `stop` waits for a slow disk.
What runs is never changed: a run has its program from its start on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from daq.control.choice import strings
from daq.errors import CommandRefused
from daq.filemodel import nearest
from daq.model import Command
from daq.protocol.source import parse_protocol
from daq.registry.protocols import Protocols
from daq.registry.rollouts import Rollouts
from daq.registry.shelf import Who

ValueT = TypeVar("ValueT")


class ProtocolVerbs:
    """Carries the commands out.

    Args:
        data: the lab's data folder.
        stations: the names of its stations.
    """

    def __init__(self, data: Path, stations: Collection[str]) -> None:
        self._protocols = Protocols(data)
        self._stations = stations
        self.handlers: dict[str, Callable[[Command], Awaitable[Mapping[str, Any]]]] = {
            "protocols": self._list,
            "release": self._release,
            "rollout": self._rollout,
            "rollback": self._rollback,
        }

    async def _list(self, command: Command) -> Mapping[str, Any]:
        return await _aside(lambda: {"protocols": listing(self._protocols)})

    async def _release(self, command: Command) -> Mapping[str, Any]:
        text = _text(command, "text")
        name = str(command.arguments.get("name") or "protocol")

        files = strings(command.arguments.get("files"), "files")

        def deed() -> Mapping[str, Any]:
            source = parse_protocol(text, name, files)
            new = self._protocols.release(source, _who(command))
            model = source.model
            label = {"protocol": model.protocol, "version": model.version, "sha256": source.sha256}
            return {**label, "new": new}

        return await _aside(deed)

    async def _rollout(self, command: Command) -> Mapping[str, Any]:
        name, version = _text(command, "protocol"), _text(command, "version")
        stations, who = self._named(command), _who(command)
        now = await _aside(lambda: self._protocols.roll_out(name, version, stations, who))
        return self._running(name, now)

    async def _rollback(self, command: Command) -> Mapping[str, Any]:
        name, stations, who = _text(command, "protocol"), self._named(command), _who(command)
        now = await _aside(lambda: self._protocols.roll_back(name, stations, who))
        return self._running(name, now)

    def _named(self, command: Command) -> list[str]:
        given: Any = command.arguments.get("stations") or []
        if not isinstance(given, list):
            raise CommandRefused("stations must be a list of names")
        names = [str(name) for name in cast("list[Any]", given)]
        for name in names:
            if name not in self._stations:
                remedy = nearest(name, self._stations)
                raise CommandRefused(f"there is no station {name!r}", remedy=remedy)
        return names

    def _running(self, name: str, rollouts: Rollouts) -> Mapping[str, Any]:
        """What every station of the lab starts from now on."""
        return {"protocol": name, "stations": {one: rollouts.at(one) for one in self._stations}}


def listing(protocols: Protocols) -> dict[str, Any]:
    """Name -> its versions, and which one stations start; `*`: those that are not named.

    Raises:
        DaqError: a history cannot be read.
    """
    return {
        name: {
            "versions": {one.version: one.sha256 for one in protocols.versions(name)},
            "stations": protocols.rollouts(name).now(),
        }
        for name in protocols.names()
    }


async def _aside(deed: Callable[[], ValueT]) -> ValueT:
    return await asyncio.get_running_loop().run_in_executor(None, deed)


def _text(command: Command, key: str) -> str:
    value = command.arguments.get(key)
    if not isinstance(value, str) or not value:
        raise CommandRefused(f"{command.verb} needs {key!r}")
    return value


def _who(command: Command) -> Who:
    return Who(command.client, str(command.arguments.get("reason") or ""))
