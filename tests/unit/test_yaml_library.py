"""Every YAML file of the project, and every YAML block of its reference pages, is what it says."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from daq.cellfile import CellModel, ElectrodeModel
from daq.config import Lab
from daq.driver import Range
from daq.errors import InputError
from daq.labchecks import unfit_for_fast_clock, worst_reaction_s
from daq.labfile import InstrumentModel, LabFileModel, MqttModel
from daq.labreader import load_cells, load_lab
from daq.model import Cell, Limits
from daq.protocol.compile import compile_protocol
from daq.protocol.program import Program, StepKind
from daq.protocol.source import load_protocol, parse_protocol
from daq.protocol.steps import KINDS
from daq.yamlfile import parse

ROOT = Path(__file__).parent.parent.parent
PROTOCOLS = sorted((ROOT / "protocols").glob("*.yaml"))
DAY = 86400.0


def compiled(path: Path, lab: Lab, station: str, cell: str) -> Program:
    limits = lab.stations[station].limits
    range = Range((0.0, 9.0), (-10.0, 10.0), (-40.0, 180.0), (1e-3, 2e5))
    return compile_protocol(load_protocol(path), lab.cell(cell), [(station, limits)], range)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Lab]:
    """The demo lab, with a terminal where its bench would put one."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    master, slave = os.openpty()
    (tmp_path / "demo-out").mkdir()
    (tmp_path / "demo-out" / "pico.pty").symlink_to(os.ttyname(slave))
    yield load_lab(tmp_path / "config" / "demo.yaml")
    os.close(master)
    os.close(slave)


def test_the_demo_lab_runs_fast_because_all_of_it_is_here(demo: Lab) -> None:
    assert demo.clock_factor == 5000.0
    assert unfit_for_fast_clock(demo) == []
    assert set(demo.stations) == {"A1", "A2", "A3", "A4"}


def test_the_demo_cells_carry_what_a_lab_wants_to_know_later(demo: Lab) -> None:
    for cell in demo.cells.values():
        assert cell.batch
        assert cell.chemistry
        assert {"supplier_lot", "positive", "negative"} <= set(cell.metadata)
        for electrode in (cell.metadata["positive"], cell.metadata["negative"]):
            assert {"active_mass_g", "coat_weight_mg_cm2", "drying"} <= set(electrode)


@pytest.mark.parametrize(
    ("name", "station", "cell"),
    [("nmc-graphite", "A1", "NMC-0001"), ("lfp", "A3", "LFP-0001")],
)
def test_a_formation_fits_its_station_and_into_a_demo(
    demo: Lab, name: str, station: str, cell: str
) -> None:
    program = compiled(ROOT / "protocols" / f"formation-{name}.yaml", demo, station, cell)
    assert program.steps[-1].kind is StepKind.EIS
    assert program.expected_s / demo.clock_factor < 60.0
    assert program.expected_s < 100 * 3600.0


def test_a_formation_for_nmc_is_refused_on_an_lfp_cell(demo: Lab) -> None:
    with pytest.raises(InputError, match="no voltage in common|above the"):
        compiled(ROOT / "protocols" / "formation-nmc-graphite.yaml", demo, "A3", "LFP-0001")


def test_the_coin_cell_protocol_is_a_long_one() -> None:
    source = load_protocol(ROOT / "protocols" / "formation-coin-cell.yaml")
    station = ("coin", Limits((-1.0, 5.0), (-0.01, 0.01), (0.0, 60.0)))
    program = compile_protocol(source, Cell("coin", 0.002), [station])
    assert 100 * DAY < program.expected_s < 120 * DAY
    short = compile_protocol(source, Cell("coin", 0.002), [station], None, {"blocks": 1})
    assert short.expected_s < 12 * DAY


@pytest.mark.parametrize("path", PROTOCOLS, ids=lambda path: path.stem)
def test_a_protocol_of_the_library_can_be_checked_alone(path: Path) -> None:
    source = load_protocol(path)
    assert source.model.protocol == path.stem
    assert compile_protocol(source, Cell("any", 1.0), []).steps


def test_the_library_is_not_empty() -> None:
    assert len(PROTOCOLS) >= 3


def test_the_full_example_names_every_key() -> None:
    file = ROOT / "config" / "full-example.yaml"
    lab = load_lab(file)
    assert lab.mqtt.tls
    written = parse(file.read_bytes()).data
    assert set(written) == set(LabFileModel.keys())
    assert set(written["mqtt"]) == set(MqttModel.keys())
    used = {key for instrument in written["instruments"].values() for key in instrument}
    assert used == set(InstrumentModel.keys())
    (cell,) = written["cells"].values()
    assert set(cell) == set(CellModel.keys())
    assert set(cell["positive"]) == set(ElectrodeModel.keys())


def test_the_ea_bench_is_a_lab_that_can_be_run() -> None:
    lab = load_lab(ROOT / "config" / "ea-bench.yaml")
    assert {item.driver_class.__name__ for item in lab.instruments.values()} == {
        "EaPsb",
        "Binder",
        "ModbusInputs",
        "ModbusRelays",
    }
    contacts = lab.instruments["contacts"].options
    assert contacts.names[2] == "chamber door"
    assert contacts.inverted == (4,)
    for station in lab.stations.values():
        assert (
            worst_reaction_s(lab, lab.instruments[station.cycler.instrument]) < station.reaction_s
        )
        assert [str(ref) for ref in station.interlocks if ref.instrument == "contacts"] == [
            f"contacts.{number}" for number in (1, 2, 3, 4)
        ]


BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    return BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


def reference_files() -> dict[str, str]:
    """What the reference says lies beside its largest example."""
    page = (ROOT / "docs" / "protocol-language.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"^```csv\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (check_up,) = (text for text in blocks("protocol-language.md") if "check-up\n" in text)
    return {"drive.csv": table, "check-up.yaml": check_up}


@pytest.mark.parametrize("text", blocks("protocol-language.md"), ids=lambda text: text[:24])
def test_a_protocol_in_the_reference_compiles(text: str) -> None:
    station = ("A1", Limits((2.0, 4.35), (-10.0, 10.0), (0.0, 60.0)))
    source = parse_protocol(text, files=reference_files())
    assert compile_protocol(source, Cell("c", 2.5), [station]).steps


def test_the_reference_shows_every_kind_of_step() -> None:
    every = next(text for text in blocks("protocol-language.md") if "every-kind" in text)
    for kind in KINDS:
        assert re.search(rf"^\s*(- )?{kind}: ", every, re.MULTILINE), kind


@pytest.mark.parametrize("text", blocks("lab-file.md"), ids=lambda text: text[:12])
def test_a_lab_in_the_reference_loads(text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(text, encoding="utf-8")
    assert load_lab(file).stations if "lab" in parse(text).data else load_cells(file)
