"""The recorder's loop: follow the journal, keep a live file per running run, close ended ones.

Nothing that matters is kept here. At start every unfinished run gets a new live file from the
journal, and every ended run without a closed file gets one; the journal's position at that
moment is where following begins. The cursor file says how far the files are, for those who want
to know (`daq status`); it is never read back, so it cannot be wrong.
"""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from math import isnan
from pathlib import Path
from typing import Any

from daq.clock import monotonic
from daq.errors import DaqError
from daq.journal import JournalReader
from daq.logs import get_logger
from daq.model import Entry, Event, EventKind, Record, RunInfo
from daq.recorder.closed import write_closed
from daq.recorder.live import FAILURES, LiveFile
from daq.recorder.memory import give_back
from daq.recorder.room import require_room

_PAGE = 2_000  # entries; each is an object as long as its page is handed out
_FLUSH_S = 1.0  # between two flushes of one live file: a flush costs more than the rows in it
_CHECK_S = 10.0  # between two looks at the run table, for an end that left no event
_RETRY_S = (2.0, 60.0)  # first and longest wait after a failure
_SAFE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class Fault:
    """Something that can fail for a while: one log line when it begins, one when it ends."""

    def __init__(self, what: str, **bound: Any) -> None:
        self._what = what
        self._log = get_logger(**bound)
        self._wait_s = 0.0
        self.retry_at = 0.0

    def begin(self, error: BaseException) -> None:
        """It failed (again): try later, each time later."""
        if not self._wait_s:
            self._log.error(f"{self._what} failed", error=str(error), kind=type(error).__name__)
        self._wait_s = min(self._wait_s * 2, _RETRY_S[1]) or _RETRY_S[0]
        self.retry_at = monotonic() + self._wait_s

    def end(self) -> None:
        """It works."""
        if self._wait_s:
            self._log.info(f"{self._what} works again")
        self._wait_s = self.retry_at = 0.0


class _RunFiles:
    """The files of one run: first a live one, then the closed one."""

    def __init__(self, run: RunInfo, folder: Path) -> None:
        self.run = run
        self.ended = False
        self.done = False
        self.live: LiveFile | None = None
        self._folder = folder
        self._job: Iterator[None] | None = None
        self._flushed_at = 0.0
        self._fault = Fault("writing the files", run=run.id, station=run.station)

    @property
    def making(self) -> bool:
        """Whether a file of it is half made."""
        return self._job is not None

    def take(self, records: list[Record], events: list[Event]) -> None:
        """New entries. Before the live file is ready they may be dropped: it reads them itself."""
        self.ended |= any(event.kind is EventKind.RUN_ENDED for event in events)
        if self.live:
            self.live.add(records, events)

    def flush(self, now: float) -> None:
        """Bring the live file up to date when it is time to."""
        if not self.live or now - self._flushed_at < _FLUSH_S:
            return
        self._flushed_at = now
        try:
            self.live.flush()
        except FAILURES as error:
            self._fail(error)

    def turn(self, reader: JournalReader, now: float) -> bool:
        """One slice of what takes long. False when there is nothing to do."""
        if self._job is None and not self._begin(reader, now):
            return False
        try:
            next(self._job or iter(()))
        except StopIteration:
            self._job = None
            self._fault.end()
            self.done = self.ended and self.live is None
        except FAILURES as error:
            self._fail(error)
        return True

    def _begin(self, reader: JournalReader, now: float) -> bool:
        if self.done or now < self._fault.retry_at or (self.live and not self.ended):
            return False
        self._job = self._close(reader) if self.ended else self._open(reader)
        return True

    def _open(self, reader: JournalReader) -> Iterator[None]:
        require_room(self._folder)
        live = LiveFile(self._folder / f"{self.run.id}.h5.part", self.run)
        with ExitStack() as undo:
            undo.callback(live.discard)
            yield from live.fill(reader, self.run.id)
            undo.pop_all()
        self.live = live

    def _close(self, reader: JournalReader) -> Iterator[None]:
        if self.live:
            self.live.finish()
            self.live = None
        yield from write_closed(reader, self.run.id, self._folder)

    def _fail(self, error: BaseException) -> None:
        self._job = None
        if self.live:
            self.live.discard()
            self.live = None
        self._fault.begin(error)

    def stop(self) -> None:
        """Leave the live file whole, for those who look at it while the daemon is down."""
        self._job = None
        if self.live:
            self.live.finish()
            self.live = None


class Recorder:
    """Everything between one journal and one folder.

    Args:
        reader: the journal; closed by the caller.
        folder: where the files go; made when it does not exist.
        cursor: where the position is written; None for nowhere.
    """

    def __init__(self, reader: JournalReader, folder: Path, cursor: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._reader = reader
        self._folder = folder
        self._cursor = cursor
        self._runs: dict[str, _RunFiles] = {}
        self._finished: set[str] = set()
        self._log = get_logger()
        self._journal_fault = Fault("following the journal")
        self._cursor_fault = Fault("writing the cursor")
        self._written = -1
        self._checked_at = monotonic()
        self._seq = reader.head()
        for run in reader.runs():
            self._meet(run)

    def _meet(self, run: RunInfo) -> None:
        """A run that has not been seen yet."""
        if not _SAFE_ID.fullmatch(run.id):
            self._log.error("run id cannot be a file name", run=run.id)
            self._finished.add(run.id)
            return
        files = _RunFiles(run, self._folder)
        if (self._folder / f"{run.id}.h5").exists() or not isnan(run.pruned_utc_s):
            self._finish(run.id)  # what was pruned had its closed file, wherever that is now
            return
        self._runs[run.id] = files
        files.take([], self._reader.events(run.id, frozenset({EventKind.RUN_ENDED})))

    def _finish(self, run: str) -> None:
        self._finished.add(run)
        self._runs.pop(run, None)
        for leftover in (f"{run}.h5.part", f"{run}.h5.tmp"):
            with suppress(OSError):
                (self._folder / leftover).unlink(missing_ok=True)

    def poll(self) -> None:
        """Take what is new in the journal and bring the live files up to date."""
        now = monotonic()
        if now >= self._journal_fault.retry_at:
            try:
                require_room(self._folder)
                self._follow()
                self._check_run_table(now)
            except (OSError, DaqError, sqlite3.Error) as error:
                self._journal_fault.begin(error)
            else:
                self._journal_fault.end()
                self._flush(now)
        self._save_cursor()

    def _follow(self) -> None:
        while entries := self._reader.entries(self._seq, _PAGE):
            self._hand_out(entries)
            self._seq = entries[-1].seq

    def _hand_out(self, entries: list[Entry]) -> None:
        records: dict[str, list[Record]] = defaultdict(list)
        events: dict[str, list[Event]] = defaultdict(list)
        for entry in entries:
            if isinstance(entry, Record):
                records[entry.run].append(entry)
            else:
                events[entry.run].append(entry)
        for run in (records.keys() | events.keys()) - self._finished - {""}:
            if files := self._files(run):
                files.take(records[run], events[run])

    def _files(self, run: str) -> _RunFiles | None:
        if run not in self._runs and (info := self._reader.run(run)):
            self._meet(info)
        return self._runs.get(run)

    def _check_run_table(self, now: float) -> None:
        """An end without its event (a crash between the two), a run without entries yet."""
        if now - self._checked_at < _CHECK_S:
            return
        self._checked_at = now
        for run, files in self._runs.items():
            info = self._reader.run(run)
            files.ended |= info is not None and info.ended_utc_s == info.ended_utc_s

    def _flush(self, now: float) -> None:
        for files in self._runs.values():
            files.flush(now)

    def work(self) -> bool:
        """One slice of building or closing a file; False when there is none to do.

        One live and one closed file are made at a time. After a restart there may be hundreds to
        make, and each that is half made holds a batch of rows and an open file.
        """
        now = monotonic()
        busy = {files.ended for files in self._runs.values() if files.making}
        for run, files in list(self._runs.items()):
            if files.ended in busy and not files.making:
                continue
            if files.turn(self._reader, now):
                self._runs[run] = self._runs.pop(run)  # the next slice is another run's
                if files.done:
                    self._finish(run)
                    self._log.info("run closed", run=run, station=files.run.station)
                    give_back()
                return True
        return False

    def stop(self, budget_s: float) -> None:
        """Write out what is in the journal, close what can be closed in time, and let go."""
        deadline = monotonic() + budget_s
        self.poll()
        while monotonic() < deadline and self.work():
            pass
        for files in self._runs.values():
            files.stop()
        self._save_cursor()

    def _save_cursor(self) -> None:
        if self._cursor is None or self._seq == self._written:
            return
        temporary = self._cursor.with_name(f"{self._cursor.name}.tmp")
        text = json.dumps({"seq": self._seq, "utc_s": time.time()})
        try:
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self._cursor)
        except OSError as error:
            self._cursor_fault.begin(error)
        else:
            self._written = self._seq
            self._cursor_fault.end()
