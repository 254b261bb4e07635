"""One run with everything in it, made once: the true step machine on a simulated cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from daq.figures.scopes import Rows
from daq.journal import Journal
from daq.report.data import RunData, load
from simulators.cell import Cell
from simulators.clock import ManualClock
from simulators.rig import Position
from tests.virtual import VirtualBench, closed_file

EVERYTHING = """
protocol: everything
version: 1.0.0
record: {every: 60 s, voltage: 5 mV}
safety: {voltage: [2.4 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
  - rest: 10 min
  - repeat: 2
    steps:
      - cccv: {charge: C/2, voltage: 4.2 V}
        until: current <= C/20
        at_most: 5 h
      - rest: 30 min
      - discharge: C/2
        until: voltage <= 2.8 V
        at_most: 3 h
      - rest: 30 min
  - charge: C/2
    until: charge >= 50 %
    at_most: 2 h
  - rest: 2 h
  - eis: {from: 10 kHz, to: 100 mHz, per_decade: 10, amplitude: 5 mV}
  - discharge: 1C
    until: time >= 31 s
    at_most: 1 min
    record: {every: 20 ms}
  - rest: 1 h
    record: {every: 20 s, voltage: 0.2 mV}
  - charge: 1C
    until: time >= 12 s
    at_most: 1 min
    record: {every: 20 ms}
"""


@dataclass(frozen=True)
class Made:
    """A run, what is known of it from outside, and its closed file."""

    bench: VirtualBench
    file: Path
    data: RunData

    @property
    def rows(self) -> Rows:
        return self.data.rows


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """The run of `EVERYTHING` on a cell that was not formed."""
    folder = tmp_path_factory.mktemp("figures")
    clock = ManualClock()
    position = Position(Cell("nmc", 2.5, 0.05, formed=False), clock)
    journal = Journal(folder / "journal.sqlite")
    bench = VirtualBench(journal, position, clock, EVERYTHING, quick_s=40.0)
    bench.run()
    journal.close()
    file = closed_file(folder / "journal.sqlite", bench.info.id, folder)
    yield Made(bench, file, load(file))
