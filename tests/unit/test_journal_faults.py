"""The journal when things go wrong: failing disks, entries that cannot be written, kill -9."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from math import nan

import pytest

from daq.errors import JournalError
from daq.journal import Journal, JournalReader, Kept
from daq.model import Event, EventKind, Record, RunInfo

PATIENCE_S = 20.0
FULL = "database or disk is full"


def record(number=1, run="r1", **changes):
    basic = Record(
        "A1", run, float(number), 0.0, 1e9 + number, 3.7, 1.0, 25.0, 24.0, 1, 1, 1, number,
        0.1, 0.2, 0.3, 0.4,
    )  # fmt: skip
    return replace(basic, **changes)


def note(text="x", run="r1", **changes):
    return replace(Event(EventKind.NOTE, 1e9, "A1", run, 1.0, {"text": text}), **changes)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "journal.sqlite"


@pytest.fixture
def journal(path):
    made = Journal(path, group_s=0.01)
    yield made
    if made._thread.is_alive():
        made._database = getattr(made._database, "real", made._database)
        made.close(PATIENCE_S)


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def written(journal):
    assert journal.sync().wait(PATIENCE_S)


def entries(path):
    with JournalReader(path) as reader:
        return reader.entries(0)


class FailingDisk:
    """A connection whose n-th operation fails, once or from then on."""

    def __init__(self, real, nth, *, for_ever=False, at_commit=False):
        self.real = real
        self.left = nth
        self.for_ever = for_ever
        self.at_commit = at_commit
        self.failures = 0

    def _maybe_fail(self):
        self.left -= 1
        if self.left == 0 or (self.left < 0 and self.for_ever):
            self.failures += 1
            raise sqlite3.OperationalError(FULL)

    def execute(self, *arguments):
        if not self.at_commit:
            self._maybe_fail()
        return self.real.execute(*arguments)

    def __enter__(self):
        return self.real.__enter__()

    def __exit__(self, kind, value, trace):
        if kind is None and self.at_commit:
            try:
                self._maybe_fail()
            except sqlite3.Error:
                self.real.rollback()
                raise
        return self.real.__exit__(kind, value, trace)

    def close(self):
        self.real.close()


# When.


def test_an_ordinary_record_waits_for_its_group_and_an_edge_does_not(path):
    journal = Journal(path, group_s=600.0)
    journal.append(record(1))
    time.sleep(0.05)
    with JournalReader(path) as reader:
        assert reader.head() == 0
        journal.append(note(), at_once=True)
        until(lambda: reader.head() == 2)
    journal.append(record(2))
    written(journal)  # a ticket does not wait, either
    assert journal.committed == 3
    journal.save_run(RunInfo("r1", "A1", "c1", "p", 1.0, {}))
    with JournalReader(path) as reader:
        until(lambda: reader.runs())
    journal.close()


def test_closing_writes_what_is_queued(path):
    journal = Journal(path, group_s=600.0)
    for number in range(10):
        journal.append(record(number))
    journal.close()
    assert len(entries(path)) == 10


# A disk that fails.


@pytest.mark.parametrize("at_commit", [False, True], ids=["at a write", "at the commit"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_disk_that_fails_once_costs_nothing(nth, at_commit, path, tmp_path):
    failed, recovered = [], []
    journal = Journal(
        path, group_s=0.01, on_failure=failed.append, on_recovery=lambda: recovered.append(1)
    )
    journal._database = FailingDisk(journal._database, nth, at_commit=at_commit)
    for number in range(1, 6):
        journal.append(record(number))
        journal.keep(Kept.STATE, "A1", {"n": number})
        journal.sync().wait(0.1)
    written(journal)
    assert journal._database.failures == 1
    assert (failed, recovered, journal.failed) == ([FULL], [1], "")
    journal.close()
    assert [(entry.seq, entry.step_record) for entry in entries(path)] == [
        (number, number) for number in range(1, 6)
    ]


def test_while_a_disk_fails_it_is_said_once_nothing_is_lost_and_tickets_wait(path):
    failed, recovered = [], []
    journal = Journal(
        path, group_s=0.01, on_failure=failed.append, on_recovery=lambda: recovered.append(1)
    )
    real = journal._database
    journal._database = FailingDisk(real, 1, for_ever=True)
    journal.append(record(1))
    ticket = journal.sync()
    until(lambda: journal.failed)
    for number in range(2, 5):
        journal.append(record(number), at_once=True)
        journal.sync()
    until(lambda: journal._database.failures > 2)
    assert not ticket.wait(0.01)
    assert journal.failed == FULL
    assert journal.backlog >= 4
    assert (failed, recovered) == ([FULL], [])
    journal._database = real
    assert ticket.wait(PATIENCE_S)
    until(lambda: not journal.backlog)
    assert (failed, recovered, journal.failed) == ([FULL], [1], "")
    journal.close()
    assert [entry.seq for entry in entries(path)] == [1, 2, 3, 4]


def test_a_disk_that_is_really_full_loses_nothing_either(path):
    journal = Journal(path, group_s=0.01)
    written(journal)
    pages = journal._database.execute("PRAGMA page_count").fetchone()[0]
    journal._database.execute(f"PRAGMA max_page_count = {pages + 2}")
    for number in range(1, 2001):
        journal.append(record(number))
    until(lambda: journal.failed == FULL)
    journal._database.execute("PRAGMA max_page_count = 1000000")
    written(journal)
    journal.close()
    assert [entry.seq for entry in entries(path)] == list(range(1, 2001))


def test_closing_on_a_disk_that_fails_says_so(path):
    journal = Journal(path, group_s=0.01)
    journal._database = FailingDisk(journal._database, 1, for_ever=True)
    journal.append(record(1))
    with pytest.raises(JournalError, match=FULL):
        journal.close()


def test_a_slow_disk_holds_nobody_up_who_appends(path):
    journal = Journal(path, group_s=0.01)
    blocker = sqlite3.connect(path)
    blocker.execute("BEGIN IMMEDIATE")  # the writer has to wait for it
    began = time.monotonic()
    for number in range(1000):
        journal.append(record(number), at_once=True)
        journal.keep(Kept.STATE, "A1", {})
    assert time.monotonic() - began < 1.0
    with pytest.raises(JournalError, match="busy"):
        journal.close(timeout_s=0.05)
    blocker.rollback()
    blocker.close()
    until(lambda: not journal._thread.is_alive())
    assert len(entries(path)) == 1000


def test_the_number_of_the_last_event_is_told_apart_from_that_of_the_last_record(path, journal):
    with JournalReader(path) as reader:
        assert reader.last_event() == 0
        journal.append(record(1))
        journal.append(note())
        journal.append(record(2))
        written(journal)
        assert (reader.last_event(), reader.head()) == (2, 3)


# Entries that cannot be written.


@pytest.mark.parametrize(
    "bad",
    [
        note(station="\ud800"),
        note(data={("a", "tuple"): 1}),
        record(1, step=10**30),
        record(1, test_time_s=nan),
        record(1, voltage_V=3.7j),
    ],
    ids=["no utf-8", "no JSON", "too large", "nan where none may be", "no number"],
)
def test_an_entry_that_cannot_be_written_is_told_in_its_place_and_holds_up_no_other(
    bad, path, journal
):
    journal.append(record(1))
    journal.append(bad)
    journal.append(record(2))
    written(journal)
    assert journal.failed == ""
    one, told, two = entries(path)
    assert (one.step_record, two.step_record) == (1, 2)
    assert told.kind is EventKind.ALARM
    assert "could not be written" in told.data["message"]
    assert [entry.seq for entry in (one, told, two)] == [1, 2, 3]


def test_a_name_that_cannot_be_written_holds_up_nothing(path, journal):
    journal.keep(Kept.REPLY, "\ud800", {})
    journal.keep(Kept.REPLY, "good", {})
    written(journal)
    with JournalReader(path) as reader:
        assert set(reader.kept(Kept.REPLY)) == {"good"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_that_dies_is_a_failure_that_everybody_can_see(path):
    def a_bug(reason):
        raise RuntimeError(reason)

    journal = Journal(path, group_s=0.01, on_failure=a_bug)
    journal._database = FailingDisk(journal._database, 1)
    journal.append(record(1))
    until(lambda: not journal._thread.is_alive())
    assert journal.failed
    assert not journal.sync().wait(0.01)


# Opening.


def test_what_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "journal.sqlite").mkdir()
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "journal.sqlite")


def test_a_process_that_forgets_to_close_it_ends_all_the_same(path):
    code = (
        f"from pathlib import Path; from daq.journal import Journal; Journal(Path({str(path)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=PATIENCE_S).returncode == 0


# Crashes.

_WRITE_FOR_EVER = """
import sys
from pathlib import Path
from daq.journal import Journal
from daq.model import Event, EventKind
journal = Journal(Path(sys.argv[1]), group_s=0.005)
for number in range(1, 10**9):
    journal.append(Event(EventKind.NOTE, 1.0, data={"n": number}))
    if number % 10 == 0 and journal.sync().wait(10.0):
        print(number, flush=True)
"""


@pytest.mark.parametrize("after", [1, 7, 30])
def test_what_was_acknowledged_survives_kill_9(after, path):
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout
    acknowledged = [int(process.stdout.readline()) for _ in range(after)][-1]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    journal = Journal(path)
    journal.append(note())
    journal.close()
    found = entries(path)
    assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
    assert [entry.data["n"] for entry in found[:-1]] == list(range(1, len(found)))
    assert len(found) > acknowledged
    check = sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone()
    assert check == ("ok",)
