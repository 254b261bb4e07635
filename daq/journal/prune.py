"""Take out of the journal what has its closed file, so that it does not grow for ever.

Only while no daemon runs. The rows of the table of runs and all events but the points of spectra
stay: they are small, and they say what happened. Sequence numbers never come back.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from daq.errors import JournalError
from daq.journal.tables import SEQ, SET_MARK, last_seq, open_for_writing

_BULK = "'spectrum_point', 'sensors'"
"""Kinds of events that are data, and in the closed files."""
_SLICE = 50_000  # rows of one transaction: a kill costs one slice, not the work


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed."""

    records: int
    points: int
    bytes: int


def prune(path: Path, runs: Iterable[str], idle_before_utc_s: float, up_to_seq: int) -> Pruned:
    """Remove the records of these runs, and those of idle stations from before a moment.

    Args:
        path: the journal; no daemon writes to it.
        runs: they have ended, and everybody has seen all of them.
        idle_before_utc_s: records of no run from before are removed,
        up_to_seq: if everybody has seen them.

    Raises:
        JournalError: a run has not ended, or the journal cannot be written.
    """
    database = open_for_writing(path)
    try:
        before = path.stat().st_size
        records = points = 0
        _set_seq(database)
        for run in runs:
            _mark_pruned(database, run)
            records += _delete(database, "record", "run = ?", (run,))
            points += _delete(database, "event", f"run = ? AND kind IN ({_BULK})", (run,))
        idle = (idle_before_utc_s, up_to_seq)
        records += _delete(database, "record", "run = '' AND utc_s < ? AND seq <= ?", idle)
        database.execute("VACUUM")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Pruned(records, points, before - path.stat().st_size)
    except sqlite3.Error as error:
        raise JournalError(f"the journal {path} cannot be pruned: {error}") from error
    finally:
        database.close()


def _set_seq(database: sqlite3.Connection) -> None:
    with database:
        database.execute(SET_MARK, (SEQ, last_seq(database)))


def _mark_pruned(database: sqlite3.Connection, run: str) -> None:
    """Before the first row goes: nobody may make a file from half a run."""
    with database:
        changed = database.execute(
            "UPDATE run SET pruned_utc_s = ? WHERE id = ? AND outcome != ''", (time.time(), run)
        )
    if not changed.rowcount:
        raise JournalError(f"run {run} is not in the journal, or has not ended")


def _delete(database: sqlite3.Connection, table: str, where: str, given: tuple[object, ...]) -> int:
    query = (
        f"DELETE FROM {table} WHERE seq IN "  # noqa: S608 - names of ours
        f"(SELECT seq FROM {table} WHERE {where} LIMIT {_SLICE})"
    )
    total = 0
    while True:
        with database:
            count = database.execute(query, given).rowcount
        total += count
        if count < _SLICE:
            return total
