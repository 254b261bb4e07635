"""The writing side of the journal: one thread, one connection, group commits."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from math import nan
from pathlib import Path
from typing import Any

from daq.access.audit import AUDITED, Head, entry_of
from daq.clock import monotonic
from daq.errors import JournalError
from daq.journal.backlog import BOUND, Backlog, Document, Item, RunRow, Ticket
from daq.journal.tables import (
    DELETE_KEEP,
    INSERT_AUDIT,
    INSERT_EVENT,
    INSERT_RECORD,
    UPSERT_KEEP,
    UPSERT_RUN,
    as_json,
    audit_head,
    event_row,
    last_seq,
    last_version,
    open_for_writing,
    record_row,
    run_row,
)
from daq.model import Entry, Event, EventKind, Record, RunInfo, Severity

SLOW_S = 5.0
"""A commit that takes longer counts as one that fails, until it has ended."""
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


class Journal:
    """The writing side. Thread-safe; made and closed by the control process only.

    Args:
        path: the SQLite file; made when it does not exist.
        group_s: longest time that an ordinary record waits for its commit, in real seconds.
        bound: number of waiting entries from which on records are refused.
        on_failure: called on the writer thread, once, when a commit begins to fail.
        on_recovery: called when commits work again.

    Attributes:
        committed: the highest sequence number that is on disk.
        audited: head of the audit log; on disk when `committed` is.
    """

    def __init__(
        self,
        path: Path,
        *,
        group_s: float = 0.1,
        bound: int = BOUND,
        on_failure: Callable[[str], None] = lambda _: None,
        on_recovery: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._group_s = group_s
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._backlog = Backlog(bound)
        self._entries: list[Item] = []
        self._documents: dict[tuple[str, str], Document] = {}
        self._failure = ""
        self._committing_since_s = nan
        self._closing = False
        self._database = open_for_writing(path)
        self._seq = self.committed = last_seq(self._database)
        self._versions = last_version(self._database)
        self.audited: Head = audit_head(self._database)
        # A daemon, so that a process that fails before it can close the journal ends all the same.
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    # What the control process calls. None of these blocks.

    def together(self) -> AbstractContextManager[None]:
        """What this thread appends, keeps and forgets in the block is one transaction.

        A crash leaves all of it or nothing. It is queued at the end of the block, also when an
        exception ends it; a ticket of within is not settled before.
        """
        return self._backlog.gathered

    def append(self, entry: Entry, *, at_once: bool = False) -> None:
        """Queue an entry for the next group commit; `at_once` asks for that commit now."""
        self._backlog.put(entry, at_once=at_once)

    def save_run(self, run: RunInfo) -> None:
        """Insert a run, or update how it ended."""
        self._backlog.put(RunRow(run_row(run)), at_once=True)

    def keep(self, kind: str, name: str, data: Mapping[str, Any]) -> None:
        """Replace a small named document in the next group commit.

        It is made JSON by the writer, and only the last one of a commit: whoever hands it over
        does not change it any more.
        """
        self._backlog.put(Document(kind, name, data), at_once=False)

    def forget(self, kind: str, name: str) -> None:
        """Delete a small named document."""
        self._backlog.put(Document(kind, name, None), at_once=False)

    def sync(self) -> Ticket:
        """A ticket that is settled when everything appended before it is on disk."""
        ticket = Ticket()
        self._backlog.put(ticket, at_once=True)
        return ticket

    @property
    def failed(self) -> str:
        """Why nothing gets on disk now; empty when it does."""
        if self._failure:
            return self._failure
        return f"the disk has not answered for {SLOW_S:g} s" if self.slow_s > SLOW_S else ""

    @property
    def slow_s(self) -> float:
        """How long the present commit has been under way; 0 when there is none."""
        waited_s = monotonic() - self._committing_since_s
        return waited_s if waited_s > 0.0 else 0.0  # also where there is none: nan

    @property
    def backlog(self) -> int:
        """What waits for a commit; a transaction that is queued counts as one."""
        return len(self._backlog)

    @property
    def refused(self) -> int:
        """Records that were refused because too much waited; each hole is marked by an event."""
        return self._backlog.refused

    def close(self, timeout_s: float = 5.0) -> None:
        """Commit what is queued and stop the writer.

        Raises:
            JournalError: something could not be written in time.
        """
        self._closing = True
        self._backlog.wake.set()
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
        wake = self._backlog.wake
        while True:
            wake.wait(self._group_s)
            wake.clear()
            closing = self._closing
            self._take()
            if self._backlog.taken and self._commit():
                self._written()
            if closing and not (len(self._backlog) and not self._failure):
                break
            if self._failure and not closing:
                wake.wait(1.0)  # a full disk is not mended faster by trying harder

    def _take(self) -> None:
        """Take over what waits. Of the documents of one name only the last is worth a write."""
        for item in self._backlog.take():
            if isinstance(item, Document):
                self._documents[item.kind, item.name] = item
            else:
                self._entries.append(item)
        if not self._failure:
            self._entries += self._backlog.gaps()
        self._backlog.taken = len(self._entries) + len(self._documents)

    def _commit(self) -> bool:
        before = self._seq, self._versions, self.audited
        self._committing_since_s = monotonic()
        try:
            with self._database:
                for item in self._entries:
                    self._write(item)
                for document in self._documents.values():
                    self._write(document)
        except sqlite3.Error as error:
            self._seq, self._versions, self.audited = before
            self._fail(str(error))
            return False
        finally:
            self._committing_since_s = nan
        return True

    def _written(self) -> None:
        self.committed = self._seq
        if self._failure:
            self._failure = ""
            self._on_recovery()
        tickets = [item for item in self._entries if isinstance(item, Ticket)]
        self._entries.clear()
        self._documents.clear()
        self._backlog.taken = 0
        for ticket in tickets:
            ticket.settle()

    def _write(self, item: Item) -> None:
        """One entry; one that cannot be written is told in its place and holds up no other."""
        try:
            self._execute(item)
        except UNWRITABLE as error:
            message = f"an entry could not be written: {type(error).__name__}: {error}"
            entry = repr(item)[:500] if not isinstance(error, RecursionError) else "too deep"
            data = {"severity": Severity.TICKET.value, "message": message, "entry": entry}
            self._execute(Event(EventKind.ALARM, time.time(), data=data))

    def _execute(self, item: Item) -> None:
        execute = self._database.execute
        if isinstance(item, Record):
            execute(INSERT_RECORD, record_row(item, self._seq + 1))
            self._seq += 1
        elif isinstance(item, Event):
            execute(INSERT_EVENT, event_row(item, self._seq + 1))
            self._seq += 1
            if item.kind in AUDITED:
                self._chain(item)
        elif isinstance(item, RunRow):
            execute(UPSERT_RUN, item.row)
        elif isinstance(item, Document):
            if item.data is None:
                execute(DELETE_KEEP, (item.kind, item.name))
                return
            self._versions += 1
            execute(UPSERT_KEEP, (item.kind, item.name, self._versions, as_json(item.data)))

    def _chain(self, event: Event) -> None:
        """Put an event into the audit log, in the same transaction."""
        entry = entry_of(event, self._seq, self.audited.number + 1)
        head = self.audited.next(entry)
        self._database.execute(INSERT_AUDIT, (head.number, entry, head.sha256))
        self.audited = head

    def _fail(self, reason: str) -> None:
        began, self._failure = not self._failure, reason
        if began:
            self._on_failure(reason)
