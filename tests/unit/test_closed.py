"""The closed file of a run: what is in it, and when it is not made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import h5py
import pytest
from battdat.data import BatteryDataset
from battdat.schemas import BatteryMetadata

from daq.journal import JournalReader
from daq.model import Event, EventKind, RunInfo
from daq.recorder import closed, room
from daq.recorder.closed import NotAsWritten, write_closed
from daq.recorder.metadata import battdat_metadata
from tests import runs

RUN = runs.run_info().id


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[JournalReader]:
    yield from journal_of(tmp_path, runs.run_info())


def journal_of(folder: Path, info: RunInfo) -> Iterator[JournalReader]:
    runs.write(folder / "journal.sqlite", (info, runs.formation(info)))
    with JournalReader(folder / "journal.sqlite") as reader:
        yield reader


def close(reader: JournalReader, folder: Path) -> Path:
    for _ in write_closed(reader, RUN, folder):
        pass
    return folder / f"{RUN}.h5"


def test_the_file_holds_the_protocol_and_the_lab_word_for_word(
    reader: JournalReader, tmp_path: Path
) -> None:
    with h5py.File(close(reader, tmp_path)) as file:
        for name, text in (("protocol", runs.PROTOCOL_TEXT), ("lab", runs.LAB_TEXT)):
            assert file[name]["text"][()].decode() == text
            assert file[name].attrs["sha256"] == sha256(text.encode()).hexdigest()
        assert file["protocol"].attrs["version"] == "1.2.0"


def test_the_file_says_which_instruments_were_connected(
    reader: JournalReader, tmp_path: Path
) -> None:
    with h5py.File(close(reader, tmp_path)) as file:
        assert list(file["instruments"]) == ["01_cycler", "02_eis", "03_chamber"]
        cycler = dict(file["instruments/01_cycler"].attrs)
    assert (cycler["manufacturer"], cycler["serial"]) == ("Keysight Technologies", "S1")
    assert (cycler["calibrated"], cycler["calibration_due"]) == ("2026-03-01", "2027-03-01")
    assert json.loads(cycler["channel_offsets"]) == {"voltage_V": 1.2e-4}


def test_nothing_that_the_run_knew_is_left_out(reader: JournalReader, tmp_path: Path) -> None:
    with h5py.File(close(reader, tmp_path)) as file:
        facts = json.loads(file.attrs["metadata"])["battery_daq"]
    assert facts["cell"]["metadata"]["drying"] == "120 degC, 12 h, vacuum"
    assert facts["software"]["version"] == "0.1.0"
    assert facts["operator"] == "ana"
    assert facts["protocol"]["steps"][1]["text"] == "charge: C/10"
    assert facts["station"]["limits"]["current_A"] == [-10, None]  # JSON has no infinity
    assert (facts["outcome"], facts["reason"]) == ("completed", "the program is done")
    assert facts["started"].startswith("2026-09-21T")


def test_events_are_in_the_file_with_every_byte(reader: JournalReader, tmp_path: Path) -> None:
    with h5py.File(close(reader, tmp_path)) as file:
        kinds = [row["kind"].decode() for row in file["events"][:]]
        last = json.loads(file["events"][-1]["data"])
    assert kinds[0] == "run_started"
    assert kinds.count("step_ended") == 10
    assert last == {"outcome": "completed", "reason": "the program is done"}


def test_a_protocol_of_thousands_of_steps_fits_and_the_toolkit_reads_it(tmp_path: Path) -> None:
    steps = [{"number": n, "kind": "rest", "text": "rest: 1 min", "line": n} for n in range(3000)]
    info = runs.run_info(protocol={"name": "long", "text": "x" * 200_000, "steps": steps})
    for reader in journal_of(tmp_path, info):
        path = close(reader, tmp_path)
        dataset = BatteryDataset.from_hdf(path)
        assert dataset.validate() == []
        with h5py.File(path) as file:
            facts = json.loads(file.attrs["metadata"])["battery_daq"]
        assert len(facts["protocol"]["steps"]) == 3000


@pytest.mark.parametrize(
    "free",
    [
        {"mass": "45 g", "anode": 3, "cathode": {"loading": "high"}, "design": 7},
        {"anode": {"name": "Si", "loading": -1, "thickness": "50 um"}, "electrolyte": None},
        {"manufacturer": None, "layer_count": 0, "form_factor": ["pouch"]},
    ],
)
def test_free_metadata_of_any_type_never_makes_the_toolkit_refuse_the_file(
    free: dict[str, Any],
) -> None:
    info = runs.run_info(cell={"id": "c", "nominal_capacity_Ah": "big", "metadata": free})
    metadata = BatteryMetadata.model_validate_json(battdat_metadata(info, []))
    assert metadata.model_extra
    assert metadata.model_extra["battery_daq"]["cell"]["metadata"] == free


def test_a_run_whose_document_is_empty_gets_its_file_too(tmp_path: Path) -> None:
    info = RunInfo(RUN, "A1", "c", "p", runs.START_UTC_S, {})
    for reader in journal_of(tmp_path, info):
        assert BatteryDataset.from_hdf(close(reader, tmp_path)).validate() == []


@pytest.mark.parametrize("table", ["raw_data", "events", "eis_data"])
def test_a_file_that_reads_back_differently_is_not_published(
    table: str, reader: JournalReader, tmp_path: Path
) -> None:
    job = write_closed(reader, RUN, tmp_path)
    next(job)  # the rows are written
    next(job)  # the file is whole; now the disk changes one number in it
    with h5py.File(tmp_path / f"{RUN}.h5.tmp", "r+") as file:
        row = file[table][3]
        row["time"] += 1e-6
        file[table][3] = row
    with pytest.raises(NotAsWritten, match=f"{table} differs"):
        list(job)
    assert not (tmp_path / f"{RUN}.h5").exists()


def test_a_file_with_a_row_too_many_is_not_published(reader: JournalReader, tmp_path: Path) -> None:
    job = write_closed(reader, RUN, tmp_path)
    next(job)
    next(job)
    with h5py.File(tmp_path / f"{RUN}.h5.tmp", "r+") as file:
        file["raw_data"].resize((len(file["raw_data"]) + 1,))
    with pytest.raises(NotAsWritten, match="rows, the journal"):
        list(job)


def test_the_live_file_goes_when_the_closed_one_is_there(
    reader: JournalReader, tmp_path: Path
) -> None:
    part = tmp_path / f"{RUN}.h5.part"
    part.write_bytes(b"a view")
    job = write_closed(reader, RUN, tmp_path)
    next(job)
    assert part.exists()
    list(job)
    assert not part.exists()
    assert (tmp_path / f"{RUN}.h5").exists()


def test_no_room_is_found_out_before_hdf5_does(
    reader: JournalReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_RESERVE", 1 << 60)
    with pytest.raises(OSError, match="MiB free"):
        close(reader, tmp_path)
    assert not list(tmp_path.glob("*.h5*"))


def test_the_hash_is_there_before_the_file_has_its_name(
    reader: JournalReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    real = closed._rename_new

    def spied(temporary: Path, final: Path) -> None:
        seen.append(sorted(path.suffix for path in tmp_path.glob(f"{RUN}*")))
        real(temporary, final)

    monkeypatch.setattr(closed, "_rename_new", spied)
    close(reader, tmp_path)
    assert seen == [[".sha256", ".tmp"]]


def test_an_event_of_another_run_is_not_in_the_file(tmp_path: Path) -> None:
    info = runs.run_info()
    foreign = Event(EventKind.NOTE, 0.0, "A2", "other", data={"text": "not mine"})
    runs.write(tmp_path / "journal.sqlite", (info, [foreign, *runs.formation(info)]))
    with (
        JournalReader(tmp_path / "journal.sqlite") as reader,
        h5py.File(close(reader, tmp_path)) as file,
    ):
        assert b"note" not in set(file["events"]["kind"])


def test_what_the_registry_knows_stands_under_the_toolkits_names_and_in_its_units() -> None:
    free = {
        "supplier": "Example Cells",
        "mass_g": 46.1,
        "positive": {"material": "NMC622", "coat_weight_mg_cm2": 17.2, "thickness_m": 68e-6},
        "negative": {"material": "graphite"},
        "electrolyte": "1 M LiPF6",
    }
    info = runs.run_info(cell={"id": "c", "nominal_capacity_Ah": 2.5, "metadata": free})
    battery = BatteryMetadata.model_validate_json(battdat_metadata(info, [])).battery
    assert battery is not None
    assert (battery.manufacturer, battery.mass) == ("Example Cells", pytest.approx(0.0461))
    assert battery.cathode is not None
    assert battery.anode is not None
    assert battery.electrolyte is not None
    assert (battery.cathode.name, battery.cathode.loading) == ("NMC622", 17.2)
    assert battery.cathode.thickness == pytest.approx(68.0)
    assert (battery.anode.name, battery.electrolyte.name) == ("graphite", "1 M LiPF6")


def test_auxiliary_sensors_are_a_table_of_their_own_and_no_events(tmp_path: Path) -> None:
    info = runs.run_info()
    entries = list(runs.formation(info))
    last = entries.pop()
    for number in range(7000):  # more than one batch
        values = {"top_degC": 20.0 + number} | ({"can_V": 3.0} if number % 2 else {})
        data = {"step": 1, "step_count": 1, "cycle": 1, "values": values}
        entries.append(Event(EventKind.SENSORS, 1e9 + number, info.station, info.id, number, data))
    runs.write(tmp_path / "journal.sqlite", (info, [*entries, last]))
    with JournalReader(tmp_path / "journal.sqlite") as reader:
        path = close(reader, tmp_path)
    with h5py.File(path) as file:
        rows = file["sensors"][:]
        kinds = set(file["events"]["kind"])
        described = json.loads(file["sensors"].attrs["metadata"])["extra_columns"]
    assert len(rows) == 7000
    assert rows["top_degC"][-1] == 7019.0
    assert rows["can_V"][1] == 3.0
    assert rows["can_V"][0] != rows["can_V"][0]
    assert b"sensors" not in kinds
    assert described["top_degC"]["units"] == "degC"
    assert described["can_V"]["units"] == "V"


def test_a_run_without_sensors_has_no_such_table(reader: JournalReader, tmp_path: Path) -> None:
    with h5py.File(close(reader, tmp_path)) as file:
        assert "sensors" not in file
