"""Journals of earlier versions, brought up to date; each step runs in one transaction.

A version without a step here is refused: a journal is never guessed at.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

_WAS_PAUSED = "it was paused under an earlier version of this program, which did not keep why"


def _to_2(database: sqlite3.Connection) -> None:
    """Runs may be pruned; a checkpoint has what its run's recording needs; there is an audit log.

    The audit log begins with the next event: what was not chained when it was written is not
    chained afterwards.
    """
    database.execute(
        "CREATE TABLE audit (number INTEGER PRIMARY KEY, entry TEXT NOT NULL, sha256 TEXT NOT NULL)"
    )
    database.execute("ALTER TABLE run ADD COLUMN pruned_utc_s REAL")
    database.execute(
        "CREATE TABLE mark (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID"
    )
    rows = database.execute("SELECT name, data FROM keep WHERE kind = 'checkpoint'").fetchall()
    for run, data in rows:
        document = json.loads(data)
        document |= {
            "paused": _WAS_PAUSED if document["engine"]["phase"] == "paused" else "",
            "seen": None,
            "recording": _recording(database, run, document["engine"]),
        }
        database.execute(
            "UPDATE keep SET data = ? WHERE kind = 'checkpoint' AND name = ?",
            (json.dumps(document), run),
        )


def _recording(database: sqlite3.Connection, run: str, engine: Mapping[str, Any]) -> dict[str, Any]:
    """What version 1 did not keep, as the entries of the present step tell it."""
    step_record, kept = database.execute(
        "SELECT coalesce(max(step_record), 0), count(*) FROM record "
        "WHERE run = ? AND step_count = ?",
        (run, engine["step_count"]),
    ).fetchone()
    (points,) = database.execute(
        "SELECT count(*) FROM event WHERE run = ? AND kind = 'spectrum_point' "
        "AND json_extract(data, '$.step_count') = ?",
        (run, engine["step_count"]),
    ).fetchone()
    return {
        "keeper": dict.fromkeys(("_current_A", "_temperature_degC", "_time_s", "_voltage_V")),
        "points": points,
        "fresh_step": not kept,
        "step_record": step_record,
    }


MIGRATIONS: Mapping[int, Callable[[sqlite3.Connection], None]] = {1: _to_2}
"""Version -> what brings a journal of that version to the next."""
