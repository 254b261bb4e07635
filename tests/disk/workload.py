"""Something that writes to a journal the way control does, and what must be there afterwards.

Observation `n` is a record with `step_record` n and, in the same transaction, a checkpoint that
says n; every tenth brings an event, too.
"""

from __future__ import annotations

import os
import sqlite3
import struct
from pathlib import Path

from daq.journal import Journal, JournalReader, Kept
from daq.journal.tables import last_seq, open_for_writing
from daq.model import Event, EventKind, Record, RunInfo

RUN = "r1"
PATIENCE_S = 30.0
_CHECKPOINT_PAGES = 12  # SQLite moves the log into the database this often: many boundaries
_ACK = struct.Struct("=Q")


def observe(journal: Journal, n: int) -> None:
    """Everything that one observation brings about."""
    with journal.together():
        journal.append(
            Record(
                "A1", RUN, n / 10, n / 10, 1e9 + n / 10, 3.7 + n / 1e4, 1.0, 25.0, 24.0, 1, 1, 1,
                n, n / 3600, 0.0, 3.7 * n / 3600, 0.0,
            )
        )  # fmt: skip
        if n % 10 == 0:
            journal.append(Event(EventKind.NOTE, 1e9, "A1", RUN, data={"n": n, "x": "y" * 200}))
        journal.keep(Kept.CHECKPOINT, RUN, {"n": n, "charge_Ah": n / 3600})


def open_journal(path: Path) -> Journal:
    """A journal that moves its log into the database often."""
    journal = Journal(path, group_s=0.001)
    journal._database.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    return journal


def work(path: Path, count: int, acks: Path | None = None) -> None:
    """Observe, wait now and then until it is on disk, say so, and close."""
    journal = open_journal(path)
    handle = os.open(acks, os.O_RDWR | os.O_CREAT) if acks else -1
    journal.save_run(RunInfo(RUN, "A1", "c1", "p", 1e9, {}))
    for n in range(1, count + 1):
        observe(journal, n)
        if n % 3 == 0:
            assert journal.sync().wait(PATIENCE_S)
            if acks:
                acknowledge(handle, n)
    journal.close(PATIENCE_S)


def acknowledge(handle: int, n: int) -> None:
    """Note that observation `n` was told to be on disk."""
    os.pwrite(handle, _ACK.pack(n), 0)


def acknowledged(acks: Path) -> int:
    """The last observation that was told to be on disk; 0 when there was none."""
    data = acks.read_bytes() if acks.exists() else b""
    return ack_from(data) if data else 0


def ack_from(data: bytes) -> int:
    """What was written by `work`."""
    return int(_ACK.unpack(data)[0])


def check(path: Path, acked: int) -> int:
    """What must hold after any crash; how many observations are there."""
    database = open_for_writing(path)
    try:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        head = last_seq(database)
        seqs = database.execute("SELECT seq FROM record UNION ALL SELECT seq FROM event").fetchall()
        assert sorted(seq for (seq,) in seqs) == list(range(1, head + 1)), "numbers have a hole"
        last = _observations(database)
    finally:
        database.close()
    assert last >= acked, f"{acked} was acknowledged, {last} is there"
    return last


def _observations(database: sqlite3.Connection) -> int:
    query = "SELECT step_record, charge_Ah FROM record ORDER BY seq"
    rows = database.execute(query).fetchall()
    assert rows == [(n, n / 3600) for n in range(1, len(rows) + 1)]
    events = database.execute("SELECT json_extract(data, '$.n') FROM event ORDER BY seq").fetchall()
    assert [n for (n,) in events] == list(range(10, len(rows) + 1, 10))
    kept = database.execute("SELECT json_extract(data, '$.n') FROM keep").fetchall()
    assert kept == ([(len(rows),)] if rows else []), "the checkpoint is not the last record's"
    return len(rows)


def check_readable(path: Path, last: int) -> None:
    """Both sides open it, and writing goes on where it was."""
    with JournalReader(path) as reader:
        assert len([row for batch in reader.record_rows(RUN) for row in batch]) == last
    journal = open_journal(path)
    observe(journal, last + 1)
    journal.close(PATIENCE_S)
    check(path, last + 1)
