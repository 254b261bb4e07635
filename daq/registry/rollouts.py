"""Which version of a protocol runs at which station, from what was rolled out and back.

Each station has a stack of versions, its newest on top; stations that were never named have one in
common, that of `EVERYWHERE`. Rolling out puts a version on top, rolling back takes it off, and
what ran there before is on top again. A run that has begun is never touched by either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from daq.errors import InputError

EVERYWHERE = "*"
RELEASED, ROLLED_OUT, ROLLED_BACK = "released", "rolled out", "rolled back"


@dataclass(slots=True)
class Rollouts:
    """The stacks of one protocol."""

    stacks: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    pushed: list[str] = field(default_factory=list[str])

    @classmethod
    def replay(cls, history: Iterable[Mapping[str, Any]]) -> Rollouts:
        """What a history of rollouts has come to."""
        made = cls()
        for entry in history:
            if entry.get("what") == ROLLED_OUT:
                made.roll_out(str(entry["version"]), entry["stations"])
            elif entry.get("what") == ROLLED_BACK:
                made.take_off(entry["stations"])
        return made

    def at(self, station: str) -> str | None:
        """The version that a station starts; None when none was rolled out to it."""
        stack = self.stacks.get(station, self.stacks.get(EVERYWHERE, []))
        return stack[-1] if stack else None

    def now(self) -> dict[str, str]:
        """Station -> version; `*` is all stations that are not named."""
        return {station: stack[-1] for station, stack in self.stacks.items() if stack}

    def roll_out(self, version: str, stations: Iterable[str]) -> None:
        """Put a version on top; `*` is every station, also those that are still to come."""
        named = set(stations)
        for station in (self.stacks.keys() | {EVERYWHERE}) if EVERYWHERE in named else named:
            stack = self._own(station)
            if stack[-1:] != [version]:  # the same again is nothing to go back to
                stack.append(version)
        self.pushed.append(version)

    def take_off(self, stations: Iterable[str]) -> None:
        """Take the top off the stacks that `to_roll_back` has named."""
        for station in stations:
            self._own(station).pop()

    def to_roll_back(self, stations: Iterable[str]) -> list[str]:
        """The stacks that rolling back concerns; without stations, those with the newest version.

        Raises:
            InputError: nothing ran at one of them before.
        """
        chosen = list(stations) or self._with_newest()
        for station in chosen:
            stack = self.stacks.get(station, self.stacks.get(EVERYWHERE, []))
            where = "the lab" if station == EVERYWHERE else station
            if not stack:
                raise InputError(f"nothing was rolled out to {where}")
            if len(stack) == 1:
                raise InputError(f"nothing ran at {where} before {stack[0]}")
        return chosen

    def _with_newest(self) -> list[str]:
        """The stacks whose top is the version that was rolled out last and is in use still."""
        tops = self.now()
        newest = next((one for one in reversed(self.pushed) if one in tops.values()), None)
        if newest is None:
            raise InputError("nothing was rolled out", remedy="daq protocol rollout NAME VERSION")
        return sorted(station for station, version in tops.items() if version == newest)

    def _own(self, station: str) -> list[str]:
        """The stack of a station; it begins with what it had in common with the others."""
        return self.stacks.setdefault(station, list(self.stacks.get(EVERYWHERE, [])))
