"""What `daq export --to TOOL` writes is read by that tool, and gives the figures of the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daq.recorder.export import export, export_files
from tests import runs
from tests.peers.environments import Peer

CHARGED = pytest.approx([runs.CHARGE_AH] * 3, rel=1e-6)
DISCHARGED_AH = [runs.CHARGE_AH * part for part in runs.EFFICIENCIES]

PYPROBE = """
import json, sys
import pyprobe
cell = pyprobe.Cell(info={"Name": "NMC-0042"})
cell.import_data("formation", sys.argv[1])
procedure = cell.procedure["formation"]
experiment = procedure.experiment("formation-nmc-graphite")
cycles = [experiment.cycle(number) for number in (0, 1, 2)]
print(json.dumps({
    "charged": [cycle.charge().capacity for cycle in cycles],
    "discharged": [cycle.discharge().capacity for cycle in cycles],
    "steps": experiment.step_descriptions,
    "voltage": procedure.get("Voltage [V]").tolist(),
    "date": str(procedure.data["Date"][0]),
    "columns": procedure.data.columns,
}))
"""


def test_pyprobe_finds_the_cycles_and_their_capacities(
    peer: Callable[[str], Peer], closed: Path, tmp_path: Path
) -> None:
    path, readme = export_files(closed, "", "pyprobe", tmp_path)
    assert readme == path.with_name("README.yaml")  # found by PyProBE itself
    found = peer("pyprobe").json(PYPROBE, path)
    # PyProBE counts from a step's first record: by then a sixtieth of its charge has moved.
    assert found["discharged"] == pytest.approx([59 / 60 * one for one in DISCHARGED_AH])
    assert found["charged"] == pytest.approx([runs.CHARGE_AH * (1 - 0.9 / 60)] * 3)
    assert found["steps"]["Description"] == [text for _, _, text in runs.STEPS]
    assert len(found["voltage"]) == 60 * 14
    assert max(found["voltage"]) == 4.2
    assert found["date"].startswith("2026-09-21 14:13:20")
    assert "Temperature [C]" in found["columns"]


CELLPY = """
import json, logging, sys
logging.disable(logging.CRITICAL)
import cellpy
path, how = sys.argv[1:]
cell = cellpy.get(path, instrument="custom", instrument_file=how, mass=1.0, nominal_capacity=2.0)
summary, raw = cell.data.summary.reset_index(), cell.data.raw
print(json.dumps({
    "cycles": summary["cycle_index"].tolist(),
    "charged": summary["charge_capacity"].tolist(),
    "discharged": summary["discharge_capacity"].tolist(),
    "steps": sorted(set(cell.data.steps["type"])),
    "rows": len(raw),
    "voltage": [raw["voltage"].min(), raw["voltage"].max()],
}))
"""


def test_cellpy_finds_the_capacity_of_each_cycle_and_not_their_sum(
    peer: Callable[[str], Peer], closed: Path, tmp_path: Path
) -> None:
    path, how = export_files(closed, "", "cellpy", tmp_path)
    found = peer("cellpy").json(CELLPY, path, how)
    assert found["discharged"][-3:] == pytest.approx(DISCHARGED_AH)
    assert found["charged"][-3:] == CHARGED
    assert found["cycles"][-3:] == [1, 2, 3]
    assert {"charge", "discharge"} <= set(found["steps"])
    assert found["rows"] == 60 * 14
    assert found["voltage"] == [2.5, 4.2]


IMPEDANCE = """
import json, sys
from impedance import preprocessing
from impedance.models.circuits import CustomCircuit
f, z = preprocessing.readCSV(sys.argv[1])
circuit = CustomCircuit("R0-p(R1,C1)-W1", initial_guess=[0.01, 0.01, 1, 0.001])
circuit.fit(f, z)
print(json.dumps({"f": f.tolist(), "imag": z.imag.tolist(), "fit": circuit.parameters_.tolist()}))
"""


def test_impedance_py_reads_a_spectrum_and_fits_the_resistances_it_was_made_of(
    peer: Callable[[str], Peer], closed: Path, tmp_path: Path
) -> None:
    path = export(closed, "", "impedance", tmp_path)
    assert path.name == "A1-20260921-001.14.csv"  # the fourteenth step
    found = peer("impedance").json(IMPEDANCE, path)
    assert found["f"][0] == 1e4
    assert found["f"][-1] == pytest.approx(1e-2)
    assert max(found["imag"]) < 0  # a capacitive arc, measured as negative
    assert found["fit"][:2] == pytest.approx([0.02, 0.03], rel=0.05)  # see tests/runs.py
