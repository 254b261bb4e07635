"""The writing side of the journal: one thread, one connection, group commits."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from daq.errors import JournalError
from daq.journal.tables import (
    DELETE_KEEP,
    INSERT_EVENT,
    INSERT_RECORD,
    UPSERT_KEEP,
    UPSERT_RUN,
    as_json,
    event_row,
    last_seq,
    last_version,
    null,
    open_for_writing,
    record_row,
)
from daq.model import Entry, Event, EventKind, Record, RunInfo, Severity

Queued = tuple[str, tuple[Any, ...] | Entry, "Ticket | None"]
ENTRY, SYNC = "entry", "sync"
DOCUMENTS = frozenset({UPSERT_KEEP, DELETE_KEEP})
UNWRITABLE = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
"""The entry is at fault and not the disk: a text without UTF-8, a number that does not fit."""


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


class _Gathered(threading.local):
    """What each thread gathers for one transaction; see `Journal.together`."""

    def __init__(self, put_all: Callable[[Sequence[Queued], bool], None]) -> None:
        self.depth = 0
        self.items: list[Queued] = []
        self.at_once = False
        self._put_all = put_all

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
        if not self.depth and self.items:
            items, at_once = self.items, self.at_once
            self.items, self.at_once = [], False
            self._put_all(items, at_once)


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
        self._queue: deque[Sequence[Queued]] = deque()
        self._gathered = _Gathered(self._put_all)
        self._batch: list[Queued] = []
        self._wake = threading.Event()
        self._closing = False
        self._versions = 0
        self._database = open_for_writing(path)
        self._seq = last_seq(self._database)
        self._versions = last_version(self._database)
        # A daemon, so that a process that fails before it can close the journal ends all the same.
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # What the control process calls. None of these blocks.

    def together(self) -> AbstractContextManager[None]:
        """What this thread appends, keeps and forgets in the block is one transaction.

        A crash leaves all of it or nothing. It is queued at the end of the block, also when an
        exception ends it; a ticket of within is not settled before.
        """
        return self._gathered

    def append(self, entry: Entry, *, at_once: bool = False) -> None:
        """Queue an entry for the next group commit; `at_once` asks for that commit now."""
        self._put((ENTRY, entry, None), at_once=at_once)

    def save_run(self, run: RunInfo) -> None:
        """Insert a run, or update how it ended."""
        row = (
            run.id,
            run.station,
            run.cell,
            run.protocol,
            run.started_utc_s,
            as_json(run.document),
            null(run.ended_utc_s),
            run.outcome,
        )
        self._put((UPSERT_RUN, row, None), at_once=True)

    def keep(self, kind: str, name: str, data: Mapping[str, Any]) -> None:
        """Replace a small named document in the next group commit.

        It is made JSON by the writer, and only the last one of a commit: whoever hands it over
        does not change it any more.
        """
        self._put((UPSERT_KEEP, (kind, name, data), None))

    def forget(self, kind: str, name: str) -> None:
        """Delete a small named document."""
        self._put((DELETE_KEEP, (kind, name), None))

    def sync(self) -> Ticket:
        """A ticket that is settled when everything appended before it is on disk."""
        ticket = Ticket()
        self._put((SYNC, (), ticket), at_once=True)
        return ticket

    def _put(self, item: Queued, *, at_once: bool = False) -> None:
        gathered = self._gathered
        if gathered.depth:
            gathered.items.append(item)
            gathered.at_once |= at_once
        else:
            self._put_all((item,), at_once)

    def _put_all(self, items: Sequence[Queued], at_once: bool) -> None:
        self._queue.append(items)
        if at_once:
            self._wake.set()

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

    def _run(self) -> None:
        try:
            self._write_until_closed()
        finally:
            self._database.close()
            if not self._closing:
                self._fail("its writer thread has died")

    def _write_until_closed(self) -> None:
        batch = self._batch
        while True:
            self._wake.wait(self._group_s)
            self._wake.clear()
            closing = self._closing
            while self._queue:
                batch.extend(self._queue.popleft())
            if batch and self._commit(batch):
                batch.clear()
            if closing and not self._queue:
                break
            if self.failed and not closing:
                self._wake.wait(1.0)  # a full disk is not mended faster by trying harder

    def _commit(self, batch: list[Queued]) -> bool:
        before = self._seq, self._versions
        try:
            with self._database:
                self._write_all(batch)
        except sqlite3.Error as error:
            self._seq, self._versions = before
            self._fail(str(error))
            return False
        self.committed = self._seq
        self._recover()
        for _, _, ticket in batch:
            if ticket:
                ticket.settle()
        return True

    def _write_all(self, batch: list[Queued]) -> None:
        """Entries in their order; of the documents of one name only the last."""
        documents: dict[tuple[str, str], tuple[str, tuple[Any, ...]]] = {}
        for statement, row, _ in batch:
            if statement in DOCUMENTS and isinstance(row, tuple):
                documents[row[:2]] = statement, row
            elif statement != SYNC:
                self._write(statement, row)
        for statement, row in documents.values():
            self._write(statement, row)

    def _write(self, statement: str, row: tuple[Any, ...] | Entry) -> None:
        """One entry; one that cannot be written is told in its place and holds up no other."""
        try:
            self._execute(statement, row)
        except UNWRITABLE as error:
            message = f"an entry could not be written: {type(error).__name__}: {error}"
            data = {"severity": Severity.TICKET.value, "message": message, "entry": repr(row)[:500]}
            self._execute(statement, Event(EventKind.ALARM, time.time(), data=data))

    def _execute(self, statement: str, row: tuple[Any, ...] | Entry) -> None:
        if isinstance(row, Record):
            self._database.execute(INSERT_RECORD, record_row(row, self._seq + 1))
            self._seq += 1
        elif isinstance(row, Event):
            self._database.execute(INSERT_EVENT, event_row(row, self._seq + 1))
            self._seq += 1
        elif statement == UPSERT_KEEP:
            kind, name, data = row
            self._versions += 1
            self._database.execute(statement, (kind, name, self._versions, as_json(data)))
        else:
            self._database.execute(statement, row)

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
        """What waits for a commit; a transaction that is queued counts as one."""
        return len(self._queue) + len(self._batch)
