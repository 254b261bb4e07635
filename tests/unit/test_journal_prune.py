"""What may leave the journal, and what never comes back: the sequence numbers."""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import replace

import pytest

from daq.cli.keeping import EVERYTHING
from daq.errors import InputError, JournalError
from daq.journal import Journal, JournalReader, prune
from daq.model import Event, EventKind, Record
from daq.recorder.source import open_source
from daq.recorder.tail import Recorder
from tests import runs

RUN = runs.run_info().id
OTHER = "other-run"
IDLE = Record("A1", "", 0.0, 0.0, 0.0, 3.7, 0.0, 25.0, 24.0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def path(tmp_path):
    """One ended run with a spectrum, one that goes on, and a station that was idle."""
    path = tmp_path / "journal.sqlite"
    info = runs.run_info()
    runs.write(path, (info, runs.formation(info)))
    journal = Journal(path)
    journal.save_run(runs.run_info(OTHER, "A2"))
    for number in range(1, 11):
        journal.append(replace(IDLE, utc_s=100.0 * number))
        journal.append(replace(IDLE, station="A2", run=OTHER, step_record=number))
    journal.close()
    return path


def of_run(path, run):
    with JournalReader(path) as reader:
        rows = [row for batch in reader.record_rows(run) for row in batch]
        return len(rows), {event.kind for event in reader.events(run)}


def head(path):
    with JournalReader(path) as reader:
        return reader.head()


@pytest.mark.parametrize("rows", [50_000, 60], ids=["one slice", "many"])
def test_a_pruned_run_keeps_its_row_and_its_events_and_its_records_are_gone(
    rows, path, monkeypatch
):
    monkeypatch.setattr(sys.modules["daq.journal.prune"], "_SLICE", rows)
    before, events = of_run(path, RUN)
    assert before > 100
    assert EventKind.SPECTRUM_POINT in events
    size = path.stat().st_size
    pruned = prune(path, [RUN], 0.0, 0)
    assert (pruned.records, pruned.bytes) == (before, size - path.stat().st_size)
    assert pruned.points > 0
    assert pruned.bytes > 0
    assert of_run(path, RUN) == (0, events - {EventKind.SPECTRUM_POINT})
    assert of_run(path, OTHER)[0] == 10
    with JournalReader(path) as reader:
        info = reader.run(RUN)
        assert info
        assert info.pruned_utc_s > 1e9
        with pytest.raises(InputError, match="not in the journal any more"):
            open_source(reader, RUN)


def test_sequence_numbers_go_on_even_when_the_journal_is_empty(path):
    last = head(path)
    runs_left = Journal(path)
    with JournalReader(path) as reader:
        other = reader.run(OTHER)
    assert other
    runs_left.save_run(replace(other, outcome="stopped", ended_utc_s=1.0))
    runs_left.close()
    prune(path, [RUN, OTHER], float("inf"), EVERYTHING)
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM event")
    journal = Journal(path)
    assert journal.committed == last
    journal.append(Event(EventKind.NOTE, 1.0))
    journal.close()
    assert head(path) == last + 1
    with JournalReader(path) as reader:
        assert [entry.seq for entry in reader.entries(0)] == [last + 1]


def test_records_of_idle_stations_go_by_age(path):
    assert prune(path, [], 500.0, 0).records == 0  # nobody has seen them yet
    assert prune(path, [], 500.0, EVERYTHING).records == 4
    assert of_run(path, "")[0] == 6


@pytest.mark.parametrize("run", [OTHER, "nobody"], ids=["goes on", "unknown"])
def test_what_has_not_ended_is_never_pruned(run, path):
    before = of_run(path, OTHER)
    with pytest.raises(JournalError, match="has not ended"):
        prune(path, [run], 0.0, EVERYTHING)
    assert of_run(path, OTHER) == before


def test_a_disk_that_fails_while_pruning_is_said_so(path):
    with sqlite3.connect(path) as database:
        database.execute("DROP TABLE record")
    with pytest.raises(JournalError, match="cannot be pruned"):
        prune(path, [], 1.0, EVERYTHING)


def test_the_recorder_makes_no_file_of_a_run_that_was_pruned(path, tmp_path):
    prune(path, [RUN], 0.0, 0)
    out = tmp_path / "out"
    with JournalReader(path) as reader:
        recorder = Recorder(reader, out)
        recorder.poll()
        while recorder.work():
            pass
        recorder.stop(1.0)
    assert sorted(file.name for file in out.iterdir()) == [f"{OTHER}.h5.part"]


def test_reading_goes_on_across_the_hole(path):
    prune(path, [RUN], 0.0, 0)
    with JournalReader(path) as reader:
        whole = reader.entries(0, 10**6)
        pages, after = [], 0
        while page := reader.entries(after, 3):
            pages += page
            after = page[-1].seq
        assert pages == whole
