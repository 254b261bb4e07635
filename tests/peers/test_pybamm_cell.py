"""Our step machine drives a cell of PyBaMM as PyBaMM's own experiment does; so does the daemon."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from daq.figures import scopes
from daq.journal import Journal, JournalReader
from daq.model import EventKind
from daq.report.data import load
from simulators.cell import Cell
from simulators.client import running_bench
from simulators.ledger import Ledger
from tests.peers.environments import ROOT, Peer
from tests.system.daemon import SHORT, Daemon, bench_file, lab_file, wait_until, write_lab
from tests.virtual import VirtualBench

FACTOR = 60.0
SOC = 0.4
CAPACITY_AH = 2.5
SAME = 5e-3

PROTOCOL = """
protocol: against-pybamm
version: 1.0.0
record: {every: 30 s, voltage: 5 mV}
safety: {voltage: [2.4 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
  - charge: 1C
    until: voltage >= 4.2 V
    at_most: 2 h
  - hold: 4.2 V
    until: current <= C/10
    at_most: 2 h
  - rest: 10 min
  - discharge: 1C
    until: voltage <= 3.2 V
    at_most: 2 h
"""

EXPERIMENT = """
import json, sys
import pybamm

model, soc, capacity = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
values = pybamm.ParameterValues("Chen2020")
parallel = "Number of electrodes connected in parallel to make a cell"
values[parallel] *= capacity / values["Nominal cell capacity [A.h]"]
values["Nominal cell capacity [A.h]"] = capacity
experiment = pybamm.Experiment([(
    "Charge at 1C until 4.2 V",
    "Hold at 4.2 V until C/10",
    "Rest for 10 minutes",
    "Discharge at 1C until 3.2 V",
)], period="5 seconds")
simulation = pybamm.Simulation(
    getattr(pybamm.lithium_ion, model)(), parameter_values=values, experiment=experiment
)
solution = simulation.solve(initial_soc=soc)
steps = []
for step in solution.cycles[0].steps:
    out = step["Discharge capacity [A.h]"].entries
    ends = "voltage" if "oltage" in step.termination else "current"
    steps.append({
        "net_Ah": float(out[0] - out[-1]),
        "ends_by": "time" if step.termination == "final time" else ends,
        "end_V": float(step["Voltage [V]"].entries[-1]),
        "duration_s": float(step.t[-1] - step.t[0]),
    })
print(json.dumps(steps))
"""


BENCH = """
import json, sys
sys.path.insert(0, sys.argv[1])
from simulators.clock import ManualClock
from simulators.pybamm_cell import PybammCell
from simulators.rig import Position

clock = ManualClock()
cell = PybammCell(sys.argv[2], "Chen2020", float(sys.argv[3]), float(sys.argv[4]))
position = Position(cell, clock)
for line in sys.stdin:
    what, *numbers = json.loads(line)
    if what == "drive":
        position.drive(*numbers)
    elif what == "open":
        position.open()
    else:
        clock.advance(*numbers)
    position.advance()
    print(json.dumps([position.voltage_V, position.current_A, position.temperature_degC]),
          flush=True)
"""


class RemotePosition:
    """The leads of a cell in the peer's process, with the clock of that bench."""

    factor = 1.0
    ledger = Ledger()  # the peer keeps its own; this bench asks for none

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._now = 0.0
        self.cell = Cell("nmc", CAPACITY_AH)  # for what the bench notes of elements; not driven
        self.advance(0.0)

    def _say(self, what: str, *numbers: float) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([what, *numbers]) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        self.voltage_V, self.current_A, self.temperature_degC = answer

    def now(self) -> float:
        return self._now

    def real(self) -> float:
        return self._now

    def advance(self, seconds: float = 0.0) -> None:
        """As clock: let time pass. As position: everything is up to date already."""
        if seconds or not self._now:
            self._now += seconds
            self._say("advance", seconds)

    def drive(self, voltage_V: float, charge_A: float, discharge_A: float) -> None:
        self._say("drive", voltage_V, charge_A, discharge_A)

    def open(self) -> None:
        self._say("open")


@contextmanager
def remote(python: Path, model: str) -> Iterator[RemotePosition]:
    """A cell of PyBaMM in a process of the peer's."""
    words = [python, "-I", "-W", "ignore", "-c", BENCH, ROOT, model, CAPACITY_AH, SOC]
    with subprocess.Popen(
        [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield RemotePosition(process)


def ours(python: Path, model: str, folder: Path) -> list[dict[str, Any]]:
    """What our step machine made of the cell, step by step."""
    journal = Journal(folder / "journal.sqlite")
    with remote(python, model) as position:
        bench = VirtualBench(journal, position, position, PROTOCOL, every_s=2.0, quick_s=40.0)
        bench.run()
    journal.close()
    with JournalReader(folder / "journal.sqlite") as reader:
        data = load(reader, bench.info.id)
    assert data.facts["outcome"] == "completed", data.facts["reason"]
    steps = scopes.step_figures(data.rows, data.unseen)
    return [
        {
            "net_Ah": step.whole.moved.net_Ah,
            "ends_by": reason.partition(" ")[0] if "=" in reason else "time",
            "end_V": step.whole.end_V,
            "duration_s": step.whole.duration_s,
        }
        for step, reason in zip(steps, bench.reasons, strict=True)
    ]


@pytest.mark.parametrize(("model", "theirs"), [("spm", "SPM"), ("spme", "SPMe")])
def test_our_step_machine_and_the_experiment_of_pybamm_agree_step_by_step(
    peer: Callable[[str], Peer], tmp_path: Path, model: str, theirs: str
) -> None:
    environment = peer("pybamm")
    expected = environment.json(EXPERIMENT, theirs, SOC, CAPACITY_AH)
    found = ours(environment.python, model, tmp_path)
    assert [step["ends_by"] for step in found] == [step["ends_by"] for step in expected]
    assert [step["ends_by"] for step in found] == ["voltage", "current", "time", "voltage"]
    for here, there in zip(found, expected, strict=True):
        assert here["net_Ah"] == pytest.approx(there["net_Ah"], rel=SAME, abs=1e-4)
        assert here["duration_s"] == pytest.approx(there["duration_s"], rel=SAME, abs=6.0)
        assert here["end_V"] == pytest.approx(there["end_V"], abs=5e-3)


def test_the_daemon_charges_and_discharges_a_cell_of_pybamm_over_the_wire(
    peer: Callable[[str], Peer], tmp_path: Path
) -> None:
    config = bench_file(factor=FACTOR)
    cell = {"model": "spm", "parameters": "Chen2020", "capacity": CAPACITY_AH, "soc": SOC}
    config["cells"] = {"cell-1": cell | {"temperature": 25.0}}
    with running_bench(config, python=peer("pybamm").python) as bench:
        daemon = Daemon(write_lab(tmp_path, lab_file(bench, FACTOR)))
        daemon.start()
        try:
            before = bench.ledger("cell-1")
            daemon.run(SHORT)
            (end,) = wait_until(lambda: daemon.events(EventKind.RUN_ENDED), daemon.log, 300)
            after = bench.ledger("cell-1")
        finally:
            daemon.stop()
    assert end.data["outcome"] == "completed", end.data["reason"]
    for here, there in (("charge_Ah", "charged_Ah"), ("discharge_Ah", "discharged_Ah")):
        assert end.data[here] == pytest.approx(after[there] - before[there], rel=0.02)
        assert end.data[here] > 0.4
    assert after["on"] is False


MODEL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from math import inf
from simulators.clock import ManualClock
from simulators.pybamm_cell import PybammCell
from simulators.rig import Position

cell = PybammCell(sys.argv[2], "Chen2020", 2.5, 0.5)
size, rest_V = cell.capacity_Ah, cell.open_circuit_V
pulse_ohm = (cell.voltage_V(1e-3) - cell.voltage_V(0.0)) / 1e-3
spectrum = [cell.impedance(f) for f in (inf, 1e3, 1.0, 1e-2)]
clock = ManualClock()
position = Position(cell, clock)
position.drive(3.9, 2.5, 2.5)
seen = []
for _ in range(1200):
    clock.advance(1.0)
    position.advance()
    seen.append((position.voltage_V, position.current_A, position.regulation))
book = position.ledger
cell.soc = 0.5
again_V = cell.open_circuit_V
refused = ""
try:
    PybammCell("spm", "Nobody2020", 2.5)
except ValueError as error:
    refused = str(error)
print(json.dumps({
    "size_Ah": size, "rest_V": rest_V, "again_V": again_V, "pulse_ohm": pulse_ohm,
    "spectrum": [(z.real, z.imag) for z in spectrum], "last": seen[-1],
    "above_V": max(v for v, _, _ in seen), "most_A": max(i for _, i, _ in seen),
    "charged_Ah": book.charged_Ah, "charged_Wh": book.charged_Wh, "refused": refused,
}))
"""


@pytest.mark.parametrize("model", ["spm", "spme"])
def test_a_cell_of_pybamm_is_regulated_and_booked_like_any_other(
    peer: Callable[[str], Peer], model: str
) -> None:
    seen = peer("pybamm").json(MODEL, ROOT, model)
    assert seen["size_Ah"] == pytest.approx(2.577, rel=1e-3)  # 5.153 Ah of the set's nominal 5 Ah
    assert seen["again_V"] == pytest.approx(seen["rest_V"], abs=1e-6)
    assert seen["last"][0] == pytest.approx(3.9, abs=1e-5)
    assert seen["last"][2] == "cv"
    assert seen["above_V"] < 3.9 + 1e-5
    assert seen["most_A"] == 2.5
    assert 3.6 < seen["charged_Wh"] / seen["charged_Ah"] < 3.9
    # The impedance without any lag is the step of the voltage; diffusion comes on top.
    (no_lag, _), *_, (slow, capacitive) = seen["spectrum"]
    assert no_lag == pytest.approx(seen["pulse_ohm"], rel=1e-3)
    assert slow > no_lag and capacitive < 0
    assert "Chen2020" in seen["refused"]
