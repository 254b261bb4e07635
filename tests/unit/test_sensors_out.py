"""What the auxiliary sensors of a run have read goes out with it, in every format that has room."""

from __future__ import annotations

from pathlib import Path

import h5netcdf
import pandas as pd
import pyarrow.dataset as ds
import pytest

from daq.journal import JournalReader
from daq.model import Event, EventKind
from daq.recorder import lake
from daq.recorder.export import export_files
from tests import runs
from tests.virtual import closed_file

RUN = runs.run_info().id
ROWS = 7000  # more than one batch


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with two sensors, one of them read every other time only; and its closed file."""
    folder = tmp_path_factory.mktemp("sensed")
    info = runs.run_info()
    entries = list(runs.formation(info))
    last = entries.pop()
    for number in range(ROWS):
        values = {"top_degC": 20.0 + number} | ({"can_V": 3.0} if number % 2 else {})
        data = {"step": 1, "step_count": 2, "cycle": 3, "values": values}
        entries.append(Event(EventKind.SENSORS, 1e9 + number, info.station, info.id, number, data))
    runs.write(folder / "journal.sqlite", (info, [*entries, last]))
    closed_file(folder / "journal.sqlite", RUN, folder)
    return folder


def written(folder: Path, fmt: str, out: Path) -> list[list[Path]]:
    """From the closed file, and from the journal."""
    for name in ("file", "journal"):
        (out / name).mkdir()
    with JournalReader(folder / "journal.sqlite") as reader:
        return [
            export_files(folder / f"{RUN}.h5", "", fmt, out / "file"),
            export_files(reader, RUN, fmt, out / "journal"),
        ]


@pytest.mark.parametrize("fmt", ["bdf", "bdf.parquet", "csv", "parquet"])
def test_a_table_of_the_sensors_stands_beside_that_of_the_records(
    fmt: str, folder: Path, tmp_path: Path
) -> None:
    for paths in written(folder, fmt, tmp_path):
        (path,) = (path for path in paths if ".sensors." in path.name)
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
        assert len(frame) == ROWS
        assert frame["top_degC"].tolist() == [20.0 + number for number in range(ROWS)]
        assert frame["can_V"].isna().sum() == ROWS / 2
        assert frame["test_time_s"].iloc[-1] == ROWS - 1
        assert set(zip(frame["cycle"], frame["step"], frame["step_count"], strict=True)) == {
            (3, 1, 2)
        }


def test_netcdf_has_a_group_of_them(folder: Path, tmp_path: Path) -> None:
    for (path,) in written(folder, "netcdf", tmp_path):
        with h5netcdf.File(path) as file:
            group = file["sensors"]
            assert group["top_degC"][-1] == 20.0 + ROWS - 1
            assert group["top_degC"].attrs["units"] == "degree_Celsius"
            assert len(group["uts"]) == ROWS


def test_the_lake_has_a_row_for_each_value(folder: Path, tmp_path: Path) -> None:
    lake.add(folder / f"{RUN}.h5", tmp_path)
    frame = ds.dataset(tmp_path / "sensors", partitioning="hive").to_table().to_pandas()
    assert frame.groupby("sensor")["value"].agg(["count", "max"]).T.to_dict("list") == {
        "can_V": [ROWS / 2, 3.0],
        "top_degC": [ROWS, 20.0 + ROWS - 1],
    }
    assert dict(zip(frame["sensor"], frame["unit"], strict=True)) == {
        "can_V": "V",
        "top_degC": "degC",
    }
    assert frame["seq"].is_monotonic_increasing
    assert frame["run"].unique().tolist() == [RUN]
    assert set(lake.verify(tmp_path).values()) == {"good"}


@pytest.mark.parametrize("fmt", ["bdf", "netcdf"])
def test_a_run_without_sensors_has_none_of_it(fmt: str, tmp_path: Path) -> None:
    runs.write(tmp_path / "journal.sqlite", (runs.run_info(), runs.formation(runs.run_info())))
    file = closed_file(tmp_path / "journal.sqlite", RUN, tmp_path)
    for paths in written(tmp_path, fmt, tmp_path):
        assert not any("sensors" in path.name for path in paths)
        if fmt == "netcdf":
            with h5netcdf.File(paths[0]) as found:
                assert "sensors" not in found
    lake.add(file, tmp_path / "lake")
    assert not (tmp_path / "lake" / "sensors").exists()
