"""How far the gateway has got: kept on disk, so that no restart loses or forgets a gap.

Every journal entry is in one of three places: published live (`seq <= live`), in a gap
(published later, on `history`), or not reached yet (`seq > live`). Numbers move only after the
broker has acknowledged. After a power cut they may be a little too low (no fsync per step):
then a few entries are published twice, with the same sequence numbers, and none is lost.

Memory is what counts while the gateway runs; the file is for the next one. So a disk that is full
or read-only stops no publishing, and a file that cannot be read is put aside: then everything in
the journal is a gap, and comes again.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from daq.clock import monotonic
from daq.errors import DaqError
from daq.gateway.messages import Backlog
from daq.logs import get_logger

log = get_logger()

RETRY_S = 5.0
"""Between two attempts to open a file that could not be written."""
MOST_GAPS = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS number (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gap (last INTEGER PRIMARY KEY, after INTEGER NOT NULL);
INSERT OR IGNORE INTO number VALUES ('session', 0), ('live', 0);
"""
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_UNREADABLE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries with `after < seq <= last` that have to be published on `history`."""

    after: int
    last: int


@dataclass(frozen=True, slots=True)
class Numbers:
    """All that is kept; gaps are apart from each other, oldest first."""

    session: int = 0
    live: int = 0
    gaps: tuple[Gap, ...] = ()


class Cursor:
    """How far we have got. Thread-safe; one process at a time can hold the file.

    Raises:
        DaqError: another gateway holds it.
    """

    def __init__(self, path: Path, *, patience_s: float = 5.0) -> None:
        self._lock = threading.Lock()
        self._file = _File(path, patience_s)
        self._numbers = self._file.load()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def next_session(self) -> int:
        """A session number that was never used before, not even if the file is lost."""
        with self._lock:
            session = max(self._numbers.session + 1, int(time.time()))
            self._set(replace(self._numbers, session=session), durably=True)
            return session

    @property
    def live(self) -> int:
        """Everything up to this number is published, or in a gap. Never touches the disk."""
        return self._numbers.live

    def advance(self, seq: int) -> None:
        """The broker has acknowledged everything up to `seq`."""
        with self._lock:
            self._set(replace(self._numbers, live=seq))

    def miss(self, head: int) -> None:
        """Leave what lies between here and `head` to the back-fill, and go on behind it."""
        with self._lock:
            live, gaps = self._numbers.live, self._numbers.gaps
            if head < live:  # another journal: the old numbers mean nothing in it
                live, gaps = 0, ()
            if head > live:
                gaps = _joined((*gaps, Gap(live, head)))
            self._set(replace(self._numbers, live=head, gaps=gaps))

    def oldest_gap(self) -> Gap | None:
        """What is to be back-filled next."""
        gaps = self._numbers.gaps
        return gaps[0] if gaps else None

    def fill(self, gap: Gap, seq: int) -> bool:
        """The broker has acknowledged the gap up to `seq`; whether that was the end of it."""
        with self._lock:
            # By `after`, which only this method moves: `last` may have grown in the meantime.
            found = [replace(g, after=seq) if g.after == gap.after else g for g in self._gaps]
            left = tuple(g for g in found if g.after < g.last)
            self._set(replace(self._numbers, gaps=left))
            return len(left) < len(found)

    def backlog(self) -> Backlog | None:
        """What is still to be back-filled; None when nothing is."""
        gaps = self._numbers.gaps
        if not gaps:
            return None
        entries = sum(gap.last - gap.after for gap in gaps)
        return Backlog(entries=entries, first_seq=gaps[0].after + 1, last_seq=gaps[-1].last)

    @property
    def _gaps(self) -> tuple[Gap, ...]:
        return self._numbers.gaps

    def _set(self, numbers: Numbers, *, durably: bool = False) -> None:
        self._numbers = numbers
        self._file.save(numbers, durably=durably)


class _File:
    """The file behind it: an SQLite database that is locked for as long as it is open."""

    def __init__(self, path: Path, patience_s: float) -> None:
        self._path = path
        self._patience_s = patience_s
        self._database: sqlite3.Connection | None = None
        self._kept: tuple[Gap, ...] | None = None  # the gaps that are in the file
        self._failing = False
        self._retry_at_s = 0.0

    def load(self) -> Numbers:
        """What is in it; nothing when it cannot be read.

        Raises:
            DaqError: another gateway holds it.
        """
        try:
            self._database = self._open()
            return _read(self._database)
        except sqlite3.Error as error:
            if _code(error) in _BUSY:
                raise DaqError(
                    f"{self._path} cannot be opened: {error}",
                    remedy="is another gateway running on this data folder?",
                ) from error
            return self._after_failure(error)

    def save(self, numbers: Numbers, *, durably: bool) -> None:
        """Write everything; what cannot be written now is written with what comes next."""
        if self._failing and monotonic() < self._retry_at_s:
            return
        try:
            if self._database is None:
                self._database = self._open()
            gaps = None if numbers.gaps is self._kept else numbers.gaps
            _write(self._database, numbers, gaps, "FULL" if durably else "NORMAL")
        except sqlite3.Error as error:
            self._fails(error)
            return
        self._kept = numbers.gaps
        if self._failing:
            self._failing = False
            log.info("cursor_written_again", path=str(self._path))

    def close(self) -> None:
        """Let go of it."""
        if self._database is not None:
            self._database.close()
            self._database = self._kept = None

    def _open(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, timeout=self._patience_s, check_same_thread=False)
        try:
            # The lock is the operating system's: it goes with the process, whatever ends it.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(_SCHEMA)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _after_failure(self, error: sqlite3.Error) -> Numbers:
        numbers = _read_only(self._path)
        self._fails(error)
        return numbers

    def _fails(self, error: sqlite3.Error) -> None:
        """Go on without it for a while; put it aside when it is not a database any more."""
        self.close()
        if _code(error) in _UNREADABLE:
            self._put_aside()
        else:
            self._retry_at_s = monotonic() + RETRY_S
        if not self._failing:
            self._failing = True
            log.error("cursor_not_written", path=str(self._path), error=str(error))

    def _put_aside(self) -> None:
        try:
            self._path.replace(self._path.with_name(f"{self._path.name}.unreadable"))
            for ending in ("-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        except OSError:
            self._retry_at_s = monotonic() + RETRY_S


def _read(database: sqlite3.Connection) -> Numbers:
    numbers = dict(database.execute("SELECT name, value FROM number"))
    gaps = database.execute("SELECT after, last FROM gap ORDER BY last")
    found = tuple(Gap(after, last) for after, last in gaps)
    return Numbers(numbers["session"], numbers["live"], found)


def _read_only(path: Path) -> Numbers:
    """From a file that cannot be written, as on a disk that was mounted read-only."""
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)
    except sqlite3.Error:
        return Numbers()
    try:
        return _read(database)
    except (sqlite3.Error, KeyError):
        return Numbers()
    finally:
        database.close()


def _write(
    database: sqlite3.Connection, numbers: Numbers, gaps: tuple[Gap, ...] | None, synchronous: str
) -> None:
    """Everything but the gaps, if they are None."""
    database.execute(f"PRAGMA synchronous = {synchronous}")
    with database:
        if gaps is not None:
            database.execute("DELETE FROM gap")
            rows = [(gap.last, gap.after) for gap in gaps]
            database.executemany("INSERT INTO gap VALUES (?, ?)", rows)
        values = [(numbers.session, "session"), (numbers.live, "live")]
        database.executemany("UPDATE number SET value = ? WHERE name = ?", values)


def _joined(gaps: Iterable[Gap]) -> tuple[Gap, ...]:
    """The same, fewer: those that touch are one, and so are the nearest when there are too many.

    What lies between two gaps that are joined is published again.
    """
    found: list[Gap] = []
    for gap in gaps:
        # A broker that comes and goes with nothing published in between makes one gap, not many.
        if found and found[-1].last == gap.after:
            gap = Gap(found.pop().after, gap.last)
        found.append(gap)
    while len(found) > MOST_GAPS:
        # Never the oldest: the back-fill knows it by where it begins.
        nearest = min(
            range(2, len(found)), key=lambda index: found[index].after - found[index - 1].last
        )
        found[nearest - 1 : nearest + 1] = [Gap(found[nearest - 1].after, found[nearest].last)]
    return tuple(found)


def _code(error: sqlite3.Error) -> int:
    """The primary result code, from the extended one."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return (code or 0) & 0xFF
