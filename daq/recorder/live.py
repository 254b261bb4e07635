"""The live file, `RUN.h5.part`: a view of a running run that a notebook can follow.

It is disposable. It is always made anew from the journal, never opened a second time for
writing and never repaired; when something has happened to it, it is thrown away and made again.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from daq.errors import DaqError
from daq.journal import JournalReader
from daq.model import Event, Record, RunInfo
from daq.recorder import columns, derive, sensed
from daq.recorder.layout import RunFile, Table

_EVENT_BYTES = 1024  # SWMR forbids types that grow; the closed file keeps every byte
_CHUNKS = {"raw_data": 128, "eis_data": 64, "events": 16}  # rows; flushes rewrite whole chunks


FAILURES = (OSError, RuntimeError, ValueError, LookupError, TypeError, DaqError, sqlite3.Error)
"""What can go wrong with one run's files and must not touch the others: h5py raises any of these,
and so does a run document that is not what it should be."""


class Spoiled(DaqError):  # noqa: N818 - named like the other errors
    """The live file is no longer what was written: cut short, replaced or deleted."""


class LiveFile:
    """Writes one run's live file in SWMR mode.

    Appends collect rows; `flush` writes them. After any error the object is to be `discard`ed.
    """

    def __init__(self, path: Path, run: RunInfo) -> None:
        self.path = path
        self._deriver = derive.Deriver()
        self._records: list[Record] = []
        self._events: list[Event] = []
        self._last_record = self._last_event = 0
        path.unlink(missing_ok=True)
        self._file = RunFile(path, "live")
        with ExitStack() as undo:
            undo.callback(self.discard)
            self._prepare(run)
            undo.pop_all()

    def _prepare(self, run: RunInfo) -> None:
        self._file.describe(run, [])
        self._raw = self._table("raw_data", columns.RAW)
        self._eis = self._table("eis_data", columns.EIS)
        self._log = self._table("events", columns.events(_EVENT_BYTES))
        self._seal = uuid.uuid4().hex
        self._seal_at = self._file.publish(self._seal)

    def _table(self, name: str, table: tuple[columns.Column, ...]) -> Table:
        return self._file.table(name, table, chunks=(_CHUNKS[name],))

    def fill(self, reader: JournalReader, run: str) -> Iterator[None]:
        """Catch up with the journal, a batch at each turn."""
        for batch in reader.measured_rows(run, after=self._last_record):
            self._append(derive.journal_rows(batch))
            self._sync()
            yield
        self.add([], reader.events(run, sensed.ALL_OTHERS))
        self.flush()

    def add(self, records: list[Record], events: list[Event]) -> None:
        """Collect entries in the order of the journal; those that are here already are dropped."""
        self._records += [record for record in records if record.seq > self._last_record]
        self._events += [event for event in events if event.seq > self._last_event]

    @property
    def pending(self) -> bool:
        """Whether something waits for a flush."""
        return bool(self._records or self._events)

    def flush(self) -> None:
        """Write what was collected and make it visible.

        Raises:
            Spoiled: somebody opened the file for writing, or took it away.
            OSError: the disk is full, or failed.
        """
        if self._records:
            self._append(derive.rows_of(self._records))
            self._records.clear()
        if self._events:
            self._eis.append(derive.spectrum_rows(self._events))
            self._log.append(derive.event_rows(self._events, _EVENT_BYTES))
            self._last_event = self._events[-1].seq
            self._events.clear()
        self._sync()

    def _append(self, rows: columns.Rows) -> None:
        self._raw.append(self._deriver.derive(rows))
        self._last_record = int(rows["seq"][-1])

    def _sync(self) -> None:
        for table in (self._raw, self._eis, self._log):
            table.flush()
        self._check_seal()

    def _check_seal(self) -> None:
        # A second `File(path, "w")` cuts the file to nothing and fails only then. HDF5 would
        # write on, into a file of zeros. The seal was written once and sits at a fixed place.
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError as error:
            raise Spoiled(f"{self.path} was taken away") from error
        try:
            found = os.pread(handle, len(self._seal), self._seal_at)
        finally:
            os.close(handle)
        if found != self._seal.encode():
            raise Spoiled(f"{self.path} was overwritten by somebody else")

    def finish(self) -> None:
        """Leave a whole file behind, or none."""
        try:
            self.flush()
            self._file.close()
        except FAILURES:
            self.discard()

    def discard(self) -> None:
        """Give up the file: close what can be closed and remove it."""
        with suppress(*FAILURES):
            self._file.close()
        with suppress(OSError):
            self.path.unlink(missing_ok=True)
