"""The reading side of the journal, for any process: short transactions, nothing locked."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daq.access.audit import AUDITED, Row
from daq.errors import JournalError
from daq.journal.tables import (
    SELECT_AUDIT,
    SELECT_EVENT,
    SELECT_MEASURED,
    SELECT_RECORD,
    SELECT_RUN,
    check_version,
    event_from,
    last_seq,
    record_from,
    run_from,
)
from daq.model import Entry, Event, EventKind, Record, RunInfo

DAMAGE = (sqlite3.Error, ValueError, TypeError, OverflowError, RecursionError)
"""What reading raises when pages of the file are not what was written."""
BATCH = 8192
"""Records of a run that are read at a time: 5 MB of objects. More at a time take longer each."""


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive entries, as the journal holds them: no object is made per record.

    Attributes:
        rows: the records in order, each `RECORD_COLUMNS`, then seq; None for what is not measured.
        events: the events in order.
    """

    rows: list[tuple[Any, ...]]
    events: list[Event]

    def __len__(self) -> int:
        return len(self.rows) + len(self.events)

    @property
    def last_seq(self) -> int:
        """The highest sequence number; 0 when empty."""
        last_row = self.rows[-1][-1] if self.rows else 0
        return max(last_row, self.events[-1].seq if self.events else 0)


class JournalReader:
    """The reading side, for any process. Read transactions are short; nothing is locked.

    Raises:
        JournalError: there is no journal at the path, or it is of another version; from every
            method: it cannot be read, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise JournalError(f"there is no journal at {path}", remedy="start the daemon first")
        with self._understood():
            self._database = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro",
                uri=True,
                timeout=10.0,
                check_same_thread=False,
                isolation_level=None,
            )
        check_version(self._database, path)

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    @contextmanager
    def _understood(self) -> Generator[None]:
        try:
            yield
        except DAMAGE as error:
            raise JournalError(
                f"the journal {self.path} cannot be read: {type(error).__name__}: {error}"
            ) from error

    def head(self) -> int:
        """The highest committed sequence number; 0 when empty."""
        with self._understood():
            return last_seq(self._database)

    def last_event(self) -> int:
        """The highest committed sequence number of an event; 0 when there is none."""
        with self._understood():
            query = "SELECT coalesce(max(seq), 0) FROM event"
            return int(self._database.execute(query).fetchone()[0])

    def last_of(self, run: str) -> int:
        """The highest sequence number of a run; 0 when it has none."""
        query = "SELECT max(coalesce((SELECT max(seq) FROM record WHERE run = :run), 0), "
        query += "coalesce((SELECT max(seq) FROM event WHERE run = :run), 0))"
        with self._understood():
            return int(self._database.execute(query, {"run": run}).fetchone()[0])

    def entries(self, after: int, limit: int = 5000) -> list[Entry]:
        """Up to `limit` entries with `seq > after`, in order, records and events merged."""
        with self._understood():
            page = self.page(after, limit)
            merged: list[Entry] = [record_from(row) for row in page.rows]
            merged += page.events
            merged.sort(key=lambda entry: entry.seq)
            return merged

    def page(self, after: int, limit: int, last: int = sys.maxsize) -> Page:
        """Up to `limit` entries with `after < seq <= last`."""
        with self._understood(), self._snapshot():
            bound = min(self._page_end(after, limit), last)
            records = self._database.execute(
                f"{SELECT_RECORD} WHERE seq > ? AND seq <= ? ORDER BY seq", (after, bound)
            ).fetchall()
            events = self._database.execute(
                f"{SELECT_EVENT} WHERE seq > ? AND seq <= ? ORDER BY seq", (after, bound)
            ).fetchall()
            return Page(records, [event_from(row) for row in events])

    def _page_end(self, after: int, limit: int) -> int:
        # Sequence numbers have no holes but where runs were pruned; a page may then be shorter.
        query = (
            "SELECT min(seq) FROM (SELECT min(seq) AS seq FROM record WHERE seq > ? "
            "UNION ALL SELECT min(seq) FROM event WHERE seq > ?)"
        )
        first = self._database.execute(query, (after, after)).fetchone()[0]
        return (first or after + 1) + limit - 1

    @contextmanager
    def _snapshot(self) -> Generator[None]:
        # Both tables as of one commit; otherwise an event could show up before a record that
        # precedes it, and a cursor would pass that record by.
        self._database.execute("BEGIN")
        try:
            yield
        finally:
            self._database.rollback()  # nothing was written; a damaged file may not let us commit

    def record_rows(
        self, run: str, after: int = 0, batch: int = 50_000
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The records of one run as raw rows (`RECORD_COLUMNS` order, then seq), in batches."""
        yield from self._rows(SELECT_RECORD, run, after, batch)

    def measured_rows(
        self, run: str, after: int = 0, batch: int = BATCH
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The same without station and run (`MEASURED_COLUMNS` order, then seq).

        The fast way to rebuild a file: no object is made per row, and no text.
        """
        yield from self._rows(SELECT_MEASURED, run, after, batch)

    def _rows(
        self, select: str, run: str, after: int, batch: int
    ) -> Iterator[list[tuple[Any, ...]]]:
        query = f"{select} WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?"
        while rows := self._batch(query, run, after, batch):
            yield rows
            after = rows[-1][-1]

    def _batch(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        with self._understood():
            return self._database.execute(query, arguments).fetchall()

    def around_edges(self, run: RunInfo, edges: int) -> list[Record]:
        """The records on both sides of a run's latest step edges, and its last one; in order.

        A run's first edge is between its first two records: it begins with a sample that was taken
        before it did anything. In runs of earlier versions it is the one from the idle station's
        last record to the first.
        """
        latest = "SELECT seq FROM event WHERE run = ? AND kind = ? ORDER BY seq DESC LIMIT ?"
        ended = self._batch(latest, run.id, EventKind.STEP_ENDED.value, edges)
        found: dict[int, Record] = {}
        for (seq,) in ended:
            self._add(found, "run = ? AND seq < ? ORDER BY seq DESC", run.id, seq)
            self._add(found, "run = ? AND seq > ? ORDER BY seq", run.id, seq)
        self._add(found, "run = ? AND seq > ? ORDER BY seq DESC", run.id, 0)
        if len(ended) < edges:
            self._add(found, "run = ? AND seq > ? ORDER BY seq", run.id, 0)
            self._add(found, "run = ? AND seq > ? ORDER BY seq", run.id, min(found, default=0))
            idle = "run = '' AND station = ? AND seq < ? ORDER BY seq DESC"
            self._add(found, idle, run.station, min(found, default=0))
        return [found[seq] for seq in sorted(found)]

    def _add(self, found: dict[int, Record], which: str, name: str, seq: int) -> None:
        query = f"{SELECT_RECORD} WHERE {which} LIMIT 1"
        for row in self._batch(query, name, seq):
            found[row[-1]] = record_from(row)

    def events(self, run: str = "", kinds: frozenset[EventKind] | None = None) -> list[Event]:
        """The events of one run (all events when `run` is empty), in order."""
        with self._understood():
            where, arguments = ("WHERE run = ?", (run,)) if run else ("", ())
            rows = self._database.execute(f"{SELECT_EVENT} {where} ORDER BY seq", arguments)
            found = (event_from(row) for row in rows)
            return [event for event in found if kinds is None or event.kind in kinds]

    def events_of(self, run: str, kind: EventKind, batch: int = 8192) -> Iterator[list[Event]]:
        """The events of one kind of one run, in order, in batches: there may be a great many."""
        query = f"{SELECT_EVENT} WHERE run = ? AND kind = ? AND seq > ? ORDER BY seq LIMIT ?"
        after = 0
        while rows := self._batch(query, run, kind.value, after, batch):
            events = [event_from(row) for row in rows]
            yield events
            after = events[-1].seq

    def run(self, run: str) -> RunInfo | None:
        """One run, or None."""
        with self._understood():
            row = self._database.execute(f"{SELECT_RUN} WHERE id = ?", (run,)).fetchone()
            return run_from(row) if row else None

    def runs(self) -> list[RunInfo]:
        """All runs, oldest first."""
        with self._understood():
            rows = self._database.execute(f"{SELECT_RUN} ORDER BY started_utc_s, id")
            return [run_from(row) for row in rows]

    def audit(self, after: int = 0) -> Iterator[Row]:
        """The audit log, in order, from the entry after the given number."""
        query = f"{SELECT_AUDIT} WHERE number > ? ORDER BY number LIMIT 1000"
        while rows := self._batch(query, after):
            yield from (Row(*row) for row in rows)
            after = rows[-1][0]

    def audited_events(self) -> dict[int, Event]:
        """The events that must be in the audit log, by their number."""
        rows = self._batch("SELECT coalesce(min(json_extract(entry, '$.seq')), 0) FROM audit")
        first = int(rows[0][0])  # what was written before there was such a log is not in it
        return {event.seq: event for event in self.events(kinds=AUDITED) if event.seq >= first}

    def kept(self, kind: str, after_version: int = 0) -> dict[str, tuple[int, dict[str, Any]]]:
        """Name -> (version, document) of one kind, those with a version above the given one."""
        with self._understood():
            rows = self._database.execute(
                "SELECT name, version, data FROM keep WHERE kind = ? AND version > ?",
                (kind, after_version),
            )
            return {name: (version, json.loads(data)) for name, version, data in rows}
