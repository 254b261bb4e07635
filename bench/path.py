"""(b) One channel as fast as it goes, against the loop that a user would write.

Ours: bus thread, line, driver, guard, engine and journal, of a run that records every sample, as
the daemon assembles them; only the grid is taken away. Theirs: ask with pyvisa, parse, append
every 100 rows to an HDF5 file. Both talk to supplies of the same simulated bench, which answer at
once, and take turns, so that both see the same machine.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import pyvisa

from bench import files
from bench.window import Figures
from daq.bus.heartbeat import Heartbeat
from daq.clock import LabClock
from daq.control.alarms import Alarms
from daq.control.assembly import Surroundings, assemble
from daq.control.client import new_command
from daq.control.instrument import Instrument
from daq.control.start import Starter
from daq.control.station import Station
from daq.control.supervisor import SWITCH_INTERVAL_S
from daq.errors import DaqError, InstrumentError
from daq.journal import Journal
from daq.labreader import load_lab
from simulators.client import running_bench

OURS, THEIRS = files.names(2)
ROWS = 100
AT_ONCE_S = 1e-6


def run(turns: int, turn_s: float) -> Figures:
    """So many turns each."""
    with (
        tempfile.TemporaryDirectory(prefix="daq-bench-") as name,
        running_bench(files.bench(2, acquisition=0)) as bench,
    ):
        folder = Path(name)
        lab = files.write(folder, {OURS: bench.endpoint(OURS)}, broker="none")
        with (
            _path(lab) as path,
            _plain_loop(bench.endpoint(THEIRS), folder / "plain.h5") as plain_loop,
        ):
            ours, theirs = path.turn, plain_loop
            _ = ours(turn_s), theirs(turn_s)  # warm up
            pairs = [(ours(turn_s), theirs(turn_s)) for _ in range(turns)]
    return {
        "turns": turns,
        "seconds_a_turn": turn_s,
        "ratio": median(mine.rate_hz / other.rate_hz for mine, other in pairs),
        "ratio_lowest": min(mine.rate_hz / other.rate_hz for mine, other in pairs),
        "samples_per_s": median(mine.rate_hz for mine, _ in pairs),
        "plain_loop_samples_per_s": median(other.rate_hz for _, other in pairs),
        "cpu_us_per_sample": median(mine.cpu_us for mine, _ in pairs),
        "plain_loop_cpu_us_per_sample": median(other.cpu_us for _, other in pairs),
    }


@dataclass(frozen=True, slots=True)
class Turn:
    """What came out of one turn: samples a second, and CPU time a sample."""

    rate_hz: float
    cpu_us: float


def _timed(count: Callable[[], int]) -> Turn:
    """Time something that takes a number of samples."""
    began, cpu_began = time.perf_counter(), time.process_time()
    samples = count()
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_began
    return Turn(samples / took_s, 1e6 * cpu_s / samples)


class _Path:
    """Our side: a station whose run is going on, and which can be held."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._free = threading.Event()

    def turn(self, seconds: float) -> Turn:
        """Let it run for so long."""

        def count() -> int:
            before = self._station.home.statistics.ticks
            self._free.set()
            time.sleep(seconds)
            self.hold()
            return self._station.home.statistics.ticks - before

        return _timed(count)

    def hold(self) -> None:
        """Keep the bus thread busy with waiting; returns when it does."""
        self._free.clear()
        held = threading.Event()
        self._station.home.post(lambda: (held.set(), self._free.wait()))
        held.wait()

    def release(self) -> None:
        """Let it run, for good."""
        self._free.set()


@contextmanager
def _path(lab_file: Path) -> Iterator[_Path]:
    """Assemble control's own parts, start a run, hold it; switch off at the end."""
    lab = load_lab(lab_file)
    journal, clock = Journal(lab.data / "journal.sqlite"), LabClock()
    heartbeat = Heartbeat(lab.data / "heartbeat")
    alarms = Alarms(journal, clock.now)
    given = Surroundings(
        clock, journal, alarms, heartbeat, _Strict(), {}, lambda _: "", lambda _: None
    )
    parts = assemble(lab, given)
    (station,) = parts.stations.values()
    (instrument,) = parts.instruments.values()
    home = station.home
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    home.start()
    try:
        _wait(lambda: instrument.online)
        command = new_command("start", protocol="hold-still.yaml", cell=files.cell(OURS))
        starter = Starter(lab, parts, clock, journal)
        run = starter.make(station, command)
        home.call(lambda: starter.begin(station, run)).result(10.0)
        _wait(lambda: station.output.on)
        home.period_s = AT_ONCE_S
        path = _Path(station)
        path.hold()
        yield path
        path.release()
        _check(station)
    finally:
        home.call(lambda: station.conductor.stop("over", station.last)).result(10.0)
        home.finish()
        home.join(5.0)
        instrument.close()
        journal.close()


def _check(station: Station) -> None:
    if station.latch or station.conductor.run is None:
        raise DaqError(f"the run did not go on: {station.latch}")


class _Strict:
    """A link that fails would be measured as a fast one."""

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        raise error

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None: ...


def _wait(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 10.0
    while not true():
        if time.monotonic() > deadline:
            raise DaqError("the station did not come up")
        time.sleep(0.02)


@contextmanager
def _plain_loop(address: tuple[str, int], path: Path) -> Iterator[Callable[[float], Turn]]:
    """Their side: what a careful user writes in ten lines."""
    supply: Any = pyvisa.ResourceManager("@py").open_resource(
        "TCPIP::{}::{}::SOCKET".format(*address), read_termination="\n", write_termination="\n"
    )
    with h5py.File(path, "w") as file:
        table = file.create_dataset("data", (0, 3), "f8", maxshape=(None, 3), chunks=(1000, 3))

        def loop(seconds: float) -> int:
            rows: list[tuple[float, float, float]] = []
            count, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                volts, amps = supply.query("MEAS:VOLT?;:FETC:CURR?").split(";")
                rows.append((time.time(), float(volts), float(amps)))
                count += 1
                if len(rows) == ROWS:
                    table.resize(len(table) + ROWS, axis=0)
                    table[-ROWS:] = rows
                    rows.clear()
            return count

        yield lambda seconds: _timed(lambda: loop(seconds))
    supply.close()
