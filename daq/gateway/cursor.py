"""How far the gateway has got: kept on disk, so that no restart loses or forgets a gap.

Every journal entry is in one of three places: published live (`seq <= live`), in a gap
(published later, on `history`), or not reached yet (`seq > live`). Numbers move only after the
broker has acknowledged. After a power cut they may be a little too low (no fsync per step):
then a few entries are published twice, with the same sequence numbers, and none is lost.
"""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from daq.errors import DaqError
from daq.gateway.messages import Backlog

_SCHEMA = """
CREATE TABLE IF NOT EXISTS number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap (last INTEGER PRIMARY KEY, after INTEGER NOT NULL);
INSERT OR IGNORE INTO number VALUES ('session', 0), ('live', 0);
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries with `after < seq <= last` that have to be published on `history`."""

    after: int
    last: int


class Cursor:
    """The gateway's own database. Thread-safe; one process at a time can hold it.

    Raises:
        DaqError: another gateway holds it, or it cannot be opened.
    """

    def __init__(self, path: Path, *, patience_s: float = 5.0) -> None:
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, timeout=patience_s, check_same_thread=False)
            # The lock is the operating system's: it goes with the process, whatever ends it.
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_SCHEMA)
            self._live = self._number("live")
        except sqlite3.Error as error:
            raise DaqError(
                f"{path} cannot be opened: {error}",
                remedy="is another gateway running on this data folder?",
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def next_session(self) -> int:
        """A session number that was never used before, not even across a power cut."""
        with self._lock:
            self._database.execute("PRAGMA synchronous = FULL")
            with self._database:
                self._database.execute("UPDATE number SET value = value + 1 WHERE name = 'session'")
            self._database.execute("PRAGMA synchronous = NORMAL")
            return self._number("session")

    @property
    def live(self) -> int:
        """Everything up to this number is published, or in a gap. Never touches the disk."""
        return self._live

    def advance(self, seq: int) -> None:
        """The broker has acknowledged everything up to `seq`."""
        with self._lock, self._database:
            self._set_live(seq)

    def miss(self, head: int) -> None:
        """Leave what lies between here and `head` to the back-fill, and go on behind it."""
        with self._lock, self._database:
            live = self._live
            if head < live:  # another journal: the old numbers mean nothing in it
                self._database.execute("DELETE FROM gap")
                live = 0
            if head > live:
                self._add_gap(live, head)
            self._set_live(head)

    def oldest_gap(self) -> Gap | None:
        """What is to be back-filled next."""
        with self._lock:
            row = self._database.execute("SELECT after, last FROM gap ORDER BY last").fetchone()
        return Gap(*row) if row else None

    def fill(self, gap: Gap, seq: int) -> bool:
        """The broker has acknowledged the gap up to `seq`; whether that was the end of it."""
        # By `after`, which only this method moves: `last` may have grown in the meantime.
        with self._lock, self._database:
            self._database.execute("UPDATE gap SET after = ? WHERE after = ?", (seq, gap.after))
            return self._database.execute("DELETE FROM gap WHERE after >= last").rowcount > 0

    def backlog(self) -> Backlog | None:
        """What is still to be back-filled; None when nothing is."""
        query = "SELECT sum(last - after), min(after) + 1, max(last) FROM gap"
        with self._lock:
            entries, first, last = self._database.execute(query).fetchone()
        return Backlog(entries=entries, first_seq=first, last_seq=last) if entries else None

    def _add_gap(self, after: int, last: int) -> None:
        # A broker that comes and goes with nothing published in between makes one gap, not many.
        row = self._database.execute("SELECT after FROM gap WHERE last = ?", (after,)).fetchone()
        self._database.execute("DELETE FROM gap WHERE last = ?", (after,))
        self._database.execute("INSERT INTO gap VALUES (?, ?)", (last, row[0] if row else after))

    def _number(self, name: str) -> int:
        query = "SELECT value FROM number WHERE name = ?"
        return int(self._database.execute(query, (name,)).fetchone()[0])

    def _set_live(self, seq: int) -> None:
        self._database.execute("UPDATE number SET value = ? WHERE name = 'live'", (seq,))
        self._live = seq
