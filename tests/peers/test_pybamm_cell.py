"""The daemon charges and discharges a cell of PyBaMM, and PyBaMM's own experiment does the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from daq.figures import scopes
from daq.model import EventKind
from daq.report.data import load
from simulators.client import running_bench
from tests.peers.environments import Peer
from tests.system.daemon import Daemon, bench_file, lab_file, wait_until, write_lab

FACTOR = 60.0  # a sample every 3 s on the bench: at 1C, 0.08 % of the capacity
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


def ours(python: Path, model: str, folder: Path) -> list[dict[str, Any]]:
    """What the daemon made of the cell, step by step."""
    config = bench_file(factor=FACTOR)
    cell = {"model": model, "parameters": "Chen2020", "capacity": CAPACITY_AH, "soc": SOC}
    config["cells"] = {"cell-1": cell | {"temperature": 25.0}}
    with running_bench(config, python=python) as bench:
        daemon = Daemon(write_lab(folder, lab_file(bench, FACTOR)))
        daemon.start()
        try:
            run = daemon.run(PROTOCOL)
            wait_until(lambda: daemon.events(EventKind.RUN_ENDED), daemon.log, 300)
            path = daemon.data / "runs" / f"{run}.h5"
            wait_until(path.exists, daemon.log)
        finally:
            daemon.stop()
    data = load(path)
    reasons = [str(event.data["reason"]) for event in data.of_kind(EventKind.STEP_ENDED)]
    steps = scopes.step_figures(data.rows, data.unseen)
    assert data.facts["outcome"] == "completed", data.facts["reason"]
    return [
        {
            "net_Ah": step.whole.moved.net_Ah,
            "ends_by": reason.partition(" ")[0] if "=" in reason else "time",
            "end_V": step.whole.end_V,
            "duration_s": step.whole.duration_s,
        }
        for step, reason in zip(steps, reasons, strict=True)
    ]


@pytest.mark.parametrize(("model", "theirs"), [("spm", "SPM"), ("spme", "SPMe")])
def test_the_daemon_and_the_experiment_of_pybamm_agree_step_by_step(
    peer: Callable[[str], Peer], tmp_path: Path, model: str, theirs: str
) -> None:
    environment = peer("pybamm")
    expected = environment.json(EXPERIMENT, theirs, SOC, CAPACITY_AH)
    found = ours(environment.python, model, tmp_path)
    assert [step["ends_by"] for step in found] == [step["ends_by"] for step in expected]
    assert [step["ends_by"] for step in found] == ["voltage", "current", "time", "voltage"]
    charge, held, rest, discharge = zip(found, expected, strict=True)
    for here, there in (charge, discharge):
        assert here["net_Ah"] == pytest.approx(there["net_Ah"], rel=SAME)
    # A sample late at 4.2 V is charge that the hold has less of: together they are the same.
    together = [charge[side]["net_Ah"] + held[side]["net_Ah"] for side in (0, 1)]
    assert together[0] == pytest.approx(together[1], rel=SAME)
    assert rest[0]["net_Ah"] == pytest.approx(0.0, abs=1e-3)
    assert rest[0]["end_V"] == pytest.approx(rest[1]["end_V"], abs=2e-3)
    efficiencies = [-discharge[side]["net_Ah"] / together[side] for side in (0, 1)]
    assert efficiencies[0] == pytest.approx(efficiencies[1], rel=SAME)


MODEL = """
import json, sys
sys.path.insert(0, sys.argv[1])
from math import inf
from simulators.clock import ManualClock
from simulators.pybamm_cell import PybammCell
from simulators.rig import Position

cell = PybammCell(sys.argv[2], "Chen2020", 2.5, 0.5)
size, rest_V = cell.capacity_Ah, cell.open_circuit_V
pulse_ohm = (cell.voltage_V(2.5) - cell.voltage_V(0.0)) / 2.5
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
    root = Path(__file__).parents[2]
    seen = peer("pybamm").json(MODEL, root, model)
    assert seen["size_Ah"] == pytest.approx(2.577, rel=1e-3)  # 5.153 Ah of the set's nominal 5 Ah
    assert seen["again_V"] == pytest.approx(seen["rest_V"], abs=1e-6)
    assert seen["last"][0] == pytest.approx(3.9, abs=1e-5)
    assert seen["last"][2] == "cv"
    assert seen["above_V"] < 3.9 + 1e-5
    assert seen["most_A"] == 2.5
    assert 3.6 < seen["charged_Wh"] / seen["charged_Ah"] < 3.9
    # The impedance without any lag is the step of the voltage; diffusion comes on top.
    (no_lag, _), *_, (slow, capacitive) = seen["spectrum"]
    assert no_lag == pytest.approx(seen["pulse_ohm"], rel=0.1)  # that pulse is beyond linear
    assert slow > no_lag and capacitive < 0
    assert "Chen2020" in seen["refused"]
