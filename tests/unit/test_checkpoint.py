"""What a crash leaves of a run, wherever it cuts the journal: its place and its counters, exact."""

from __future__ import annotations

import random
from contextlib import contextmanager

import pytest

from daq.control.run import Run
from daq.journal import Kept
from daq.model import EventKind, Record, RunInfo
from daq.protocol.engine import Engine
from tests.unit.fakes import MemoryJournal, Stand, TurnedClock, program

CYCLES = """\
  - repeat: 2
    steps:
      - charge: 1C
        until: time >= 7 s
        at_most: 1 h
      - rest: 3 s
      - discharge: C/2
        until: time >= 4 s
        at_most: 1 h
"""


class CutJournal(MemoryJournal):
    """Remembers its transactions, so that a test can go back to any of them."""

    def __init__(self):
        super().__init__()
        self.transactions = []
        self._depth = 0

    @contextmanager
    def together(self):
        if not self._depth:
            self.transactions.append([])
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def _note(self, deed, *arguments):
        if not self._depth:
            self.transactions.append([])
        self.transactions[-1].append((deed, arguments))
        getattr(MemoryJournal, deed)(self, *arguments)

    def append(self, entry, *, at_once=False):
        self._note("append", entry)

    def keep(self, kind, name, data):
        self._note("keep", kind, name, data)

    def forget(self, kind, name):
        self._note("forget", kind, name)

    def cut_after(self, count):
        """The journal as a crash after so many transactions would have left it."""
        left = MemoryJournal()
        for transaction in self.transactions[:count]:
            for deed, arguments in transaction:
                getattr(left, deed)(*arguments)
        return left


@pytest.fixture
def stand(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    stand = Stand(clock)
    stand.journal = stand.station._journal = CutJournal()
    return stand


def live(stand, rng, ticks):
    """Tick a run with noise, with now and then a pause."""
    for _ in range(ticks):
        setpoint = stand.driver.setpoint
        if stand.driver.is_on and setpoint:
            amps = setpoint.charge_A - setpoint.discharge_A
            stand.driver.current_A = amps * rng.uniform(0.97, 1.03)
        else:
            stand.driver.current_A = 0.0
        stand.tick(every_s=rng.uniform(0.09, 0.13))
        if rng.random() < 0.02:
            stand.conductor.pause("a test", stand.station.last)
        elif stand.conductor.paused and rng.random() < 0.3:
            stand.conductor.resume("a test")


def restored(stand, journal):
    """The run as a restart makes it, and its records with what the restart has added."""
    kept = journal.kept[Kept.CHECKPOINT, "run-A1"]
    engine = Engine.restore(program(CYCLES), kept["engine"])
    engine.interrupt()
    info = RunInfo("run-A1", "A1", "c1", "test", 0.0, {})
    run = Run(info, engine, journal, checkpoint=kept)
    run.begin(stand.station.utc(), kept["charge"])
    return run, records_of(journal)


def records_of(journal):
    return [record for record in journal.records() if record.run]


def counters(record: Record):
    return {name: getattr(record, name) for name in ("charge_Ah", "discharge_Ah", "charge_Wh",
                                                     "discharge_Wh")}  # fmt: skip


@pytest.mark.fault("F41")
@pytest.mark.parametrize("seed", range(4))
def test_wherever_the_journal_is_cut_the_run_has_the_counters_of_its_last_record(seed, stand):
    stand.tick()
    stand.start(CYCLES)
    live(stand, random.Random(seed), 400)
    cuts = len(stand.journal.transactions)
    begun = [n for n in range(1, cuts + 1) if stand.journal.cut_after(n).kept]
    assert len(begun) > 50
    cut_between_records = 0
    for count in begun:
        left = stand.journal.cut_after(count)
        if (Kept.CHECKPOINT, "run-A1") not in left.kept:
            assert left.events(EventKind.RUN_ENDED)
            continue
        before = len(records_of(left))
        run, records = restored(stand, left)
        if not run.engine.started:
            assert not records
            continue
        cut_between_records += len(records) - before
        last = records[-1]
        assert run.counters() == counters(last)
        assert run.engine.test_time_s == last.test_time_s
        assert (last.cycle, last.step_count) == _place_of_last_sample(run, left)
        assert last.step_record == 1 + sum(
            other.step_count == last.step_count for other in records[:-1]
        )
    assert cut_between_records > 5


def _place_of_last_sample(run, journal):
    """At an edge the last sample belongs to the step that has ended."""
    started = journal.events(EventKind.STEP_STARTED)[-1].data
    ended = journal.events(EventKind.STEP_ENDED)
    assert (started["step_count"], started["cycle"]) == (run.engine.step_count, run.engine.cycle)
    if run._fresh_step and ended:
        return ended[-1].data["cycle"], ended[-1].data["step_count"]
    return run.engine.cycle, run.engine.step_count


def test_a_run_that_comes_back_twice_has_its_last_sample_once(stand):
    stand.energised(CYCLES)
    stand.tick(25)  # the recording rule keeps one in 10 s: the last checkpoint is after it
    left = stand.journal.cut_after(len(stand.journal.transactions))
    before = len(records_of(left))
    run, records = restored(stand, left)
    assert len(records) == before + 1
    again, records = restored(stand, left)
    assert len(records) == before + 1
    assert again.counters() == run.counters() == counters(records[-1])


def test_the_records_of_a_step_go_on_counting_after_a_restart(stand):
    stand.energised(CYCLES)
    stand.tick(25)
    left = stand.journal.cut_after(len(stand.journal.transactions))
    run, records = restored(stand, left)
    stand.conductor.run, run.offset_s = run, 1.0
    stand.tick(150)
    numbers = [record.step_record for record in records_of(left) if record.step_count == 1]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > len(records)


def test_a_run_that_was_accepted_survives_a_crash_before_its_first_sample(stand):
    stand.start(CYCLES)
    run, records = restored(stand, stand.journal.cut_after(1))
    assert not run.engine.started
    assert records == []


def test_the_checkpoint_says_whether_somebody_had_paused_the_run(stand):
    stand.energised(CYCLES)
    assert stand.journal.kept[Kept.CHECKPOINT, "run-A1"]["paused"] == ""
    stand.conductor.pause("ana wants to look", stand.station.last)
    assert stand.journal.kept[Kept.CHECKPOINT, "run-A1"]["paused"] == "ana wants to look"
    left = stand.journal.cut_after(len(stand.journal.transactions))
    restored(stand, left)
    assert left.kept[Kept.CHECKPOINT, "run-A1"]["paused"] == "ana wants to look"


def test_a_trip_keeps_the_sample_that_tripped(stand):
    stand.energised(CYCLES)
    stand.tick(3)
    stand.latched()
    run, records = restored(stand, stand.journal.cut_after(len(stand.journal.transactions)))
    assert run.counters() == counters(records[-1])
    assert run.engine.paused
