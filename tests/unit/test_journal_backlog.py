"""A disk that is away for long: memory stays flat, trips and commands wait, holes are marked."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from daq.journal import Journal, JournalReader, Kept
from daq.journal.backlog import Backlog
from daq.model import Event, EventKind, Record

PATIENCE_S = 20.0
RECORD = Record(
    "A1", "r1", 1.0, 0.0, 1e9, 3.7, 1.0, 25.0, 24.0, 1, 1, 1, 1, 0.1, 0.2, 0.3, 0.4
)  # fmt: skip


def record(number, run="r1"):
    return replace(RECORD, run=run, utc_s=1e9 + number, step_record=number)


def trip(number):
    return Event(EventKind.TRIP, 1e9 + number, "A1", "r1", data={"n": number})


class HeldDisk:
    """A connection whose commits wait until they are let go."""

    def __init__(self, real):
        self.real = real
        self.free = threading.Event()
        self.held = threading.Event()

    def execute(self, *arguments):
        return self.real.execute(*arguments)

    def __enter__(self):
        self.held.set()
        self.free.wait(PATIENCE_S)
        return self.real.__enter__()

    def __exit__(self, *raised):
        return self.real.__exit__(*raised)

    def close(self):
        self.real.close()


@pytest.fixture
def held(tmp_path):
    journal = Journal(tmp_path / "journal.sqlite", group_s=0.01, bound=100)
    assert journal.sync().wait(PATIENCE_S)
    disk = journal._database = HeldDisk(journal._database)
    yield journal, disk
    disk.free.set()
    journal.close(PATIENCE_S)


@pytest.mark.fault("F54")
def test_beyond_its_bound_the_journal_refuses_records_keeps_trips_and_marks_the_hole(held):
    journal, disk = held
    journal.append(record(0), at_once=True)
    assert disk.held.wait(PATIENCE_S)
    for number in range(1, 5001):
        with journal.together():
            journal.append(record(number, "r1" if number % 2 else "r2"))
            journal.keep(Kept.CHECKPOINT, "r1", {"n": number})
            journal.keep(Kept.STATE, "A1", {"n": number})
        if number % 1000 == 0:
            journal.append(trip(number), at_once=True)
            journal.forget(Kept.STATE, "A1")
    assert journal.backlog < 150
    assert journal.refused >= 4800
    disk.free.set()
    assert journal.sync().wait(PATIENCE_S)
    assert journal.sync().wait(PATIENCE_S)  # the holes are told in the commit after
    with JournalReader(journal.path) as reader:
        assert len(reader.events("r1", frozenset({EventKind.TRIP}))) == 5
        assert reader.kept(Kept.CHECKPOINT)["r1"][1] == {"n": 5000}
        assert reader.kept(Kept.STATE) == {}
        kept = [row for row in reader.entries(0, 10**6) if isinstance(row, Record)]
        gaps = reader.events(kinds=frozenset({EventKind.GAP}))
        assert {gap.run for gap in gaps} == {"r1", "r2"}
        assert sum(gap.data["records"] for gap in gaps) == journal.refused == 5001 - len(kept)
        assert all("could not be written" in gap.data["reason"] for gap in gaps)
        (first,) = [gap for gap in gaps if gap.run == "r1"]
        lost_from = max(row.utc_s for row in kept if row.run == "r1") + 2
        assert (first.data["from_utc_s"], first.data["to_utc_s"]) == (lost_from, 1e9 + 4999)
        assert [entry.seq for entry in reader.entries(0, 10**6)] == list(
            range(1, reader.head() + 1)
        )


@pytest.mark.fault("F57")
def test_a_commit_that_does_not_end_counts_as_failing_until_it_has(held, monkeypatch):
    journal, disk = held
    monkeypatch.setattr("daq.journal.writer.SLOW_S", 0.05)
    assert (journal.slow_s, journal.failed) == (0.0, "")
    journal.append(record(1), at_once=True)
    assert disk.held.wait(PATIENCE_S)
    time.sleep(0.1)
    assert journal.slow_s >= 0.1
    assert "has not answered" in journal.failed
    disk.free.set()
    assert journal.sync().wait(PATIENCE_S)
    assert (journal.slow_s, journal.failed) == (0.0, "")


def test_what_many_threads_put_in_beyond_the_bound_is_either_there_or_counted():
    backlog = Backlog(bound=50)

    def put(name):
        for number in range(2000):
            backlog.put(record(number, name), at_once=False)

    threads = [threading.Thread(target=put, args=(name,)) for name in ("r1", "r2", "r3")]
    taken = 0
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken += len(backlog.take())
    taken += len(backlog.take())
    assert taken + backlog.refused == 6000
    assert sum(gap.data["records"] for gap in backlog.gaps()) == backlog.refused
    assert backlog.gaps() == []
