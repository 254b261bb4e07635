"""How a run comes back: with its time, its charge, and never half understood."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import pytest

from daq.config import ResumePolicy
from daq.control import start
from daq.control.alarms import Alarms
from daq.control.earlier import Earlier
from daq.control.fit import Fit
from daq.control.resumption import Resumptions
from daq.control.run import Run
from daq.control.start import Starter
from daq.driver import Range
from daq.journal import Journal, JournalReader, Kept
from daq.model import EventKind, RunInfo, Trip
from daq.protocol.compile import compile_protocol
from daq.protocol.engine import Engine
from daq.protocol.source import parse_protocol
from tests.unit.fakes import CELL, CHARGE, HARD, HEAD, REST, MemoryJournal, Stand, TurnedClock

SPANS = {"voltage_V": [None, None], "current_A": [None, None], "temperature_degC": [None, None]}


def info(run="run-A1", station="A1", **changes):
    document = {
        "protocol": {"text": HEAD + CHARGE + REST, "file": "t.yaml", "parameters": {}},
        "cell": {
            "id": CELL.id, "nominal_capacity_Ah": 2.5, "chemistry": "NMC", "batch": "",
            "limits": SPANS, "metadata": {},
        },
        "lab": {"sha256": "of the lab file"},
    }  # fmt: skip
    return RunInfo(run, station, CELL.id, "test", 1e9, document | changes)


@pytest.fixture
def clock(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    monkeypatch.setattr("daq.control.start.monotonic", clock)
    return clock


@pytest.fixture
def stand(clock):
    return Stand(clock)


def bench_of(stand):
    return SimpleNamespace(
        stations={"A1": stand.station}, instruments={stand.instrument.name: stand.instrument}
    )


def starter(stand):
    return Starter(None, bench_of(stand), stand.lab_clock, stand.journal)  # type: ignore[arg-type]


def test_a_nameplate_bounds_what_may_start_and_no_reading(stand):
    stand.tick(3)
    ref = stand.station.wiring.cycler
    told = Fit(bench_of(stand), real_time=False).range_of(ref)
    assert told == stand.driver.range(ref.channel)
    nameplate = Range(current_A=(-1.0, 99.0))
    stand.instrument.spec = replace(stand.instrument.spec, nameplate=nameplate)
    both = Fit(bench_of(stand), real_time=False).range_of(ref)
    assert both.current_A == (-1.0, told.current_A[1])
    assert both.voltage_V == told.voltage_V
    assert stand.instrument.ranges[ref.channel] == told


def checkpoint(stand):
    return stand.journal.kept[Kept.CHECKPOINT, "run-A1"]


def test_a_run_comes_back_with_its_step_its_time_and_its_charge(stand, clock, monkeypatch):
    began = starter(stand).restore(info(), fresh(stand))  # from the text of a protocol, as run
    stand.tick()
    stand.conductor.begin(began)
    stand.tick(100, every_s=1.0)
    kept = checkpoint(stand)
    monkeypatch.setattr("daq.control.start.time.time", lambda: kept["utc_s"] + 300.0)
    run = starter(stand).restore(info(), kept)
    assert run.engine.step_count == 1
    assert run.engine.counters == began.engine.counters
    assert run.charged == stand.guard.snapshot()
    now_s = stand.lab_clock.at(clock.now_s) + run.offset_s
    assert now_s - run.engine.time_s == pytest.approx(300.0)  # the time that it was away counts


def fresh(stand, of=None):
    """The checkpoint of a run that has not seen a sample yet."""
    of = of or info()
    written = of.document["protocol"]
    chosen = written["parameters"]
    source = parse_protocol(written["text"], "t.yaml", written.get("files"), chosen)
    made = compile_protocol(source, CELL, [("station A1", HARD)], parameters=chosen)
    journal = MemoryJournal()
    run = Run(of, Engine(made), journal)  # type: ignore[arg-type]
    run.begin(1e9, stand.guard.snapshot())
    return journal.kept[Kept.CHECKPOINT, "run-A1"]


def test_a_run_that_plays_another_file_comes_back_with_it(stand):
    text = HEAD + "  - profile: {file: $course}\n"
    text = text.replace("version:", "parameters: {course: a.csv}\nversion:", 1)
    files = {
        f"{name}.csv": f"time_s,rate_C\n0,0.1\n{end},0\n" for name, end in (("a", 9), ("b", 7))
    }
    written = {"text": text, "file": "t.yaml", "files": files, "parameters": {"course": "b.csv"}}
    of = info(protocol=written)
    run = starter(stand).restore(of, fresh(stand, of))
    assert run.engine.program.steps[0].course.times_s[-1] == 7.0


def test_a_run_that_had_not_seen_a_sample_begins_when_it_is_resumed(stand):
    run = starter(stand).restore(info(), fresh(stand))
    stand.tick()
    stand.conductor.begin(run, "the daemon was restarted")
    stand.tick(3)
    stand.conductor.resume("ana")
    stand.tick(2)
    assert stand.station.latch is None
    assert stand.driver.is_on


def test_accelerated_time_goes_on_where_it_was(clock):
    stand = Stand(clock, factor=500.0)
    began = starter(stand).restore(info(), fresh(stand))
    stand.tick()
    stand.conductor.begin(began)
    stand.tick(20)
    run = starter(stand).restore(info(), checkpoint(stand))
    now_s = stand.lab_clock.at(clock.now_s) + run.offset_s
    assert now_s == pytest.approx(run.engine.time_s)


# An earlier session.


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def after_restart(path, stand, fill):
    """What a new session makes of what an earlier one had kept."""
    journal = Journal(path)
    fill(journal)
    assert journal.sync().wait(20.0)
    earlier = Earlier(journal)
    bench = bench_of(stand)
    lab = SimpleNamespace(sha256="of the lab file")
    made = Starter(lab, bench, stand.lab_clock, journal)  # type: ignore[arg-type]
    stand.station._journal = journal
    resumptions = Resumptions(ResumePolicy(), lambda _: "", lambda *_: None)
    earlier.restore(bench, made, Alarms(journal, lambda: 1.0), resumptions)  # type: ignore[arg-type]
    journal.close()
    with JournalReader(path) as reader:
        return earlier, reader.events(), {run.id: run.outcome for run in reader.runs()}


def test_a_latch_holds_on_and_nothing_is_energised(path, stand):
    def fill(journal):
        journal.keep(Kept.TRIP, "A1", {"check": "V1", "message": "too high", "source": "aps1"})
        journal.keep(Kept.TRIP, "B9", {"check": "V1", "message": "x", "source": ""})

    after_restart(path, stand, fill)
    assert stand.station.latch == Trip("V1", "too high", "aps1")
    stand.tick(5)
    assert stand.driver.count("on") == 0
    assert stand.driver.count("off") == 1


def test_a_run_with_a_checkpoint_waits_paused(path, stand):
    def fill(journal):
        journal.save_run(info())
        journal.keep(Kept.CHECKPOINT, "run-A1", fresh(stand))

    _, events, outcomes = after_restart(path, stand, fill)
    assert stand.conductor.paused == "the daemon was restarted"
    assert outcomes == {"run-A1": ""}
    assert [event.kind for event in events] == [EventKind.GAP]
    stand.tick(10)
    assert stand.driver.count("on") == 0


@pytest.mark.parametrize(
    ("run", "kept"),
    [
        (info(), None),
        (info(station="B9"), {}),
        (info(), {}),
        (info(), {"engine": None, "utc_s": 1.0}),
        (info(), {"engine": {"format": 99}, "utc_s": 1.0}),
        (info(cell={}), {"engine": {}, "utc_s": 1.0}),
        (info(protocol={"text": "protocol: [", "file": "t", "parameters": {}}), {"utc_s": 1.0}),
    ],
    ids=["none", "no station", "empty", "null", "other format", "no cell", "no protocol"],
)
def test_a_run_that_is_not_understood_is_ended_and_stops_nothing(run, kept, path, stand):
    def fill(journal):
        journal.save_run(run)
        if kept is not None:
            journal.keep(Kept.CHECKPOINT, "run-A1", kept)

    _, events, outcomes = after_restart(path, stand, fill)
    assert stand.conductor.run is None
    assert outcomes == {"run-A1": "failed"}
    assert events[-1].kind is EventKind.RUN_ENDED


def test_what_the_sentinel_had_to_do_is_an_alarm_once(path, stand, tmp_path):
    (tmp_path / "sentinel-1-2.jsonl").write_text('{"event": "acting"}\n')
    journal = Journal(path)
    for _ in range(2):
        alarms = Alarms(journal, lambda: 1.0)
        Earlier(journal).read_sentinel_reports(tmp_path, alarms)
        alarms.drain()
    journal.close()
    with JournalReader(path) as reader:
        (alarm,) = reader.events()
    assert alarm.kind is EventKind.ALARM
    assert "acting" in alarm.data["report"]
    assert (tmp_path / "logs" / "sentinel-1-2.jsonl").exists()


def test_no_run_gets_the_id_of_an_earlier_one_though_the_clock_was_set_back(stand, monkeypatch):
    moment = SimpleNamespace(now=lambda zone: datetime(2026, 11, 26, 1, 2, 3, tzinfo=zone))
    monkeypatch.setattr("daq.control.start.datetime", moment)
    made = starter(stand)
    made.remember(["20261126-010203-A1", "20261126-010203-A1-2"])
    assert made._new_id("A1") == "20261126-010203-A1-3"
    assert made._new_id("A2") == "20261126-010203-A2"


POWERED = """
protocol: powered
version: 1.0.0
safety: {voltage: [2.6 V, 4.25 V], temperature: [0 degC, 50 degC]}
steps:
  - charge: 3 W
    until: voltage >= 4.1 V
    at_most: 3 h
  - discharge: 2 ohm
    until: voltage <= 3 V
    at_most: 3 h
  - charge: C/2
    until: voltage >= 4.1 V
    at_most: 3 h
"""


def test_what_is_kept_of_a_run_says_what_each_step_keeps_constant():
    source = parse_protocol(POWERED, "t.yaml")
    program = compile_protocol(source, CELL, [("station A1", HARD)])
    steps = start._protocol_document(source, program, {})["steps"]
    assert [step["follows"] for step in steps] == ["power", "resistance", None]
