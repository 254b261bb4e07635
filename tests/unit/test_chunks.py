"""Columns straight from a file's chunks are what HDF5 itself gives out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from daq.errors import InputError
from daq.recorder import chunks, columns
from daq.recorder.columns import Rows

NAMES = [column.h5 for column in columns.RAW]
PACKED = {"chunks": (64,), "shuffle": True, "compression": "gzip", "compression_opts": 1}


def noise(rows: int) -> Rows:
    """Rows in which every byte is as likely as any other; NaN among them."""
    random = np.random.default_rng(rows).bytes(rows * columns.RAW_DTYPE.itemsize)
    return np.frombuffer(random, columns.RAW_DTYPE)


def written(path: Path, rows: Rows, **storage: Any) -> Path:
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        table = file.create_dataset(
            "raw_data", shape=(0,), maxshape=(None,), dtype=rows.dtype, **storage
        )
        table.resize((len(rows),))
        table[:] = rows
    return path


def read(path: Path, names: list[str]) -> dict[str, Any]:
    batches = list(chunks.read(path, "raw_data", names))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize(
    "storage",
    [PACKED, {"chunks": (64,)}, {**PACKED, "shuffle": False}, {**PACKED, "fletcher32": True}],
    ids=["as closed files are", "plain", "without shuffle", "with checksums"],
)
def test_every_bit_of_every_column_is_what_hdf5_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, storage: dict[str, Any]
) -> None:
    monkeypatch.setattr(chunks, "BATCH", 256)
    data = noise(rows)
    found = read(written(tmp_path / "run.h5", data, **storage), NAMES)
    for name in NAMES:
        assert found[name].tobytes() == data[name].tobytes(), name


def test_only_the_named_columns_are_made_and_batches_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "BATCH", 128)
    data = noise(1000)
    path = written(tmp_path / "run.h5", data, **PACKED)
    batches = list(chunks.read(path, "raw_data", ["seq"]))
    assert [len(batch) for batch in batches] == [128] * 7 + [104]
    assert np.array_equal(np.concatenate([batch["seq"] for batch in batches]), data["seq"])
    with pytest.raises(KeyError):
        batches[0]["voltage"]


def test_a_chunk_that_hdf5_did_not_compress_is_read_too(tmp_path: Path) -> None:
    data = noise(128)
    path = written(tmp_path / "run.h5", data, **PACKED)
    with h5py.File(path, "r+") as file:
        file["raw_data"].id.write_direct_chunk((64,), data[64:].tobytes(), filter_mask=3)
    assert read(path, ["current"])["current"].tobytes() == data["current"].tobytes()


def test_a_table_without_rows_has_no_batches(tmp_path: Path) -> None:
    assert list(chunks.read(written(tmp_path / "run.h5", noise(0), **PACKED), "raw_data", [])) == []


def test_a_damaged_chunk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path / "run.h5", noise(256), **PACKED)
    with h5py.File(path) as file:
        start = file["raw_data"].id.get_chunk_info(2).byte_offset
    with path.open("r+b") as file:
        file.seek(start + 100)
        file.write(bytes(50))
    with pytest.raises(InputError, match=r"run\.h5 is damaged.*daq verify"):
        read(path, ["voltage"])
