"""What only shows when somebody looks: links, the journal, processes, and what a cell does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from daq.config import DetectConfig
from daq.control.alarms import watch
from daq.control.alarms.observer import Fades, Observer
from daq.control.alarms.watch import SILENT_S, Watch
from daq.control.faults import Faults
from daq.errors import NoReply, WrongIdentity
from tests.unit.fakes import CHARGE, Stand, TurnedClock

LIMITS = DetectConfig(0.03, 0.01, 1.0, 0.002, 0.99)


class Bench:
    """One station, its link's faults, and the watch over them."""

    def __init__(self, monkeypatch) -> None:
        self.clock = TurnedClock()
        self.clock.put_into(monkeypatch)
        monkeypatch.setattr(watch, "monotonic", self.clock)
        monkeypatch.setattr("daq.control.faults.monotonic", self.clock)
        self.stand = Stand(self.clock)
        self.faults = Faults(self.stand.journal, self.stand.alarms)
        self.failed = ""
        self.child = SimpleNamespace(name="recorder", alive=True, restarts=0)
        self.watch = Watch(
            self.stand.alarms,
            SimpleNamespace(
                stations={"A1": self.stand.station},
                instruments={self.stand.instrument.name: self.stand.instrument},
                thermostats={},
                switchboards={},
            ),
            self.faults,
            failed=lambda: self.failed,
            children=[self.child],
            limits=LIMITS,
        )

    def look(self, seconds: float = 2.0) -> dict[str, str]:
        self.clock.now_s += seconds
        self.watch.look()
        self.stand.alarms.drain()
        return {one.cause: one.severity for one in self.stand.alarms.book.open}


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_a_link_that_hiccups_is_no_alarm_and_one_that_stays_down_is(bench):
    bench.faults.fault_began(bench.stand.instrument, NoReply("nothing"))
    assert bench.look(SILENT_S - 1.0) == {}
    assert bench.look(2.0) == {"instrument-silent": "ticket"}  # no run needs it


def test_it_is_a_page_as_soon_as_a_run_needs_it(bench):
    bench.faults.fault_began(bench.stand.instrument, NoReply("nothing"))
    assert bench.look(SILENT_S + 1.0) == {"instrument-silent": "ticket"}
    bench.stand.start(CHARGE)
    assert bench.look() == {"instrument-silent": "page"}


def test_another_unit_at_its_address_is_told_at_once(bench):
    bench.faults.fault_began(bench.stand.instrument, WrongIdentity("a stranger"))
    assert "wrong-instrument" in bench.look(1.5)
    bench.faults.fault_ended(bench.stand.instrument, 1.0)
    assert bench.look() == {}


def test_a_journal_that_fails_is_one_alarm_with_the_runs_that_it_stops(bench):
    bench.stand.start(CHARGE)
    bench.failed = "disk full"
    assert bench.look() == {"journal-failing": "page"}
    (alarm,) = bench.stand.alarms.book.open
    assert alarm.stations == ("A1",)
    assert "1 runs" in alarm.message


def test_a_process_that_was_started_again_is_told(bench):
    assert bench.look() == {}
    bench.child.restarts = 1
    assert bench.look() == {"process-died": "ticket"}


def test_a_run_that_waits_for_long_is_told_and_over_when_it_goes_on(bench):
    bench.stand.start(CHARGE)
    bench.stand.conductor.waits_for = "the chamber"
    assert bench.look() == {}
    assert bench.look(watch.PATIENCE_S + 1.0) == {"run-waits": "ticket"}
    bench.stand.conductor.waits_for = ""
    assert bench.look() == {}


def test_a_run_that_failed_is_told(bench):
    run = bench.stand.start(CHARGE)
    bench.look()
    run.failed = "it reached its at_most"
    bench.stand.conductor.run = None
    assert bench.look() == {"run-failed": "ticket"}


def test_the_cells_of_a_run_that_fade_are_told_from_its_ended_steps(bench):
    run = bench.stand.start(CHARGE)
    observer = Observer(bench.stand.station, bench.stand.alarms, LIMITS, Fades(LIMITS.fade))
    total_Ah = 0.0
    for cycle in range(1, 14):
        total_Ah += 2.5 * 0.99**cycle
        step = {"step": 2, "cycle": cycle, "kind": "discharge", "failed": False}
        run.ended_steps.append(step | {"discharge_Ah": total_Ah})
    observer.look()
    bench.stand.alarms.drain()
    (alarm,) = bench.stand.alarms.book.open
    assert (alarm.cause, alarm.cells) == ("capacity-fade", ("c1",))


def test_what_a_run_had_discharged_is_forgotten_with_the_run_and_its_cells_capacities_are_not(
    bench,
):
    fades = Fades(LIMITS.fade)
    observer = Observer(bench.stand.station, bench.stand.alarms, LIMITS, fades)
    for cycle in range(1, 6):
        run = bench.stand.start(CHARGE)
        for kind, total_Ah in (("charge", 0.0), ("discharge", 2.5)):
            step = {"step": 2, "cycle": cycle, "kind": kind, "failed": False}
            run.ended_steps.append(step | {"discharge_Ah": total_Ah})
        observer.look()
        assert set(fades._discharged_Ah) == {run.info.id}
        bench.stand.conductor.run = None
        observer.look()
        assert not fades._discharged_Ah
    (series,) = fades._series.values()
    assert [capacity_Ah for _, capacity_Ah in series._points] == [2.5] * 5
