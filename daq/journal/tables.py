"""The journal's tables, its statements, and rows <-> values."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from daq.access.audit import Head
from daq.errors import JournalError
from daq.journal.migrations import MIGRATIONS
from daq.model import Event, EventKind, Record, RunInfo

SCHEMA_VERSION = 2

SCHEMA = """
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
  started_utc_s REAL NOT NULL, document TEXT NOT NULL, ended_utc_s REAL, outcome TEXT NOT NULL,
  pruned_utc_s REAL);
CREATE TABLE IF NOT EXISTS keep (
  kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (
  number INTEGER PRIMARY KEY, entry TEXT NOT NULL, sha256 TEXT NOT NULL);
"""

RECORD_COLUMNS = (
    "station", "run", "test_time_s", "step_time_s", "utc_s", "voltage_V", "current_A",
    "temperature_degC", "chamber_degC", "cycle", "step", "step_count", "step_record",
    "charge_Ah", "discharge_Ah", "charge_Wh", "discharge_Wh",
)  # fmt: skip
MEASURED_COLUMNS = RECORD_COLUMNS[2:]
"""What differs from record to record of one run: all but its station and its id."""
INSERT_RECORD = (
    f"INSERT INTO record (seq, {', '.join(RECORD_COLUMNS)}) "  # noqa: S608 - constant names
    f"VALUES ({', '.join('?' * (len(RECORD_COLUMNS) + 1))})"
)
SELECT_RECORD = f"SELECT {', '.join(RECORD_COLUMNS)}, seq FROM record"  # noqa: S608
SELECT_MEASURED = f"SELECT {', '.join(MEASURED_COLUMNS)}, seq FROM record"  # noqa: S608
INSERT_EVENT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)"
INSERT_AUDIT = "INSERT INTO audit VALUES (?, ?, ?)"
SELECT_AUDIT = "SELECT number, entry, sha256 FROM audit"
SELECT_EVENT = "SELECT seq, station, run, kind, utc_s, test_time_s, data FROM event"
RUN_COLUMNS = "id, station, cell, protocol, started_utc_s, document, ended_utc_s, outcome"
UPSERT_RUN = (
    f"INSERT INTO run ({RUN_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
    "ON CONFLICT (id) DO UPDATE SET "
    "ended_utc_s = excluded.ended_utc_s, outcome = excluded.outcome"
)
SELECT_RUN = f"SELECT {RUN_COLUMNS}, pruned_utc_s FROM run"  # noqa: S608
UPSERT_KEEP = (
    "INSERT INTO keep VALUES (?, ?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET "
    "version = excluded.version, data = excluded.data"
)
DELETE_KEEP = "DELETE FROM keep WHERE kind = ? AND name = ?"
SEQ = "seq"
"""The mark that holds the highest number ever given, also when its entry is pruned."""
SET_MARK = "INSERT INTO mark VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"


as_json = json.JSONEncoder(default=str, check_circular=False, separators=(",", ":")).encode
"""A document as text. Made once, compact: a checkpoint is written with every record."""


class Kept:
    """Kinds of the small named documents that the journal keeps the latest version of."""

    CHECKPOINT = "checkpoint"  # by run: snapshot of its engine
    STATE = "state"  # by station: what status shows
    TRIP = "trip"  # by station: the latch
    TRIPS = "trips"  # by station: when it tripped lately, and why
    REPLY = "reply"  # by command id: the stored answer
    IDENTITY = "identity"  # by instrument: who was last seen there
    ALARM = "alarm"  # "open": the alarms that are
    LAB = "lab"  # by lab: hash of the lab file of the last session
    MAINTENANCE = "maintenance"  # by station: its window
    ALIVE = "alive"  # one, `control`: when it was last known to live, in real and in lab time


def open_for_writing(path: Path) -> sqlite3.Connection:
    """The one connection that writes; makes the file when there is none, or brings it up to date.

    Raises:
        JournalError: it cannot be opened, or is of a version that this program does not know.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        database = sqlite3.connect(path, timeout=10.0, check_same_thread=False)
        version = database.execute("PRAGMA user_version").fetchone()[0]
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        if not version:
            _make(database)
        elif version in MIGRATIONS:
            _migrate(database, version)
        check_version(database, path)
    except sqlite3.Error as error:
        raise JournalError(f"the journal {path} cannot be opened: {error}") from error
    return database


def _make(database: sqlite3.Connection) -> None:
    # One transaction: a file whose power failed on the way is an empty one, and made again.
    database.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")


def _migrate(database: sqlite3.Connection, version: int) -> None:
    """From version to version, each in one transaction: the old file, or the new one."""
    while version < SCHEMA_VERSION:
        database.execute("BEGIN IMMEDIATE")
        with ExitStack() as undo:
            undo.callback(database.execute, "ROLLBACK")
            MIGRATIONS[version](database)
            version += 1
            database.execute(f"PRAGMA user_version = {version}")
            database.execute("COMMIT")
            undo.pop_all()


def check_version(database: sqlite3.Connection, path: Path) -> None:
    """Refuse a journal that this program does not understand.

    Raises:
        JournalError: it is of another version, or no journal at all.
    """
    try:
        version = database.execute("PRAGMA user_version").fetchone()[0]
    except sqlite3.Error as error:
        raise JournalError(f"{path} cannot be read as a journal: {error}") from error
    if version == SCHEMA_VERSION:
        return
    raise JournalError(
        f"the journal {path} has version {version}; this program reads {SCHEMA_VERSION}",
        remedy="start the daemon once, it brings the journal up to date"
        if version in MIGRATIONS
        else "use the program version that wrote it",
    )


def last_seq(database: sqlite3.Connection) -> int:
    """The highest sequence number ever given; 0 when there was none."""
    query = "SELECT max(coalesce((SELECT max(seq) FROM record), 0), "
    query += "coalesce((SELECT max(seq) FROM event), 0), "
    query += "coalesce((SELECT value FROM mark WHERE name = ?), 0))"
    return int(database.execute(query, (SEQ,)).fetchone()[0])


def audit_head(database: sqlite3.Connection) -> Head:
    """The newest entry of the audit log."""
    row = database.execute(
        "SELECT number, sha256 FROM audit ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return Head(int(row[0]), str(row[1])) if row else Head()


def last_version(database: sqlite3.Connection) -> int:
    """The highest version of a kept document; 0 when there is none."""
    return int(database.execute("SELECT coalesce(max(version), 0) FROM keep").fetchone()[0])


def null(value: float) -> float | None:
    """SQLite has no nan."""
    return None if math.isnan(value) else value


def number(value: float | None) -> float:
    """And back."""
    return math.nan if value is None else value


def record_row(record: Record, seq: int) -> tuple[Any, ...]:
    """For `INSERT_RECORD`."""
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


def record_from(row: tuple[Any, ...]) -> Record:
    """From `SELECT_RECORD`."""
    # Only these four may be NULL: voltage, current and the two temperatures.
    measured = (number(value) for value in row[5:9])
    return Record(*row[:5], *measured, *row[9:])


def event_row(event: Event, seq: int) -> tuple[Any, ...]:
    """For `INSERT_EVENT`."""
    return (
        seq,
        event.station,
        event.run,
        event.kind.value,
        event.utc_s,
        null(event.test_time_s),
        as_json(dict(event.data)),
    )


def event_from(row: tuple[Any, ...]) -> Event:
    """From `SELECT_EVENT`."""
    seq, station, run, kind, utc_s, test_time_s, data = row
    return Event(EventKind(kind), utc_s, station, run, number(test_time_s), json.loads(data), seq)


def run_row(run: RunInfo) -> tuple[Any, ...]:
    """For `UPSERT_RUN`."""
    return (
        run.id,
        run.station,
        run.cell,
        run.protocol,
        run.started_utc_s,
        as_json(run.document),
        null(run.ended_utc_s),
        run.outcome,
    )


def run_from(row: tuple[Any, ...]) -> RunInfo:
    """From `SELECT_RUN`."""
    run, station, cell, protocol, started, document, ended_, outcome, pruned = row
    return RunInfo(
        run,
        station,
        cell,
        protocol,
        started,
        json.loads(document),
        number(ended_),
        outcome,
        number(pruned),
    )


def ended(run: RunInfo, utc_s: float, outcome: str) -> RunInfo:
    """The same run with its end."""
    return replace(run, ended_utc_s=utc_s, outcome=outcome)
