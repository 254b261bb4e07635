"""Runs as files for other tools, pictures, and the table of cycles."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from daq.errors import InputError
from daq.journal import JournalReader
from daq.model import Record
from daq.protocol.program import StepKind
from daq.recorder import bdf, columns, export, plot, writers
from daq.recorder.closed import write_closed
from daq.recorder.cycles import cycle_table
from daq.recorder.source import locate, open_source
from tests import runs

RUN = runs.run_info().id
BARE = "B2-20260921-077"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal with a whole run and one without chamber, spectra or steps, both closed too."""
    folder = tmp_path_factory.mktemp("data")
    whole = runs.run_info()
    bare = runs.run_info(BARE, "B2", instruments=[], protocol={})
    no_chamber = [
        replace(entry, chamber_degC=math.nan) if isinstance(entry, Record) else entry
        for entry in runs.formation(bare, points=0, cycles=1)
    ]
    runs.write(folder / "journal.sqlite", (whole, runs.formation(whole)), (bare, no_chamber))
    with JournalReader(folder / "journal.sqlite") as reader:
        for run in (RUN, BARE):
            for _ in write_closed(reader, run, folder):
                pass
    return folder


@pytest.fixture
def reader(folder: Path) -> Iterator[JournalReader]:
    with JournalReader(folder / "journal.sqlite") as reader:
        yield reader


def table(path: Path) -> tuple[list[str], dict[str, list[str]]]:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, {name: [row[i] for row in rows] for i, name in enumerate(header)}


def numbers(cells: list[str]) -> list[float]:
    return [float(cell) if cell else math.nan for cell in cells]


def test_bdf_has_the_required_and_recommended_columns_first_by_label(
    folder: Path, tmp_path: Path
) -> None:
    header, _ = table(export.export(folder / f"{RUN}.h5", "", "bdf", tmp_path))
    assert header[:7] == [
        "Test Time / s",
        "Voltage / V",
        "Current / A",
        "Unix Time / s",
        "Cycle Count / 1",
        "Step Count / 1",
        "Ambient Temperature / degC",
    ]
    assert {"Step ID", "Step Type", "Step Time / s", "Step Record Index / 1"} <= set(header)
    assert {"Record Index / 1", "Cycle Discharging Capacity / Ah"} <= set(header)


def test_bdf_keeps_step_id_step_count_and_record_index_apart(folder: Path, tmp_path: Path) -> None:
    _, data = table(export.export(folder / f"{RUN}.h5", "", "bdf", tmp_path))
    charge = [i for i, kind in enumerate(data["Step Type"]) if kind == "CC_CHG"]
    assert {data["Step ID"][i] for i in charge} == {"2"}
    assert {data["Step Count / 1"][i] for i in charge} == {"2", "6"}
    assert data["Step Record Index / 1"][charge[0]] == "1"
    assert data["Record Index / 1"] == [str(n) for n in range(1, 201)]


def test_bdf_step_types_name_every_kind_of_step(folder: Path, tmp_path: Path) -> None:
    _, data = table(export.export(folder / f"{RUN}.h5", "", "bdf", tmp_path))
    assert list(dict.fromkeys(data["Step Type"])) == ["REST", "CC_CHG", "CV_CHG", "CC_DCH", "EIS"]


def test_bdf_has_power_net_and_cumulative_quantities_of_run_step_and_cycle(
    folder: Path, tmp_path: Path
) -> None:
    _, data = table(export.export(folder / f"{RUN}.h5", "", "bdf", tmp_path))
    found = {name: np.array(numbers(cells)) for name, cells in data.items() if " / " in name}
    assert np.allclose(found["Power / W"], found["Voltage / V"] * found["Current / A"])
    for scope in ("", "Step ", "Cycle "):
        for what in ("Capacity / Ah", "Energy / Wh"):
            into, out = (found[f"{scope}{word} {what}"] for word in ("Charging", "Discharging"))
            assert np.allclose(found[f"{scope}Net {what}"], into - out, rtol=1e-15)
            assert np.allclose(found[f"{scope}Cumulative {what}"], into + out, rtol=1e-15)
    charged, discharged = 2 * runs.CHARGE_AH, runs.CHARGE_AH * sum(runs.EFFICIENCIES[:2])
    assert found["Cumulative Capacity / Ah"][-1] == pytest.approx(charged + discharged, rel=1e-6)
    assert found["Net Capacity / Ah"][-1] == pytest.approx(charged - discharged, rel=1e-5)


def test_a_hold_that_lets_current_out_is_no_charge_step(tmp_path: Path) -> None:
    """Its first record has moved no charge: there the current decides."""
    info = runs.run_info("D1-1")
    steps = [entry for entry in runs.formation(info) if isinstance(entry, Record)]
    held = [record for record in steps if record.step == 3 and record.cycle == 1]
    turned = [
        replace(
            record,
            current_A=-abs(record.current_A) if number == 0 else 1e-9,  # noise at the end
            charge_Ah=0.0,
            discharge_Ah=number * 0.01,
        )
        for number, record in enumerate(held)
    ]
    runs.write(tmp_path / "journal.sqlite", (info, turned))
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        _, data = table(export.export(reader, "D1-1", "bdf", tmp_path))
    assert set(data["Step Type"]) == {"CV_DCH"}


@pytest.mark.parametrize(
    ("kind", "follows", "moved_Ah", "expected"),
    [
        ("charge", None, 1.0, "CC_CHG"), ("charge", "power", 1.0, "CP_CHG"),
        ("charge", None, -1e-9, "CC_CHG"), ("discharge", "resistance", -1.0, "CR_DCH"),
        ("discharge", "power", -1.0, "CP_DCH"), ("pulse", None, 1.0, "CC_CHG"),
        ("pulse", "power", -1.0, "CP_DCH"), ("cccv", None, 1.0, "CCCV_CHG"),
        ("hold", None, -1.0, "CV_DCH"), ("ramp", "voltage", -1.0, "RAMP"),
        ("profile", "power", -1.0, "PROFILE"), ("operator", None, 0.0, "REST"),
        ("chamber", None, 0.0, "REST"), ("eis", None, 0.0, "EIS"), ("rest", None, 0.0, "REST"),
    ],
)  # fmt: skip
def test_a_step_type_says_what_is_kept_constant_and_which_way_the_charge_goes(
    tmp_path: Path, kind: str, follows: str | None, moved_Ah: float, expected: str
) -> None:
    step = {"number": 1, "kind": kind, "follows": follows, "text": "", "line": 1}
    info = runs.run_info("E1-1", protocol={"name": "one", "steps": [step]})
    record = Record(
        info.station, info.id, 1.0, 1.0, runs.START_UTC_S, 3.7, moved_Ah, 25.0, 25.0, 0, 1, 1, 1,
        max(moved_Ah, 0.0), max(-moved_Ah, 0.0), 0.0, 0.0,
    )  # fmt: skip
    runs.write(tmp_path / "journal.sqlite", (info, [record]))
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        _, data = table(export.export(reader, "E1-1", "bdf", tmp_path))
    assert data["Step Type"] == [expected]


def test_every_kind_of_step_that_makes_records_has_a_step_type() -> None:
    assert set(bdf.KINDS) == {kind.value for kind in StepKind} - {"set"}


def test_bdf_is_named_after_lab_cell_and_start(folder: Path, tmp_path: Path) -> None:
    path = export.export(folder / f"{RUN}.h5", "", "bdf", tmp_path)
    assert path.name == "bench-3__NMC-0042__20260921_141320.bdf.csv"
    path = export.export(folder / f"{BARE}.h5", "", "bdf.parquet", tmp_path)
    assert path.name == "bench-3__NMC-0042__20260921_141320.bdf.parquet"


def test_bdf_leaves_out_a_chamber_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    header, data = table(export.export(folder / f"{BARE}.h5", "", "bdf", tmp_path))
    assert "Ambient Temperature / degC" not in header
    assert "Surface Temperature / degC" in header
    assert set(data["Step Type"]) == {""}


@pytest.mark.parametrize("fmt", ["csv", "bdf"])
def test_every_number_survives_the_text(
    folder: Path, tmp_path: Path, fmt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.concatenate(list(open_source(folder / f"{RUN}.h5").batches()))
    for writer in ("pyarrow", "plain Python"):
        if writer == "plain Python":
            monkeypatch.setattr(writers, "arrow", lambda: None)
        _, data = table(export.export(folder / f"{RUN}.h5", "", fmt, tmp_path / f"{writer}.csv"))
        for column in columns.RAW:
            header = column.name if fmt == "csv" else column.bdf
            if header:
                assert np.array_equal(numbers(data[header]), rows[column.h5], equal_nan=True)


@pytest.mark.parametrize("fmt", ["csv", "bdf"])
def test_a_running_run_exports_the_same_from_the_journal(
    folder: Path, reader: JournalReader, tmp_path: Path, fmt: str
) -> None:
    live = export.export(reader, RUN, fmt, tmp_path / "live.csv")
    closed = export.export(folder / f"{RUN}.h5", RUN, fmt, tmp_path / "closed.csv")
    assert live.read_bytes() == closed.read_bytes()


def test_spectra_go_into_a_file_of_their_own_beside(folder: Path, tmp_path: Path) -> None:
    export.export(folder / f"{RUN}.h5", "", "bdf", tmp_path)
    _, data = table(tmp_path / "bench-3__NMC-0042__20260921_141320.eis.csv")
    assert len(data["frequency_Hz"]) == 13
    export.export(folder / f"{BARE}.h5", "", "csv", tmp_path)
    assert not (tmp_path / f"{BARE}.eis.csv").exists()


def test_parquet_carries_units_and_everything_known_about_the_run(
    folder: Path, tmp_path: Path
) -> None:
    path = export.export(folder / f"{RUN}.h5", "", "parquet", tmp_path)
    schema = pq.read_schema(path)
    assert schema.field("voltage_V").metadata[b"unit"] == b"V"
    facts = json.loads(schema.metadata[b"battery_daq"])
    assert facts["cell"]["metadata"]["supplier_lot"] == "L-991"
    assert pq.read_table(path)["chamber_degC"].null_count == 10


def test_parquet_keeps_every_bit(folder: Path, tmp_path: Path) -> None:
    rows = np.concatenate(list(open_source(folder / f"{RUN}.h5").batches()))
    for fmt in ("parquet", "bdf.parquet"):
        found = pq.read_table(export.export(folder / f"{RUN}.h5", "", fmt, tmp_path))
        for column in columns.RAW:
            header = column.name if fmt == "parquet" else column.bdf
            if header:
                values = found[header].to_numpy()
                assert np.array_equal(values, rows[column.h5], equal_nan=True), header


def test_profiles_carry_what_their_tools_want_beside_the_table(
    folder: Path, tmp_path: Path
) -> None:
    source = folder / f"{RUN}.h5"
    made, readme = export.export_files(source, "", "pyprobe", tmp_path)
    assert made == tmp_path / f"{RUN}.pyprobe" / f"{RUN}.parquet"  # a README.yaml for each run
    assert readme == made.with_name("README.yaml")
    steps = YAML(typ="safe").load(readme)["formation-nmc-graphite"]["Steps"]
    assert steps == {number: text for number, _, text in runs.STEPS}
    path, how = export.export_files(source, "", "cellpy", tmp_path)
    header, data = table(path)
    names = YAML(typ="safe").load(how)["normal_headers_renaming_dict"]
    assert set(names.values()) == set(header)
    assert names["charge_capacity_txt"] == "Cycle Charging Capacity / Ah"
    assert data["Date Time"][0] == "2026-09-21T14:13:20.000000"
    (spectrum,) = export.export_files(source, "", "impedance", tmp_path)
    assert len(spectrum.read_text().splitlines()) == 13


def test_netcdf_has_a_group_a_role_and_says_what_is_missing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with h5py.File(export.export(folder / f"{RUN}.h5", "", "netcdf", tmp_path)) as file:
        assert set(file) == {"cycler", "chamber", "eis"}
        rows = np.concatenate(list(open_source(folder / f"{RUN}.h5").batches()))
        assert np.array_equal(file["cycler/uts"], rows["time"])
        assert np.array_equal(file["cycler/charge_Ah"], rows["charge_Ah"])
        assert file["cycler/charge_Ah"].attrs["units"] == "A h"
        assert len(file["eis/frequency"]) == 13
    with h5py.File(export.export(folder / f"{BARE}.h5", "", "netcdf", tmp_path)) as file:
        assert set(file) == {"cycler"}  # neither chamber nor spectra
    monkeypatch.setitem(sys.modules, "h5netcdf", None)
    with pytest.raises(InputError, match=r"battery-daq\[netcdf\]"):
        export.export(folder / f"{RUN}.h5", "", "netcdf", tmp_path / "none.nc")
    assert not (tmp_path / "none.nc").exists()


def test_a_run_without_spectra_has_nothing_for_impedance(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"run '{BARE}' has no impedance spectra"):
        export.export(folder / f"{BARE}.h5", "", "impedance", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_leaves_the_old_file_and_no_other(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = export.export(folder / f"{RUN}.h5", "", "csv", tmp_path)
    before = path.read_bytes()

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        export.export(folder / f"{RUN}.h5", "", "csv", tmp_path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.tmp"))


def test_parquet_without_pyarrow_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "arrow", lambda: None)
    with pytest.raises(InputError, match=r"battery-daq\[export\]"):
        export.export(folder / f"{RUN}.h5", "", "parquet", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused_with_the_known_ones(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one of bdf, bdf.parquet, csv, parquet"):
        export.export(folder / f"{RUN}.h5", "", "xlsx", tmp_path)


def test_an_unknown_run_is_refused_with_the_nearest(
    folder: Path, reader: JournalReader, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"did you mean {RUN}"):
        export.export(reader, "A1-20260921-002", "csv", tmp_path)
    with pytest.raises(InputError, match="there is no run"):
        locate("../journal", folder, reader)


def test_a_file_that_is_no_closed_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.h5"
    path.write_text("not HDF5")
    with pytest.raises(InputError, match="cannot be read as a closed run: it is no HDF5 file"):
        export.export(path, "", "csv", tmp_path)
    with pytest.raises(InputError, match=r"there is no file .*gone\.h5"):
        export.export(tmp_path / "gone.h5", "", "csv", tmp_path)


def test_a_closed_run_is_read_from_its_file_and_a_running_one_from_the_journal(
    folder: Path, reader: JournalReader, tmp_path: Path
) -> None:
    assert locate(RUN, folder, reader) == folder / f"{RUN}.h5"
    assert locate(RUN, tmp_path, reader) is reader


def test_the_table_of_cycles_leaves_out_what_moved_no_charge(
    folder: Path, reader: JournalReader
) -> None:
    for cycles in (cycle_table(folder / f"{RUN}.h5"), cycle_table(reader, RUN)):
        assert [cycle.cycle for cycle in cycles] == [1, 2]
        assert [c.coulombic_efficiency for c in cycles] == pytest.approx([0.86, 0.98], rel=1e-6)
        assert [c.end_of_charge_V for c in cycles] == [4.2, 4.2]
        assert [c.end_of_discharge_V for c in cycles] == [2.5, 2.5]


@pytest.mark.parametrize("run", [RUN, BARE])
def test_a_run_is_drawn_with_and_without_spectra(folder: Path, tmp_path: Path, run: str) -> None:
    path = plot.plot(folder / f"{run}.h5", tmp_path / "run.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.stat().st_size > 20_000


def test_a_run_that_has_only_begun_is_drawn_too(tmp_path: Path) -> None:
    info = runs.run_info("C1-1")
    runs.write(tmp_path / "journal.sqlite", (info, []))
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        assert plot.plot(reader, tmp_path / "run.png", "C1-1").exists()
        assert cycle_table(reader, "C1-1") == []
        header, data = table(export.export(reader, "C1-1", "csv", tmp_path))
    assert header[0] == "test_time_s"
    assert data["test_time_s"] == []
