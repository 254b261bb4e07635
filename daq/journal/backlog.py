"""What waits for the writer: never blocks whoever puts something in, and never grows for ever.

Beyond a bound, which a disk reaches that cannot be written for long, records are refused and
counted, and of the documents of one name only the last waits; runs are paused by then. Trips,
commands and whatever else is an event are never refused: they are few, and they are what somebody
will ask for.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daq.model import Entry, Event, EventKind, Record

BOUND = 20_000
"""Entries; half a minute of 64 channels at 10 Hz, about 10 MB."""


class Ticket:
    """Settled once the entries before it are on disk."""

    def __init__(self) -> None:
        self._done = threading.Event()

    def settle(self) -> None:
        """Called by the writer."""
        self._done.set()

    def wait(self, timeout_s: float) -> bool:
        """Whether everything is on disk within the time."""
        return self._done.wait(timeout_s)


@dataclass(frozen=True, slots=True)
class Document:
    """A small named document to be kept, or forgotten when there are no data."""

    kind: str
    name: str
    data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of the table of runs."""

    row: tuple[Any, ...]


Item = Entry | Document | RunRow | Ticket


class Backlog:
    """The queue between those who append and the one who writes. Thread-safe.

    Args:
        bound: number of entries from which on records are refused.
    """

    def __init__(self, bound: int = BOUND) -> None:
        self._bound = bound
        self._queue: deque[Sequence[Item]] = deque()
        self._refused: dict[tuple[str, str], list[float]] = {}  # [count, from_utc_s, to_utc_s]
        self._late: dict[tuple[str, str], Document] = {}
        self._beyond = threading.Lock()  # taken beyond the bound only
        self.wake = threading.Event()
        self.refused = 0
        self.gathered = _Gathered(self)
        self.taken = 0  # by the writer, and not yet on disk

    def __len__(self) -> int:
        return len(self._queue) + self.taken

    def put(self, item: Item, *, at_once: bool) -> None:
        """Queue one item, or gather it with the others of this thread's transaction."""
        gathered = self.gathered
        if gathered.depth:
            gathered.items.append(item)
            gathered.at_once |= at_once
        else:
            self.put_all((item,), at_once=at_once)

    def put_all(self, items: Sequence[Item], *, at_once: bool) -> None:
        """Queue items that are one transaction."""
        if len(self) >= self._bound:
            items = self._thinned(items)
        if items:
            self._queue.append(items)
        if at_once:
            self.wake.set()

    def take(self) -> list[Item]:
        """Everything that waits, in its order."""
        items: list[Item] = []
        while self._queue:
            items.extend(self._queue.popleft())
        if self._late:
            with self._beyond:
                late, self._late = self._late, {}
            items.extend(late.values())
        return items

    def _thinned(self, items: Sequence[Item]) -> Sequence[Item]:
        left: list[Item] = []
        with self._beyond:
            for item in items:
                if isinstance(item, Record):
                    self._refuse(item)
                elif isinstance(item, Document):
                    self._late[item.kind, item.name] = item
                else:
                    left.append(item)
        return left

    def _refuse(self, record: Record) -> None:
        self.refused += 1
        new = [0, record.utc_s, record.utc_s]
        seen = self._refused.setdefault((record.station, record.run), new)
        seen[0], seen[2] = seen[0] + 1, record.utc_s

    def gaps(self) -> list[Event]:
        """An event for every run that lacks records since the last call; the hole is marked."""
        if not self._refused:
            return []
        with self._beyond:
            refused, self._refused = self._refused, {}
        return [
            Event(
                EventKind.GAP,
                time.time(),
                station,
                run,
                data={
                    "from_utc_s": from_utc_s,
                    "to_utc_s": to_utc_s,
                    "reason": "the journal could not be written",
                    "records": count,
                },
            )
            for (station, run), (count, from_utc_s, to_utc_s) in refused.items()
        ]


class _Gathered(threading.local):
    """What each thread gathers for one transaction; see `Journal.together`."""

    def __init__(self, backlog: Backlog) -> None:
        self.depth = 0
        self.items: list[Item] = []
        self.at_once = False
        self._backlog = backlog

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        if not self.depth and self.items:
            items, at_once = self.items, self.at_once
            self.items, self.at_once = [], False
            self._backlog.put_all(items, at_once=at_once)
