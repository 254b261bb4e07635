"""Journals of other versions: brought up to date as a whole, or refused. Never guessed at."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from daq.errors import JournalError
from daq.journal import SCHEMA_VERSION, Journal, JournalReader, Kept
from daq.journal.migrations import MIGRATIONS
from daq.journal.tables import SCHEMA
from daq.model import Record
from tests.unit.fakes import Stand, TurnedClock
from tests.unit.test_start import after_restart

V1 = Path(__file__).parent / "data" / "journal-v1.sql"
"""Written by the program of version 1: a run in its first step, paused, and a trip elsewhere."""


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "journal.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL")
    database.executescript(V1.read_text())
    database.close()
    return path


def version_of(path):
    with sqlite3.connect(path) as database:
        return database.execute("PRAGMA user_version").fetchone()[0]


def schema_of(path):
    with sqlite3.connect(path) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master")]
        columns = {t: database.execute(f"PRAGMA table_info({t})").fetchall() for t in tables}
    return columns


@pytest.mark.fault("F53")
def test_a_journal_of_version_1_is_brought_up_to_date_with_everything_in_it(old):
    Journal(old).close()
    assert version_of(old) == SCHEMA_VERSION
    with JournalReader(old) as reader:
        records = [entry for entry in reader.entries(0) if isinstance(entry, Record)]
        assert [entry.seq for entry in reader.entries(0)] == list(range(1, reader.head() + 1))
        mine = [row for row in records if row.run == "run-A1"]
        assert mine[-1].step_record == len(mine)
        checkpoint = reader.kept(Kept.CHECKPOINT)["run-A1"][1]
        assert checkpoint["recording"]["step_record"] == mine[-1].step_record
        assert not checkpoint["recording"]["fresh_step"]
        assert "earlier version" in checkpoint["paused"]
        assert reader.kept(Kept.TRIP)["A2"][1]["check"] == "V1"
        assert reader.run("run-A1")


@pytest.mark.fault("F53")
def test_what_is_migrated_has_the_tables_of_what_is_made(old, tmp_path):
    Journal(old).close()
    made = tmp_path / "new.sqlite"
    Journal(made).close()
    assert schema_of(old) == schema_of(made)
    assert SCHEMA.count("CREATE TABLE") == 6


@pytest.mark.fault("F53")
def test_a_run_of_version_1_goes_on_under_this_one(old, monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    monkeypatch.setattr("daq.control.start.monotonic", clock)
    stand = Stand(clock)
    after_restart(old, stand, lambda journal: None)
    run = stand.conductor.run
    assert run
    assert run.counters()["charge_Ah"] == 79.874999999995 / 3600
    assert stand.guard.charge.snapshot()["net_Ah"] == 0.022187499999998726


@pytest.mark.fault("F53")
def test_a_migration_that_fails_half_way_leaves_the_old_file(old, monkeypatch):
    def broken(database):
        MIGRATIONS[1](database)
        raise sqlite3.OperationalError("database or disk is full")

    before = schema_of(old)
    monkeypatch.setattr("daq.journal.tables.MIGRATIONS", {1: broken})
    with pytest.raises(JournalError, match="disk is full"):
        Journal(old)
    assert (version_of(old), schema_of(old)) == (1, before)


@pytest.mark.fault("F53")
def test_readers_of_an_old_journal_say_what_to_do(old):
    with pytest.raises(JournalError, match="start the daemon once") as caught:
        JournalReader(old)
    assert "version 1" in str(caught.value)


@pytest.mark.fault("F53")
@pytest.mark.parametrize("version", [99, -1])
def test_a_version_that_nobody_knows_is_refused_and_nothing_is_touched(version, old):
    with sqlite3.connect(old) as database:
        database.execute(f"PRAGMA user_version = {version}")
    before = schema_of(old)
    for open_it in (Journal, JournalReader):
        with pytest.raises(JournalError, match="use the program version that wrote it"):
            open_it(old)
    assert (version_of(old), schema_of(old)) == (version, before)
