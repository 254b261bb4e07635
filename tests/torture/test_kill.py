"""kill -9 of control in a whole daemon, again and again, in the middle of one run.

After each kill the journal it has left is looked at as it is, then the daemon is started again and
the run goes on, with the counters of its last record.
"""

from __future__ import annotations

import signal
import time
from random import Random

import pytest

from daq.journal import JournalReader, Kept
from daq.model import EventKind, Record
from tests.system.daemon import on, running_daemon, wait_until

CYCLE = """
protocol: cycle
version: 1.0.0
record: {every: 0.2 s}
safety: {voltage: [2.4 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
  - repeat: 500
    steps:
      - charge: 1C
        until: time >= 3 s
        at_most: 1 h
      - discharge: 1C
        until: time >= 3 s
        at_most: 1 h
"""
COUNTERS = ("charge_Ah", "discharge_Ah", "charge_Wh", "discharge_Wh")


class Run:
    """The one run that goes on through all kills."""

    def __init__(self, bench, daemon):
        self.bench, self.daemon = bench, daemon
        self.path = daemon.data / "journal.sqlite"
        self.id = daemon.run(CYCLE)

    def records(self, before=10**15):
        with JournalReader(self.path) as journal:
            entries = journal.entries(0, 10**9)
        mine = [one for one in entries if isinstance(one, Record) and one.run == self.id]
        return [record for record in mine if record.seq < before]

    def checkpoint(self):
        with JournalReader(self.path) as journal:
            return journal.kept(Kept.CHECKPOINT)[self.id][1]

    def goes_on(self):
        """Energised again, by itself or because it is told to."""

        def look():
            seen = self.daemon.station()
            if seen.get("mode") == "paused":
                self.daemon.call("resume")
            return seen.get("mode") == "running" and on(self.bench)

        wait_until(look, lambda: f"it goes on: {self.daemon.station()} {self.daemon.log()}")

    def kill_control(self):
        with JournalReader(self.path) as journal:
            head = journal.head()
        self.daemon.signal(signal.SIGKILL)
        self.daemon.process.wait(10.0)
        wait_until(lambda: not on(self.bench), "the sentinel switched off")
        with JournalReader(self.path) as journal:
            assert journal.head() >= head
            seqs = [entry.seq for entry in journal.entries(0, 10**9)]
            assert seqs == list(range(1, journal.head() + 1))
        kept, last = self.checkpoint(), self.records()[-1]
        if kept["seen"] is None:  # the last observation was recorded, and is the checkpoint's
            assert counters_of(kept) == counters(last)
        self.daemon.start()
        (gap,) = self.daemon.events(EventKind.GAP)[-1:]
        assert gap.run == self.id
        before = self.records(before=gap.seq)
        assert counters_of(kept) == counters(before[-1])
        assert len(before) - len([one for one in before if one.seq <= last.seq]) <= 1
        self.numbered()

    def numbered(self):
        """Records of each pass of a step count from 1 without a hole, kills or not."""
        steps = {}
        for record in self.records():
            steps.setdefault(record.step_count, []).append(record.step_record)
        for numbers in steps.values():
            assert numbers == list(range(1, len(numbers) + 1))


def counters(record):
    return [getattr(record, name) for name in COUNTERS]


def counters_of(checkpoint):
    meter = checkpoint["engine"]["meter"]
    return [meter[name] / 3600.0 for name in ("_charge_C", "_discharge_C", "_charge_J",
                                              "_discharge_J")]  # fmt: skip


@pytest.mark.fault("F41")
def test_whenever_control_is_killed_no_journalled_sample_is_lost_and_counters_are_exact(
    trials, tmp_path, figure
):
    rng = Random(41)
    with running_daemon(tmp_path) as (bench, daemon):
        run = Run(bench, daemon)
        count = trials(2)
        for _ in range(count):
            run.goes_on()
            time.sleep(rng.uniform(0.3, 2.5))  # the moment of the kill is the random input
            run.kill_control()
        figure("kills of control", count, "kills")
        figure("records of the run", len(run.records()), "records")
