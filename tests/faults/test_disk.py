"""A whole daemon on a disk that fails or hangs: OFF as fast as ever, a pause, an alarm, no loss.

The disk is broken below the real SQLite, by tests/disk/shim.c.
"""

from __future__ import annotations

import sqlite3
import time

import pytest

from daq.journal import JournalReader
from daq.model import EventKind, Record
from tests.disk.disk import EIO, ENOSPC, EROFS, Deed, Disk, Kind, build
from tests.system.daemon import CHARGE, last_edge_s, on, running_daemon, wait_until

REACTION_S = 2.0
"""Twice the reaction time of the lab file; idle it is some milliseconds. This machine is busy."""


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A bench, a daemon whose journal is on the disk, and the disk."""
    disk = Disk(build(tmp_path), tmp_path)
    for name, value in disk.environment.items():
        monkeypatch.setenv(name, value)
    with running_daemon(tmp_path) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        yield bench, daemon, disk
        disk.mended()


def gapless(daemon):
    """Nothing corrupt, nothing acknowledged that is not there."""
    path = daemon.data / "journal.sqlite"
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    with JournalReader(path) as journal:
        entries = journal.entries(0, 10**9)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    return entries


@pytest.mark.parametrize(
    ("error", "kinds"),
    [
        pytest.param(ENOSPC, Kind.WRITE, marks=pytest.mark.fault("F54"), id="full"),
        pytest.param(EROFS, Kind.ANY, marks=pytest.mark.fault("F55"), id="read-only"),
        pytest.param(EIO, Kind.SYNC, marks=pytest.mark.fault("F56"), id="EIO at every sync"),
    ],
)
def test_a_journal_that_cannot_be_written_pauses_every_run_and_goes_on_when_it_can(
    error, kinds, broken, figure
):
    bench, daemon, disk = broken
    struck = time.monotonic()
    disk.will(Deed.FAIL, for_ever=True, kinds=kinds, error=error)
    seen = daemon.wait_for(mode="paused")
    figure("disk fails to OFF", last_edge_s(bench) - struck, "s")
    assert "the journal cannot be written" in seen["why"]
    assert not on(bench)
    assert "journal cannot be written" in daemon.call("resume").reason or not on(bench)
    disk.mended()
    wait_until(lambda: not daemon.client.call("status").data["journal"]["failed"], "it works")
    alarms = wait_until(lambda: alarms_of(daemon), "the alarm is in the journal")
    assert alarms[0].data["severity"] == "page"
    if daemon.station()["mode"] == "paused":
        assert daemon.call("resume").state == "done"
    daemon.energised()
    records = [entry for entry in gapless(daemon) if isinstance(entry, Record) and entry.run]
    assert [record.step_record for record in records] == list(range(1, len(records) + 1))


def alarms_of(daemon):
    return [
        event
        for event in daemon.events(EventKind.ALARM)
        if "the journal cannot be written" in event.data.get("message", "")
    ]


@pytest.mark.fault("F57")
def test_while_a_sync_takes_ten_seconds_a_trip_is_off_as_fast_as_ever(broken, figure):
    bench, daemon, disk = broken
    disk.will(Deed.DELAY, for_ever=True, kinds=Kind.SYNC, delay_s=10.0)
    wait_until(lambda: disk.hits, "a commit hangs")
    struck = time.monotonic()
    bench.fault("aps1", "offset", quantity="voltage_V", by=1.0)
    wait_until(lambda: not on(bench), "OFF in the cell's own ledger")
    took_s = last_edge_s(bench) - struck
    figure("fault to OFF while a sync hangs", 1e3 * took_s, "ms")
    assert took_s < REACTION_S
    assert not daemon.events(EventKind.TRIP)  # the trip waits for the disk; OFF has not
    seen = daemon.wait_for(mode="tripped")
    assert seen["trip"]["check"] == "V1"
    wait_until(
        lambda: "has not answered" in daemon.client.call("status").data["journal"]["failed"],
        "it is seen from outside",
    )
    disk.mended()
    (trip,) = wait_until(lambda: daemon.events(EventKind.TRIP), "the trip is in the journal")
    figure("OFF written and verified", 1e3 * trip.data["off_took_s"], "ms")
    assert trip.data["off_verified"]
    wait_until(lambda: alarms_of(daemon), "and so is the alarm")
    gapless(daemon)
