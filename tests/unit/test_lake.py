"""Runs in a data lake: partitions, manifests, and what becomes of damage and of repetition."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

from daq.errors import InputError
from daq.journal import JournalReader
from daq.recorder import lake
from daq.recorder.closed import write_closed
from daq.recorder.hashes import hash_file
from daq.recorder.source import open_source
from tests import runs

RUN = runs.run_info().id
BARE = "B2-20260921-077"
PARTITIONS = ["lab", "batch", "cell"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two closed runs, the second of a cell with an awkward name and without a batch."""
    folder = tmp_path_factory.mktemp("data")
    cell = {**runs.document()["cell"], "id": "a/b = ü", "batch": ""}
    whole, bare = runs.run_info(), runs.run_info(BARE, "B2", cell=cell, protocol={})
    entries = runs.formation(bare, points=0, cycles=1)
    runs.write(folder / "journal.sqlite", (whole, runs.formation(whole)), (bare, entries))
    with JournalReader(folder / "journal.sqlite") as reader:
        for run in (RUN, BARE):
            for _ in write_closed(reader, run, folder):
                pass
    return folder


def states(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file, with its inode and time: what was not touched has the same."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


def table(folder: Path, name: str):
    return ds.dataset(folder / name, partitioning="hive").to_table()


def test_readers_find_all_runs_by_lab_batch_and_cell(made: Path, tmp_path: Path) -> None:
    for run in (RUN, BARE):
        lake.add(made / f"{run}.h5", tmp_path)
    found = table(tmp_path, "records").to_pydict()
    assert set(zip(*(found[name] for name in PARTITIONS), strict=True)) == {
        ("bench-3", "B17", "NMC-0042"),
        ("bench-3", None, "a/b = ü"),
    }
    rows = np.concatenate(list(open_source(made / f"{RUN}.h5").batches()))
    of_run = [v for v, run in zip(found["voltage_V"], found["run"], strict=True) if run == RUN]
    assert of_run == rows["voltage"].tolist()
    assert set(table(tmp_path, "spectra")["run"].to_pylist()) == {RUN}
    assert len(table(tmp_path, "cycles")) == 3 + 2
    events = table(tmp_path, "events").to_pydict()
    assert events["kind"].count("run_ended") == 2
    assert json.loads(events["data"][-1])["outcome"] == "completed"


def test_a_manifest_has_the_hash_size_and_rows_of_every_file(made: Path, tmp_path: Path) -> None:
    files = lake.add(made / f"{RUN}.h5", tmp_path)
    manifest = json.loads((tmp_path / "_manifests/lab=bench-3" / f"{RUN}.json").read_text())
    assert manifest["schema_version"] == lake.SCHEMA_VERSION
    assert manifest["source"]["sha256"] == hash_file(made / f"{RUN}.h5").read_text().split()[0]
    assert {part["table"]: part["rows"] for part in manifest["files"]} == {
        "records": 200, "spectra": 13, "cycles": 3, "events": 2 * 10 + 2,
    }  # fmt: skip
    assert {str(tmp_path / part["path"]) for part in manifest["files"]} == set(map(str, files[:-1]))
    for part in manifest["files"]:
        data = (tmp_path / part["path"]).read_bytes()
        assert (part["bytes"], part["sha256"]) == (len(data), sha256(data).hexdigest())


def test_a_run_that_is_there_is_not_written_again(made: Path, tmp_path: Path) -> None:
    assert lake.add(made / f"{RUN}.h5", tmp_path)
    before = states(tmp_path)
    assert lake.add(made / f"{RUN}.h5", tmp_path) == []
    assert states(tmp_path) == before


def test_what_is_missing_from_the_lake_is_written_again_to_the_same_bytes(
    made: Path, tmp_path: Path
) -> None:
    lake.add(made / f"{RUN}.h5", tmp_path)
    (records,) = (tmp_path / "records").rglob("*.parquet")
    before = records.read_bytes()
    records.unlink()
    assert records in lake.add(made / f"{RUN}.h5", tmp_path)
    assert records.read_bytes() == before
    assert set(lake.verify(tmp_path).values()) == {"good"}


@pytest.mark.parametrize("name", ["records", "spectra", "cycles", "events"])
def test_one_changed_byte_is_found(made: Path, tmp_path: Path, name: str) -> None:
    lake.add(made / f"{RUN}.h5", tmp_path)
    (path,) = (tmp_path / name).rglob("*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    verdicts = lake.verify(tmp_path)
    assert verdicts.pop(str(path.relative_to(tmp_path))) == (
        "it is not what was written: its hash differs"
    )
    assert set(verdicts.values()) == {"good"}


def test_what_is_missing_and_what_belongs_to_no_run_is_said(made: Path, tmp_path: Path) -> None:
    lake.add(made / f"{RUN}.h5", tmp_path)
    (path,) = (tmp_path / "cycles").rglob("*.parquet")
    stray = path.rename(path.with_name("stray.parquet"))
    verdicts = lake.verify(tmp_path)
    assert verdicts[str(path.relative_to(tmp_path))] == "it is missing"
    assert "belongs to no run" in verdicts[str(stray.relative_to(tmp_path))]
    (tmp_path / "_manifests/lab=bench-3" / f"{RUN}.json").write_text("{")
    assert "cannot be read" in lake.verify(tmp_path)[f"_manifests/lab=bench-3/{RUN}.json"]


def test_a_crash_before_the_manifest_leaves_a_run_that_is_added_as_if_new(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lake, "write_text", crash)
        with pytest.raises(KeyboardInterrupt):
            lake.add(made / f"{RUN}.h5", tmp_path)
    assert not list(tmp_path.rglob("*.tmp"))
    assert lake.add(made / f"{RUN}.h5", tmp_path)
    assert set(lake.verify(tmp_path).values()) == {"good"}


def test_a_cell_that_was_renamed_leaves_nothing_under_its_old_name(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.add(made / f"{RUN}.h5", tmp_path)
    folder = tmp_path / "again"
    folder.mkdir()
    cell = {**runs.document()["cell"], "id": "NMC-0043"}
    info = replace(runs.run_info(), document=runs.document(cell=cell))
    runs.write(folder / "journal.sqlite", (info, runs.formation(info)))
    with JournalReader(folder / "journal.sqlite") as reader:
        for _ in write_closed(reader, RUN, folder):
            pass
    lake.add(folder / f"{RUN}.h5", tmp_path)
    assert set(table(tmp_path, "records")["cell"].to_pylist()) == {"NMC-0043"}
    assert set(lake.verify(tmp_path).values()) == {"good"}


def test_a_closed_file_that_is_not_what_was_written_does_not_go_in(
    made: Path, tmp_path: Path
) -> None:
    file = tmp_path / f"{RUN}.h5"
    shutil.copy(made / file.name, file)
    hash_file(file).write_text(f"{'0' * 64}  {file.name}\n")
    with pytest.raises(InputError, match="its hash differs"):
        lake.add(file, tmp_path / "lake")
    assert not (tmp_path / "lake").exists()


def test_a_folder_that_is_no_lake_is_not_called_good(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a data lake"):
        lake.verify(tmp_path)
