"""The journal: the durable, ordered log of everything. It is the truth; files are views of it.

One writer thread in the control process owns the only writing connection. `append` never blocks
and never touches the disk, so the path from a sample to OFF does not pass through here. Readers
in other processes (recorder, gateway, command line) open it read-only and keep cursors of their
own, so that no reader can hold the writer up.

Sequence numbers are given at commit, by the one writer: a reader that has seen `n` will never
later find a smaller number that it has not seen.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from daq.errors import JournalError
from daq.model import Entry, Event, EventKind, Record, RunInfo

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
  seq INTEGER PRIMARY KEY, station TEXT NOT NULL, run TEXT NOT NULL,
  test_time_s REAL NOT NULL, step_time_s REAL NOT NULL, utc_s REAL NOT NULL,
  voltage_V REAL, current_A REAL, temperature_degC REAL, chamber_degC REAL,
  cycle INTEGER NOT NULL, step INTEGER NOT NULL, step_count INTEGER NOT NULL,
  step_record INTEGER NOT NULL,
  charge_Ah REAL NOT NULL, discharge_Ah REAL NOT NULL,
  charge_Wh REAL NOT NULL, discharge_Wh REAL NOT NULL);
CREATE INDEX IF NOT EXISTS record_of_run ON record (run, seq);
CREATE TABLE IF NOT EXISTS event (
  seq INTEGER PRIMARY KEY, station TEXT NOT NULL, run TEXT NOT NULL, kind TEXT NOT NULL,
  utc_s REAL NOT NULL, test_time_s REAL, data TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS event_of_run ON event (run, seq);
CREATE TABLE IF NOT EXISTS run (
  id TEXT PRIMARY KEY, station TEXT NOT NULL, cell TEXT NOT NULL, protocol TEXT NOT NULL,
  started_utc_s REAL NOT NULL, document TEXT NOT NULL, ended_utc_s REAL, outcome TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS keep (
  kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (kind, name)) WITHOUT ROWID;
"""

_RECORD_COLUMNS = (
    "station", "run", "test_time_s", "step_time_s", "utc_s", "voltage_V", "current_A",
    "temperature_degC", "chamber_degC", "cycle", "step", "step_count", "step_record",
    "charge_Ah", "discharge_Ah", "charge_Wh", "discharge_Wh",
)  # fmt: skip
_INSERT_RECORD = (
    f"INSERT INTO record (seq, {', '.join(_RECORD_COLUMNS)}) "  # noqa: S608 - constant names
    f"VALUES ({', '.join('?' * (len(_RECORD_COLUMNS) + 1))})"
)
_SELECT_RECORD = f"SELECT {', '.join(_RECORD_COLUMNS)}, seq FROM record"  # noqa: S608
_INSERT_EVENT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)"
_SELECT_EVENT = "SELECT seq, station, run, kind, utc_s, test_time_s, data FROM event"
_UPSERT_RUN = (
    "INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
    "ended_utc_s = excluded.ended_utc_s, outcome = excluded.outcome"
)
_UPSERT_KEEP = (
    "INSERT INTO keep VALUES (?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET "
    "version = excluded.version, data = excluded.data"
)
_DELETE_KEEP = "DELETE FROM keep WHERE kind = ? AND name = ?"


class Kept:
    """Kinds of the small named documents that the journal keeps the latest version of."""

    CHECKPOINT = "checkpoint"  # by run: snapshot of its engine
    STATE = "state"  # by station: what status shows
    TRIP = "trip"  # by station: the latch
    REPLY = "reply"  # by command id: the stored answer
    IDENTITY = "identity"  # by instrument: who was last seen there


class Ticket:
    """Handed out by `Journal.append`; set once the entry is on disk, or lost with an error."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self.error: str = ""

    def settle(self, error: str = "") -> None:
        """Called by the writer."""
        self.error = error
        self._done.set()

    def wait(self, timeout_s: float) -> bool:
        """Whether the entry is on disk within the time."""
        return self._done.wait(timeout_s) and not self.error


class Journal:
    """The writing side. Thread-safe; made and closed by the control process only.

    Args:
        path: the SQLite file; made when it does not exist.
        group_s: longest time that an ordinary record waits for its commit, in real seconds.
        on_failure: called on the writer thread, once, when a commit begins to fail.
        on_recovery: called when commits work again.
    """

    def __init__(
        self,
        path: Path,
        *,
        group_s: float = 0.1,
        on_failure: Callable[[str], None] = lambda _: None,
        on_recovery: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self.failed = ""
        self.committed = 0
        self._group_s = group_s
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._queue: deque[tuple[str, tuple[Any, ...] | Entry, Ticket | None]] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._versions = 0
        self._database = _open_for_writing(path)
        self._seq = _last_seq(self._database)
        self._versions = _last_version(self._database)
        self._thread = threading.Thread(target=self._write_until_closed, name="journal")
        self._thread.start()

    # What the control process calls. None of these blocks.

    def append(self, entry: Entry, *, at_once: bool = False) -> None:
        """Queue an entry for the next group commit; `at_once` asks for that commit now."""
        self._queue.append(("entry", entry, None))
        if at_once:
            self._wake.set()

    def save_run(self, run: RunInfo) -> None:
        """Insert a run, or update how it ended."""
        row = (
            run.id,
            run.station,
            run.cell,
            run.protocol,
            run.started_utc_s,
            json.dumps(run.document, default=str),
            _null(run.ended_utc_s),
            run.outcome,
        )
        self._queue.append((_UPSERT_RUN, row, None))
        self._wake.set()

    def keep(self, kind: str, name: str, data: Mapping[str, Any]) -> None:
        """Replace a small named document in the next group commit."""
        self._queue.append((_UPSERT_KEEP, (kind, name, 0, json.dumps(data, default=str)), None))

    def forget(self, kind: str, name: str) -> None:
        """Delete a small named document."""
        self._queue.append((_DELETE_KEEP, (kind, name), None))

    def sync(self) -> Ticket:
        """A ticket that is settled when everything appended before it is on disk."""
        ticket = Ticket()
        self._queue.append(("sync", (), ticket))
        self._wake.set()
        return ticket

    def close(self, timeout_s: float = 5.0) -> None:
        """Commit what is queued and stop the writer.

        Raises:
            JournalError: something could not be written in time.
        """
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        if self._thread.is_alive() or self.failed:
            raise JournalError(f"the journal {self.path} was not closed: {self.failed or 'busy'}")

    # The writer thread.

    def _write_until_closed(self) -> None:
        batch: list[tuple[str, tuple[Any, ...] | Entry, Ticket | None]] = []
        while True:
            self._wake.wait(self._group_s)
            self._wake.clear()
            closing = self._closing
            while self._queue:
                batch.append(self._queue.popleft())
            if batch and self._commit(batch):
                batch.clear()
            if closing and not self._queue:
                break
            if self.failed and not closing:
                self._wake.wait(1.0)  # a full disk is not mended faster by trying harder
        self._database.close()

    def _commit(self, batch: list[tuple[str, tuple[Any, ...] | Entry, Ticket | None]]) -> bool:
        seq, versions = self._seq, self._versions
        try:
            with self._database:
                for statement, row, _ in batch:
                    if isinstance(row, Record):
                        seq += 1
                        self._database.execute(_INSERT_RECORD, _record_row(row, seq))
                    elif isinstance(row, Event):
                        seq += 1
                        self._database.execute(_INSERT_EVENT, _event_row(row, seq))
                    elif statement == _UPSERT_KEEP:
                        versions += 1
                        self._database.execute(statement, (row[0], row[1], versions, row[3]))
                    elif statement != "sync":
                        self._database.execute(statement, row)
        except sqlite3.Error as error:
            self._fail(str(error))
            return False
        self._seq = self.committed = seq
        self._versions = versions
        self._recover()
        for _, _, ticket in batch:
            if ticket:
                ticket.settle()
        return True

    def _fail(self, reason: str) -> None:
        began, self.failed = not self.failed, reason
        if began:
            self._on_failure(reason)

    def _recover(self) -> None:
        if self.failed:
            self.failed = ""
            self._on_recovery()

    @property
    def backlog(self) -> int:
        """Entries that wait for a commit."""
        return len(self._queue)


class JournalReader:
    """The reading side, for any process. Read transactions are short; nothing is locked.

    Raises:
        JournalError: there is no journal at the path, or it is of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise JournalError(f"there is no journal at {path}", remedy="start the daemon first")
        self._database = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=ro",
            uri=True,
            timeout=10.0,
            check_same_thread=False,
            isolation_level=None,
        )
        _check_version(self._database, path)

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def head(self) -> int:
        """The highest committed sequence number; 0 when empty."""
        return _last_seq(self._database)

    def entries(self, after: int, limit: int = 5000) -> list[Entry]:
        """Up to `limit` entries with `seq > after`, in order, records and events merged."""
        with self._snapshot():
            bound = self._page_end(after, limit)
            records = self._database.execute(
                f"{_SELECT_RECORD} WHERE seq > ? AND seq <= ? ORDER BY seq", (after, bound)
            ).fetchall()
            events = self._database.execute(
                f"{_SELECT_EVENT} WHERE seq > ? AND seq <= ? ORDER BY seq", (after, bound)
            ).fetchall()
        merged: list[Entry] = [_record(row) for row in records]
        merged += [_event(row) for row in events]
        merged.sort(key=lambda entry: entry.seq)
        return merged

    def _page_end(self, after: int, limit: int) -> int:
        # Sequence numbers have no holes but where old entries were pruned, at the beginning.
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
            self._database.execute("COMMIT")

    def record_rows(
        self, run: str, after: int = 0, batch: int = 50_000
    ) -> Iterator[list[tuple[Any, ...]]]:
        """The records of one run as raw rows (`RECORD_COLUMNS` order, then seq), in batches.

        The fast way to rebuild a file: no object is made per row.
        """
        query = f"{_SELECT_RECORD} WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?"
        while rows := self._database.execute(query, (run, after, batch)).fetchall():
            yield rows
            after = rows[-1][-1]

    def events(self, run: str = "", kinds: frozenset[EventKind] | None = None) -> list[Event]:
        """The events of one run (all events when `run` is empty), in order."""
        where, arguments = ("WHERE run = ?", (run,)) if run else ("", ())
        rows = self._database.execute(f"{_SELECT_EVENT} {where} ORDER BY seq", arguments)
        found = (_event(row) for row in rows)
        return [event for event in found if kinds is None or event.kind in kinds]

    def run(self, run: str) -> RunInfo | None:
        """One run, or None."""
        row = self._database.execute("SELECT * FROM run WHERE id = ?", (run,)).fetchone()
        return _run(row) if row else None

    def runs(self) -> list[RunInfo]:
        """All runs, oldest first."""
        rows = self._database.execute("SELECT * FROM run ORDER BY started_utc_s, id")
        return [_run(row) for row in rows]

    def kept(self, kind: str, after_version: int = 0) -> dict[str, tuple[int, dict[str, Any]]]:
        """Name -> (version, document) of one kind, those with a version above the given one."""
        rows = self._database.execute(
            "SELECT name, version, data FROM keep WHERE kind = ? AND version > ?",
            (kind, after_version),
        )
        return {name: (version, json.loads(data)) for name, version, data in rows}


RECORD_COLUMNS = _RECORD_COLUMNS


def _open_for_writing(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        database = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
        if database.execute("PRAGMA user_version").fetchone()[0]:
            _check_version(database, path)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.executescript(_SCHEMA)
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        database.commit()
    except sqlite3.Error as error:
        raise JournalError(f"the journal {path} cannot be opened: {error}") from error
    return database


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be read as a journal: {error}") from error
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"the journal {path} has version {version}; this program reads {SCHEMA_VERSION}",
            remedy="use the program version that wrote it",
        )


def _last_seq(database: sqlite3.Connection) -> int:
    query = "SELECT max(coalesce((SELECT max(seq) FROM record), 0), "
    query += "coalesce((SELECT max(seq) FROM event), 0))"
    return int(database.execute(query).fetchone()[0])


def _last_version(database: sqlite3.Connection) -> int:
    return int(database.execute("SELECT coalesce(max(version), 0) FROM keep").fetchone()[0])


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _record_row(record: Record, seq: int) -> tuple[Any, ...]:
    # sqlite3 stores nan as NULL by itself.
    return (
        seq,
        record.station,
        record.run,
        record.test_time_s,
        record.step_time_s,
        record.utc_s,
        record.voltage_V,
        record.current_A,
        record.temperature_degC,
        record.chamber_degC,
        record.cycle,
        record.step,
        record.step_count,
        record.step_record,
        record.charge_Ah,
        record.discharge_Ah,
        record.charge_Wh,
        record.discharge_Wh,
    )


def _record(row: tuple[Any, ...]) -> Record:
    # Only these four may be NULL: voltage, current and the two temperatures.
    measured = (_number(value) for value in row[5:9])
    return Record(*row[:5], *measured, *row[9:])


def _event_row(event: Event, seq: int) -> tuple[Any, ...]:
    return (
        seq,
        event.station,
        event.run,
        event.kind.value,
        event.utc_s,
        _null(event.test_time_s),
        json.dumps(dict(event.data), default=str),
    )


def _event(row: tuple[Any, ...]) -> Event:
    seq, station, run, kind, utc_s, test_time_s, data = row
    return Event(EventKind(kind), utc_s, station, run, _number(test_time_s), json.loads(data), seq)


def _run(row: tuple[Any, ...]) -> RunInfo:
    run, station, cell, protocol, started, document, ended, outcome = row
    return RunInfo(
        run, station, cell, protocol, started, json.loads(document), _number(ended), outcome
    )


def ended(run: RunInfo, utc_s: float, outcome: str) -> RunInfo:
    """The same run with its end."""
    return replace(run, ended_utc_s=utc_s, outcome=outcome)
