"""The audit log: who did what, each entry chained to the one before.

    sha256 = SHA256(sha256 of the entry before + newline + entry), in hex digits

The entry is a text, kept as it was hashed, so that any program can do the sum again. What was
changed, removed, put in or reordered breaks the chain where it was done. Whoever can write the file
can also write a whole new chain, or cut its end off: against that its head is published once a day
and with every start and end, and `daq audit verify --head` compares it with what somebody has kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from daq.errors import InputError
from daq.model import Event, EventKind

AUDITED = frozenset(
    {
        EventKind.SESSION_STARTED,
        EventKind.SESSION_ENDED,
        EventKind.COMMAND,
        EventKind.REFUSED,
        EventKind.CHANGED,
        EventKind.TRIP,
        EventKind.CLEARED,
        EventKind.AUDIT_HEAD,
    }
)
NOTHING = "0" * 64
"""What the first entry is chained to."""
_DAEMON = "daemon"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest entry: its number and its sha256. Written `17:3f…`."""

    number: int = 0
    sha256: str = NOTHING

    def __str__(self) -> str:
        return f"{self.number}:{self.sha256}"

    def next(self, entry: str) -> Head:
        """The head when this entry follows."""
        return Head(self.number + 1, digest(self.sha256, entry))


@dataclass(frozen=True, slots=True)
class Row:
    """One entry as it is stored."""

    number: int
    entry: str
    sha256: str


def parse_head(text: str) -> Head:
    """A head as it is printed and published.

    Raises:
        InputError: it is none.
    """
    number, _, sha256 = text.strip().partition(":")
    if not number.isascii() or not number.isdigit() or len(sha256) != len(NOTHING):
        raise InputError(
            f"{text!r} is not a head", remedy="write number:sha256, as it is published"
        )
    return Head(int(number), sha256)


def digest(before: str, entry: str) -> str:
    """The link of the chain."""
    return hashlib.sha256(f"{before}\n{entry}".encode()).hexdigest()


def entry_of(event: Event, seq: int, number: int) -> str:
    """The text of an entry: one line of JSON."""
    data = dict(event.data)
    document = {
        "number": number,
        "seq": seq,
        "utc_s": float(event.utc_s),
        "kind": event.kind.value,
        "station": event.station,
        "run": event.run,
        "actor": data.get("client") or data.get("by") or _DAEMON,
        "role": data.get("role") or "",
        "data": data,
    }
    return json.dumps(document, default=str)


def faults(
    rows: Iterable[Row], events: Mapping[int, Event], published: Sequence[Head] = ()
) -> Iterator[str]:
    """What is wrong with a log, first things first; nothing when it is whole.

    Args:
        rows: the log, in order.
        events: the audited events of the journal by their number: each has an entry.
        published: heads that somebody has kept.
    """
    head, kept = Head(), {found.number: found for found in published}
    unseen = dict(events)
    for row in rows:
        head = head.next(row.entry)
        if row.number != head.number:
            yield f"entry {head.number} is missing: number {row.number} follows"
            return
        if row.sha256 != head.sha256:
            yield f"entry {row.number} does not continue the chain: it, or one before, was changed"
            return
        if row.number in kept and kept[row.number].sha256 != row.sha256:
            yield f"entry {row.number} is not the one that was published"
            return
        event = unseen.pop(_seq(row.entry), None)
        if event is None or entry_of(event, event.seq, row.number) != row.entry:
            yield f"entry {row.number} is not what the journal has as its event"
    for number in sorted(number for number in kept if number > head.number):
        yield f"entry {number} was published and is not there: the log ends with {head.number}"
    for seq, event in sorted(unseen.items()):
        yield f"event {seq} ({event.kind.value}) has no entry"


def _seq(entry: str) -> int:
    try:
        return int(json.loads(entry)["seq"])
    except (ValueError, KeyError, TypeError):
        return 0
