"""The power goes at any moment: what was told to be on disk is there, and nothing is torn.

The journal's own code on the real SQLite writes; every write and sync is logged below it (see
tests/disk). Then the power is cut a thousand times over: what no sync covers is dropped, torn and
mixed page by page, and the journal is opened as after a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from daq.journal.tables import SCHEMA_VERSION, open_for_writing
from tests.disk import workload
from tests.disk.disk import Disk, File, Kind, Operation, build, read_log
from tests.disk.powercut import PAGE, Power, _Durable

OBSERVATIONS = 240
ROOT = Path(__file__).parents[2]
V1 = ROOT / "tests" / "unit" / "data" / "journal-v1.sql"
_WORK = """
import sys
from pathlib import Path
from tests.disk.workload import work
folder = Path(sys.argv[1])
work(folder / "journal.sqlite", int(sys.argv[2]), folder / "journal.sqlite-acks")
"""
_OPEN = """
import sys
from pathlib import Path
from daq.journal.tables import open_for_writing
open_for_writing(Path(sys.argv[1]) / "journal.sqlite").close()
"""


def logged(folder, library, code, *arguments):
    """What SQLite asks of the kernel while a process runs this code."""
    disk = Disk(library, folder, logged=True)
    environment = os.environ | disk.environment | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code, str(folder), *arguments]
    subprocess.run(words, env=environment, check=True, timeout=120)
    return list(read_log(disk.log))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture(scope="module")
def log(library, tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    operations = logged(folder, library, _WORK, str(OBSERVATIONS))
    syncs = [operation.file for operation in operations if operation.kind is Kind.SYNC]
    assert syncs.count(File.WAL) > OBSERVATIONS / 3  # each commit that was waited for
    assert syncs.count(File.DATABASE) > 5  # the log was moved into the database again and again
    return operations


def cuts(operations, count, rng):
    return sorted(rng.randrange(1, len(operations) + 1) for _ in range(count))


@pytest.mark.fault("F52")
def test_what_was_acknowledged_is_there_after_any_power_cut(log, trials, tmp_path, figure):
    count = 10 * trials(30)  # a replay costs a fraction of what a trial costs elsewhere
    rng = Random(52)
    power, there = Power(log), 0
    for number, cut in enumerate(cuts(log, count, rng)):
        power.on_until(cut)
        path = power.cut(tmp_path, rng)
        there = workload.check(path, power.acked)
        if number % 50 == 0:
            workload.check_readable(path, there)
    assert there > OBSERVATIONS / 2
    figure("power cuts", count, "replays")


@pytest.mark.fault("F52")
def test_the_cuts_do_drop_and_tear(log, tmp_path):
    """Without this the test above would prove nothing: the same cuts break what is not synced."""
    unsynced = [item for item in log if item.kind is not Kind.SYNC]
    rng, broken = Random(1), 0
    power = Power(unsynced)
    for cut in cuts(unsynced, 40, rng):
        power.on_until(cut)
        path = power.cut(tmp_path, rng)
        try:
            workload.check(path, power.acked)
        except (AssertionError, sqlite3.Error, Exception):  # noqa: B014 - however it shows
            broken += 1
    assert broken > 30


def test_a_page_is_old_or_new_or_torn_at_a_sector_and_what_was_synced_stays():
    old, new = bytes([1]) * (2 * PAGE), bytes([2]) * (2 * PAGE)
    file = _Durable()
    file.since.append(Operation(Kind.WRITE, File.WAL, 0, old))
    file.sync()
    file.since.append(Operation(Kind.WRITE, File.WAL, 0, new))
    seen = {file.after_a_cut(Random(seed)) for seed in range(200)}
    assert {old, new} <= seen
    assert old[:PAGE] + new[PAGE:] in seen
    assert any(len(set(image[:PAGE])) == 2 for image in seen)
    file.since.append(Operation(Kind.TRUNCATE, File.WAL, PAGE, b""))
    assert {len(file.after_a_cut(Random(seed))) for seed in range(50)} == {PAGE, 2 * PAGE}


@pytest.mark.fault("F53")
@pytest.mark.fault("F52")
def test_a_power_cut_during_a_migration_leaves_the_old_journal_or_the_new_one(
    library, trials, tmp_path, figure
):
    old = sqlite3.connect(tmp_path / "journal.sqlite")
    old.execute("PRAGMA journal_mode = WAL")
    old.executescript(V1.read_text())
    before = old.execute("SELECT * FROM record ORDER BY seq").fetchall()
    old.close()
    whole = (tmp_path / "journal.sqlite").read_bytes()
    operations = logged(tmp_path, library, _OPEN)
    power, rng = Power(operations), Random(53)
    power._files[File.DATABASE].safe[:] = whole
    count, versions = trials(60), set()
    for cut in [1, *cuts(operations, count, rng), len(operations)]:
        power.on_until(cut)
        path = power.cut(tmp_path, rng)
        with sqlite3.connect(path) as found:
            versions.add(found.execute("PRAGMA user_version").fetchone()[0])
        found.close()
        database = open_for_writing(path)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert database.execute("SELECT * FROM record ORDER BY seq").fetchall() == before
        database.close()
    assert versions == {1, SCHEMA_VERSION}
    figure("power cuts during a migration", count, "replays")
