"""xarray opens what `daq export --to netcdf` writes, by both of its NetCDF-4 libraries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from daq.recorder.export import export
from tests import runs
from tests.peers.environments import Peer

READ = """
import json, sys
import xarray
path, engine = sys.argv[1:]
tree = xarray.open_datatree(path, engine=engine)
cycler, chamber, eis = tree["cycler"], tree["chamber"], tree["eis"]
print(json.dumps({
    "groups": sorted(tree.children),
    "records": cycler.sizes["uts"],
    "uts": [float(cycler["uts"][0]), float(cycler["uts"][-1])],
    "units": {name: cycler[name].attrs["units"] for name in ("uts", "voltage", "current")},
    "charge_Ah": float(cycler["charge_Ah"].max()),
    "steps": sorted(set(cycler["step_index"].values.tolist())),
    "unmeasured": int(chamber["chamber_degC"].isnull().sum()),
    "z_imag": float(eis["z_imag"].max()),
    "model": json.loads(cycler.attrs["instrument"])["identity"]["model"],
    "lot": json.loads(tree.attrs["battery_daq"])["cell"]["metadata"]["supplier_lot"],
}))
"""


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_opens_a_run_as_a_tree_of_roles(
    peer: Callable[[str], Peer], closed: Path, tmp_path: Path, engine: str
) -> None:
    found = peer("xarray").json(READ, export(closed, "", "netcdf", tmp_path), engine)
    assert found["groups"] == ["chamber", "cycler", "eis"]
    assert found["records"] == 60 * 14
    assert found["uts"][0] == runs.START_UTC_S
    assert found["units"] == {"uts": "s", "voltage": "V", "current": "A"}
    assert found["charge_Ah"] == pytest.approx(3 * runs.CHARGE_AH, rel=1e-6)
    assert found["steps"] == [1, 2, 3, 4, 5, 6]
    assert found["unmeasured"] == 14  # the second record of every step; see tests/runs.py
    assert found["z_imag"] < 0
    assert (found["model"], found["lot"]) == ("N6974A", "L-991")
