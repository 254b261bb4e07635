"""The second family of cyclers under the daemon's own parts, and once under the whole daemon.

Most of it needs no processes: control's bus threads, guard, engine and journal are assembled here
as the supervisor does it, on real sockets. What is asserted stands in the bench's ledger.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daq import sentinel
from daq.bus.heartbeat import Heartbeat
from daq.clock import LabClock
from daq.control.alarms import Alarms
from daq.control.assembly import Bench, Surroundings, assemble
from daq.control.client import new_command
from daq.control.instrument import Instrument
from daq.control.start import Starter
from daq.control.station import Station
from daq.errors import InstrumentError
from daq.journal import Journal, JournalReader
from daq.labreader import load_lab
from daq.model import EventKind
from simulators.client import RunningBench, running_bench
from tests.system.daemon import (
    CHARGE,
    bench_file,
    lab_file,
    on,
    running_daemon,
    wait_until,
    write_lab,
)

FAMILY = "ea_psb"
FACTOR = 1500.0
LONG_S = 100.0
FORMATION = """
protocol: form
version: 1.0.0
record: {every: 60 s, voltage: 5 mV}
safety: {voltage: [2.4 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 170 %}
steps:
  - repeat: 2
    steps:
      - charge: C/2
        until: voltage >= 4.2 V
        at_most: 4 h
      - hold: 4.2 V
        until: current <= C/10
        at_most: 2 h
      - rest: 10 min
      - discharge: C/2
        until: voltage <= 2.8 V
        at_most: 4 h
      - rest: 10 min
"""


class _Nobody:
    """Does not mind when a link fails."""

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None: ...

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None: ...


class Control:
    """Control's parts, running."""

    def __init__(self, parts: Bench, starter: Starter) -> None:
        self.parts = parts
        self.starter = starter
        (self.station,) = parts.stations.values()
        self.instrument = parts.instruments["aps1"]

    def run(self, text: str) -> None:
        """Start a program."""
        command = new_command("start", station="A1", text=text, name="t.yaml", cell="c1")
        run = self.starter.make(self.station, command)
        self.station.home.call(lambda: self.starter.begin(self.station, run)).result(LONG_S)

    def charge(self) -> None:
        """Start the charge and wait until a reading shows its current."""
        self.run(CHARGE)
        wait_until(self._flows, "current flows", LONG_S)

    def _flows(self) -> bool:
        sample = self.station.last
        return sample is not None and sample.reading.current_A > 2.0


@contextmanager
def control(folder: Path, bench: RunningBench, factor: float = 1.0) -> Iterator[Control]:
    """Assemble and run; OFF at the end."""
    lab = load_lab(write_lab(folder, lab_file(bench, factor, dialect=FAMILY)))
    journal, clock = Journal(lab.data / "journal.sqlite"), LabClock(factor)
    alarms, heartbeat = Alarms(journal, clock.now), Heartbeat(lab.data / "heartbeat")
    given = Surroundings(
        clock, journal, alarms, heartbeat, _Nobody(), {}, lambda _: "", lambda _: None
    )
    parts = assemble(lab, given)
    for bus in parts.buses.values():
        bus.start()
    made = Control(parts, Starter(lab, parts, clock, journal))
    try:
        wait_until(lambda: all(item.online for item in parts.instruments.values()), "all online")
        wait_until(lambda: _sees_everything(made.station), "a reading of everything")
        yield made
    finally:
        home = made.station.home
        home.call(lambda: made.station.conductor.stop("over", made.station.last)).result(LONG_S)
        for bus in parts.buses.values():
            bus.finish()
        for bus in parts.buses.values():
            bus.join(LONG_S)
        for instrument in parts.instruments.values():
            instrument.close()
        journal.close()


def _sees_everything(station: Station) -> bool:
    return station.last is not None and station.climate.cell_degC == station.climate.cell_degC


def test_a_fresh_cell_is_formed(tmp_path: Path) -> None:
    """What its integrals are worth is not asked: at 1500 times, a step's 50 ms a message are
    minutes of the cell's time."""
    content = bench_file(factor=FACTOR, soc=0.02, dialect=FAMILY)
    content["cells"]["cell-1"]["formed"] = False
    with running_bench(content) as bench:
        with control(tmp_path, bench, FACTOR) as running:
            running.run(FORMATION)
            station = running.station
            wait_until(lambda: station.latch or not station.conductor.run, "the end", LONG_S)
            assert station.latch is None
        truth = bench.ledger("cell-1")
    with JournalReader(tmp_path / "data" / "journal.sqlite") as journal:
        (ended,) = journal.events(kinds=frozenset({EventKind.RUN_ENDED}))
    assert ended.data["outcome"] == "completed"
    assert ended.data["discharge_Ah"] > 2.0
    assert truth["charged_Ah"] > 1.05 * truth["discharged_Ah"]  # the SEI keeps its share
    assert truth["peak_V"] < 4.25
    assert not truth["on"]


@pytest.mark.fault("F17", family=FAMILY)
def test_a_hand_at_the_panel_trips_the_station(tmp_path: Path) -> None:
    with (
        running_bench(bench_file(dialect=FAMILY)) as bench,
        control(tmp_path, bench) as running,
    ):
        running.charge()
        bench.ask("touch", instrument="aps1", panel_lock=True)
        wait_until(lambda: running.station.latch, "a trip", LONG_S)
        assert "remote control" in str(running.station.latch)
        assert not on(bench)


def test_the_sentinels_recipe_switches_it_off_with_its_lock_and_its_pauses(tmp_path: Path) -> None:
    with running_bench(bench_file(dialect=FAMILY)) as bench:
        with control(tmp_path, bench) as running:
            running.charge()
            recipe = running.instrument.recipe(lambda name: [])
            assert on(bench)
            assert recipe["gap_s"] == 0.05
            assert sentinel.switch_off(recipe) == ""
            assert not on(bench)


@pytest.mark.fault("F14", family=FAMILY)
def test_a_setpoint_that_the_supply_ignores_trips_before_anything_is_energised(
    tmp_path: Path,
) -> None:
    with running_daemon(tmp_path, dialect=FAMILY) as (bench, daemon):
        bench.fault("aps1", "ignored_set")
        daemon.run(CHARGE)
        assert daemon.wait_for(mode="tripped")["trip"]["check"] == "C2"
        assert bench.ledger("cell-1")["edges"] == []
