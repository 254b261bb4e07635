"""The journal: order without holes, durability on request, and what a broken disk does."""

from __future__ import annotations

import sqlite3
import threading
import time
from math import isnan, nan

import pytest

from daq.errors import JournalError
from daq.journal import Journal, JournalReader, Kept, ended
from daq.model import Event, EventKind, Record, RunInfo

PATIENCE_S = 20.0


def record(n: int = 1, run: str = "r1", volts: float = 3.7) -> Record:
    """A record that can be told from its neighbours."""
    return Record("A1", run, float(n), n / 2, 1e9 + n, volts, 1.0, nan, 25.0, 1, 2, 3, n, n / 3, 0.1, 0.2, 0.3)  # fmt: skip # noqa: E501


@pytest.fixture
def journal(tmp_path):
    made = Journal(tmp_path / "data" / "journal.sqlite")
    yield made
    if not made.failed:
        made.close()


def synced(journal: Journal) -> Journal:
    assert journal.sync().wait(PATIENCE_S)
    return journal


def test_entries_come_back_as_they_went_in_bit_for_bit(journal):
    one = record(7, volts=1 / 3)
    event = Event(EventKind.TRIP, 2.5, "A1", "r1", nan, {"check": "V1", "n": 0.1})
    journal.append(one)
    journal.append(event, at_once=True)
    with JournalReader(synced(journal).path) as reader:
        first, second = reader.entries(0)
    assert isinstance(first, Record)
    assert isnan(first.temperature_degC)
    assert first.voltage_V == 1 / 3
    assert first.charge_Ah == 7 / 3
    assert isinstance(second, Event)
    assert isnan(second.test_time_s)
    assert (second.kind, second.data) == (EventKind.TRIP, {"check": "V1", "n": 0.1})
    assert (first.seq, second.seq) == (1, 2)


def test_numbers_have_no_holes_whoever_appends(journal):
    def work(offset: int) -> None:
        for n in range(200):
            journal.append(record(offset + n))
            journal.append(Event(EventKind.NOTE, 0.0, data={"n": n}))

    threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with JournalReader(synced(journal).path) as reader:
        assert [entry.seq for entry in reader.entries(0, 10_000)] == list(range(1, 1601))
        assert reader.head() == 1600


def test_a_reader_in_the_middle_of_writing_never_sees_a_hole(journal):
    seen: list[int] = []
    with JournalReader(journal.path) as reader:
        for n in range(500):
            journal.append(record(n), at_once=n % 7 == 0)
            journal.append(Event(EventKind.NOTE, 0.0))
            seen += [entry.seq for entry in reader.entries(seen[-1] if seen else 0)]
        synced(journal)
        seen += [entry.seq for entry in reader.entries(seen[-1] if seen else 0)]
    assert seen == list(range(1, 1001))


def test_pages_are_bounded_and_lose_nothing(journal):
    for n in range(25):
        journal.append(record(n))
    with JournalReader(synced(journal).path) as reader:
        assert [len(reader.entries(after, 10)) for after in (0, 10, 20, 25)] == [10, 10, 5, 0]
        assert [len(rows) for rows in reader.record_rows("r1", batch=10)] == [10, 10, 5]
        measured = [row for rows in reader.measured_rows("r1", batch=10) for row in rows]
        assert measured == [row[2:] for rows in reader.record_rows("r1") for row in rows]
        assert [row[-1] for row in measured] == list(range(1, 26))
        assert list(reader.measured_rows("r1", after=25)) == []


def test_a_page_begins_where_pruning_has_left_off(journal):
    for n in range(20):
        journal.append(record(n))
    synced(journal)
    with sqlite3.connect(journal.path) as other:
        other.execute("DELETE FROM record WHERE seq <= 12")
    with JournalReader(journal.path) as reader:
        assert [entry.seq for entry in reader.entries(0, 5)] == [13, 14, 15, 16, 17]


def test_numbers_go_on_after_a_restart(tmp_path):
    path = tmp_path / "journal.sqlite"
    first = Journal(path)
    first.append(record())
    first.keep(Kept.STATE, "A1", {"n": 1})
    first.close()
    second = Journal(path)
    second.append(record())
    second.keep(Kept.STATE, "A1", {"n": 2})
    second.close()
    with JournalReader(path) as reader:
        assert [entry.seq for entry in reader.entries(0)] == [1, 2]
        assert reader.kept(Kept.STATE) == {"A1": (2, {"n": 2})}
        assert reader.kept(Kept.STATE, after_version=2) == {}


def test_small_documents_are_replaced_and_forgotten(journal):
    journal.keep(Kept.TRIP, "A1", {"check": "V1"})
    journal.keep(Kept.TRIP, "A2", {"check": "T1"})
    journal.forget(Kept.TRIP, "A1")
    with JournalReader(synced(journal).path) as reader:
        assert {name: data for name, (_, data) in reader.kept(Kept.TRIP).items()} == {
            "A2": {"check": "T1"}
        }


def test_a_run_is_kept_whole_and_its_end_is_added(journal):
    info = RunInfo("r1", "A1", "c1", "p", 1.0, {"cell": {"id": "c1"}})
    journal.save_run(info)
    with JournalReader(synced(journal).path) as reader:
        open_run = reader.run("r1")
        assert open_run is not None
        assert isnan(open_run.ended_utc_s)
        assert open_run.document == {"cell": {"id": "c1"}}
        journal.save_run(ended(info, 2.0, "completed"))
        synced(journal)
        assert [(run.ended_utc_s, run.outcome) for run in reader.runs()] == [(2.0, "completed")]
        assert reader.run("nobody") is None


def test_events_can_be_asked_for_by_run_and_kind(journal):
    for run, kind in (("r1", EventKind.TRIP), ("r2", EventKind.TRIP), ("r1", EventKind.NOTE)):
        journal.append(Event(kind, 0.0, "A1", run))
    with JournalReader(synced(journal).path) as reader:
        assert len(reader.events()) == 3
        assert len(reader.events("r1")) == 2
        assert len(reader.events("r1", frozenset({EventKind.TRIP}))) == 1


def test_what_json_does_not_know_is_kept_as_text_and_stops_nothing(journal):
    journal.append(Event(EventKind.NOTE, 0.0, data={"path": journal.path}))
    with JournalReader(synced(journal).path) as reader:
        assert reader.events()[0].data == {"path": str(journal.path)}


def test_appending_never_waits_for_the_disk(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # the writer now waits for the lock
    began = time.monotonic()
    for n in range(1000):
        journal.append(record(n), at_once=True)
    ticket = journal.sync()
    took = time.monotonic() - began
    assert not ticket.wait(0.3)
    blocker.execute("ROLLBACK")
    assert ticket.wait(PATIENCE_S)
    assert took < 2.0
    blocker.close()
    journal.close()


def test_a_failing_disk_is_reported_once_and_nothing_is_lost_when_it_works_again(tmp_path):
    failures: list[str] = []
    recovered = threading.Event()
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, on_failure=failures.append, on_recovery=recovered.set)
    synced(journal)
    with sqlite3.connect(path) as other:
        other.execute("ALTER TABLE record RENAME TO away")
    journal.append(record(1), at_once=True)
    deadline = time.monotonic() + PATIENCE_S
    while not failures and time.monotonic() < deadline:
        time.sleep(0.01)
    journal.append(record(2))
    assert journal.failed
    with sqlite3.connect(path) as other:
        other.execute("ALTER TABLE away RENAME TO record")
    assert recovered.wait(PATIENCE_S)
    assert len(failures) == 1
    assert journal.failed == ""
    with JournalReader(synced(journal).path) as reader:
        assert [entry.step_record for entry in reader.entries(0)] == [1, 2]
    journal.close()


def test_closing_while_the_disk_fails_says_so(tmp_path):
    path = tmp_path / "journal.sqlite"
    journal = Journal(path)
    synced(journal)
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE record")
    journal.append(record(), at_once=True)
    with pytest.raises(JournalError, match="not closed"):
        journal.close(timeout_s=5.0)


def test_a_journal_of_another_version_is_refused_by_both_sides(tmp_path):
    path = tmp_path / "journal.sqlite"
    Journal(path).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="version 99"):
        Journal(path)
    with pytest.raises(JournalError, match="version 99"):
        JournalReader(path)


def test_what_is_no_journal_is_refused(tmp_path):
    path = tmp_path / "journal.sqlite"
    with pytest.raises(JournalError, match="no journal"):
        JournalReader(path)
    path.write_bytes(b"this is a text file, and a rather long one at that" * 100)
    with pytest.raises(JournalError, match="cannot be"):
        Journal(path)
    with pytest.raises(JournalError, match="cannot be read"):
        JournalReader(path)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("event", "kind", "no kind"), ("event", "data", "{"), ("event", "data", "[" * 3000),
        ("run", "document", b"\xff"), ("run", "document", "nothing"), ("keep", "data", "{'a': 1}"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_our_error_and_none_of_its_own(journal, table, column, value):
    journal.append(Event(EventKind.NOTE, 1.0, "A1", "r1", 1.0, {}))
    journal.save_run(RunInfo("r1", "A1", "c1", "p", 1.0, {}))
    journal.keep(Kept.STATE, "A1", {})
    synced(journal).close()
    with sqlite3.connect(journal.path) as database:
        database.execute(f"UPDATE {table} SET {column} = ?", (value,))
    with JournalReader(journal.path) as reader:
        reads = {
            "event": (reader.events, lambda: reader.entries(0)),
            "run": (reader.runs, lambda: reader.run("r1")),
            "keep": (lambda: reader.kept(Kept.STATE),),
        }
        for read in reads[table]:
            with pytest.raises(JournalError, match="cannot be read"):
                read()
        assert reader.head() == 1  # one thing that is broken does not break the others


# Transactions.


def test_what_belongs_together_is_committed_together_also_when_an_exception_ends_it(journal):
    synced(journal)
    with JournalReader(journal.path) as reader:
        with pytest.raises(KeyError, match="a bug"), journal.together():
            journal.append(record(1), at_once=True)
            with journal.together():
                journal.keep(Kept.CHECKPOINT, "r1", {"n": 1})
            time.sleep(0.05)  # the writer has had its chance
            assert reader.head() == 0
            raise KeyError("a bug")
        synced(journal)
        assert reader.head() == 1
        assert reader.kept(Kept.CHECKPOINT)["r1"][1] == {"n": 1}


def test_other_threads_do_not_wait_for_what_one_gathers(journal):
    with journal.together():
        journal.append(record(1))
        other = threading.Thread(target=lambda: synced(journal))
        other.start()
        other.join(PATIENCE_S)
        assert not other.is_alive()
        with JournalReader(journal.path) as reader:
            assert reader.head() == 0


def test_of_the_documents_of_one_name_the_last_of_a_commit_is_kept(journal):
    written: list[str] = []
    journal.sync().wait(PATIENCE_S)
    journal._database.set_trace_callback(written.append)
    with journal.together():
        for n in range(5):
            journal.keep(Kept.STATE, "A1", {"n": n})
            journal.keep(Kept.STATE, "A2", {"n": n})
        journal.forget(Kept.STATE, "A2")
        journal.append(record(1))
    with JournalReader(synced(journal).path) as reader:
        assert {name: found for name, (_, found) in reader.kept(Kept.STATE).items()} == {
            "A1": {"n": 4}
        }
    assert sum("INTO keep" in statement for statement in written) == 1


# Reading.


def test_pages_are_rows_and_events_as_the_journal_holds_them(journal):
    for number in range(1, 11):
        journal.append(record(number))
        journal.append(Event(EventKind.NOTE, 0.0, "A1", "r1", data={"n": number}))
    with JournalReader(synced(journal).path) as reader:
        page = reader.page(4, 6)
        assert len(page) == 6
        assert [row[-1] for row in page.rows] == [5, 7, 9]
        assert [event.seq for event in page.events] == [6, 8, 10]
        assert page.last_seq == 10
        assert reader.page(4, 100, last=5).last_seq == 5
        assert reader.page(20, 100).last_seq == 0
        assert (reader.last_of("r1"), reader.last_of("nobody")) == (20, 0)


def test_the_records_around_the_latest_edges_of_a_run(journal):
    info = RunInfo("r1", "A1", "c1", "p", 1.0, {})
    journal.append(record(0, run=""))
    for number in range(1, 10):
        journal.append(record(number))
        if number % 3 == 0:
            journal.append(Event(EventKind.STEP_ENDED, 0.0, "A1", "r1"))
    with JournalReader(synced(journal).path) as reader:
        numbers = [one.step_record for one in reader.around_edges(info, 2)]
        assert numbers == [6, 7, 9]
        every = [one.step_record for one in reader.around_edges(info, 9)]
        assert every == [0, 1, 2, 3, 4, 6, 7, 9]


def test_the_events_of_one_kind_come_in_batches_in_order(journal):
    for number in range(7):
        journal.append(Event(EventKind.SENSORS, 0.0, "A1", "r1", data={"n": number}))
        journal.append(Event(EventKind.NOTE, 0.0, "A1", "r1"))
        journal.append(Event(EventKind.SENSORS, 0.0, "A1", "r2"))
    with JournalReader(synced(journal).path) as reader:
        batches = list(reader.events_of("r1", EventKind.SENSORS, batch=3))
        assert [[event.data["n"] for event in batch] for batch in batches] == [
            [0, 1, 2],
            [3, 4, 5],
            [6],
        ]
        assert list(reader.events_of("r3", EventKind.SENSORS)) == []


def test_a_journal_whose_pages_are_overwritten_is_an_error_with_its_name(journal):
    for number in range(200):
        journal.append(record(number))
    path = synced(journal).path
    journal.close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    bits = bytearray(path.read_bytes())
    bits[4096:] = b"\xa5" * (len(bits) - 4096)
    path.write_bytes(bits)
    with JournalReader(path) as reader, pytest.raises(JournalError, match="cannot be read"):
        reader.entries(0)
