"""The control loop of a lab in this very process: buses, guards, runs and drivers, on a real bench.

What a daemon has besides (sentinel, journal on disk, recorder, commands) is not here: these tests
are about the wire, and a whole daemon costs seconds to start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from daq.bus.heartbeat import Heartbeat
from daq.clock import LabClock, monotonic
from daq.control.alarms import Alarms
from daq.control.assembly import Surroundings, assemble
from daq.control.instrument import Instrument
from daq.control.run import Run
from daq.errors import InstrumentError
from daq.labreader import load_lab
from daq.model import RunInfo
from daq.protocol.compile import compile_protocol
from daq.protocol.engine import Engine
from daq.protocol.source import parse_protocol
from simulators.client import RunningBench, running_bench
from tests.system.daemon import CHARGE, bench_file, lab_file, on, write_lab
from tests.unit.fakes import MemoryJournal

PATIENCE_S = 40.0


class Control:
    """A lab's bench, assembled and running; station A1 is the one that is looked at."""

    def __init__(self, folder: Path, bench: RunningBench, lab: Path) -> None:
        self.bench = bench
        self.lab = load_lab(lab)
        self.journal = MemoryJournal()
        self.faults: list[tuple[float, str, InstrumentError]] = []
        self.connections: list[tuple[float, str]] = []
        clock = LabClock()
        self.alarms = Alarms(self.journal, lambda: clock.utc(monotonic()))  # type: ignore[arg-type]
        self.parts = assemble(
            self.lab,
            Surroundings(
                clock=clock,
                journal=self.journal,  # type: ignore[arg-type]
                alarms=self.alarms,
                heartbeat=Heartbeat(folder / "heartbeat"),
                listener=self,
                identities={},
                may_energise=self._why_not,
                connected=lambda found: self.connections.append((time.monotonic(), found.name)),
            ),
        )
        self.station = self.parts.stations["A1"]
        self.began_s = time.monotonic()
        for bus in self.parts.buses.values():
            bus.start()

    def _why_not(self, name: str) -> str:
        latch = self.parts.stations[name].latch
        return f"tripped: {latch.message}" if latch else ""

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        self.faults.append((time.monotonic(), instrument.name, error))

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        return

    def until(self, true: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, f"{what}; {self.station.latch}, {self.faults[-3:]}"
            time.sleep(0.01)

    def charge(self) -> None:
        """Run a charge at 1C, and wait until it flows."""
        self.until(lambda: self.station.climate.cell_degC > 0, "the thermometer answers")
        self.until(lambda: self.station.last, "the cycler answers")
        tiers = [("station A1", self.station.wiring.limits)]
        program = compile_protocol(parse_protocol(CHARGE, "t.yaml"), self.lab.cell("c1"), tiers)
        info = RunInfo("run", "A1", "c1", "charge", time.time(), {})
        run = Run(info, Engine(program), self.journal)  # type: ignore[arg-type]
        self.station.home.call(lambda: self.station.conductor.begin(run)).result(PATIENCE_S)
        self.until(lambda: self.flows, "current flows")

    @property
    def flows(self) -> bool:
        last = self.station.last
        return last is not None and last.reading.current_A > 2.0

    @property
    def edges(self) -> list[dict[str, float]]:
        """Every switching of the output, as the cell saw it."""
        return list(self.bench.ledger("cell-1")["edges"])

    def end(self) -> None:
        self.bench.clear_faults()
        self.until(lambda: not self.station.output.owed, "OFF is verified")
        for bus in self.parts.buses.values():
            bus.call(lambda: None, urgent=True)
        self.station.home.call(self.station.output.off, urgent=True).result(PATIENCE_S)
        for bus in self.parts.buses.values():
            bus.finish()
        for bus in self.parts.buses.values():
            assert bus.join(PATIENCE_S)
        for instrument in self.parts.instruments.values():
            instrument.close()


@contextmanager
def charging(
    folder: Path, family: str, *, stations: int = 1, period: str = ""
) -> Iterator[Control]:
    """A bench of a family of cyclers, A1 with a run that charges; everything OFF at the end."""
    with running_bench(bench_file(stations, dialect=family)) as bench:
        document = lab_file(bench, dialect=family)
        if period:
            for one in document["instruments"].values():
                one["period"] = period
        control = Control(folder, bench, write_lab(folder, document))
        try:
            control.charge()
            assert on(bench), control.station.latch
            yield control
        finally:
            control.end()
