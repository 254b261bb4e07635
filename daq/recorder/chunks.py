"""Columns of a closed file, straight from its chunks.

HDF5 gives a compound table out as rows, on one processor. But a chunk of a closed file is deflated
byte planes (its filters are shuffle and gzip): first byte 0 of every row, then byte 1 ... So a
column is a few neighbouring planes. Here chunks are inflated by threads (zlib lets go of the
interpreter meanwhile), and only the planes of the wanted columns are turned into numbers. A table
stored in any other way is read by HDF5 itself.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daq.errors import InputError
from daq.recorder.columns import Batch, Rows, Values
from daq.recorder.layout import h5py

BATCH = 1 << 18  # rows
_THREADS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)


@dataclass(frozen=True, slots=True)
class Columns:
    """Some columns of the same rows; read like a structured array."""

    values: dict[str, Values]
    rows: int

    def __getitem__(self, name: str) -> Values:
        return self.values[name]

    def __len__(self) -> int:
        return self.rows


def read(path: Path, table: str, names: Sequence[str]) -> Iterator[Batch]:
    """Columns of a table, in order, at most `BATCH` rows at a time; nothing for an empty table.

    Raises:
        InputError: the file is damaged.
    """
    with h5py.File(path, "r") as file:
        dataset: Any = file[table]
        if _is_deflated_planes(dataset):
            yield from _from_planes(path, dataset, names)
            return
        for start in range(0, len(dataset), BATCH):
            yield dataset[start : start + BATCH]


def _is_deflated_planes(dataset: Any) -> bool:
    filters = dataset.id.get_create_plist()
    kinds = [filters.get_filter(i)[0] for i in range(filters.get_nfilters())]
    return kinds == [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE] and dataset.ndim == 1


def _from_planes(path: Path, dataset: Any, names: Sequence[str]) -> Iterator[Columns]:
    """Two batches are under way: one is inflated while the other is worked on."""
    with ThreadPoolExecutor(_THREADS) as pool:
        batches = _begun(pool, dataset, names)
        under_way = deque(islice(batches, 2))
        while under_way:
            columns, chunks = under_way.popleft()
            try:
                for chunk in chunks:
                    chunk.result()
            except (zlib.error, ValueError) as error:
                raise InputError(
                    f"{path} is damaged: {error}", remedy="`daq verify` says which files are"
                ) from error
            yield columns
            under_way.extend(islice(batches, 1))


def _begun(
    pool: ThreadPoolExecutor, dataset: Any, names: Sequence[str]
) -> Iterator[tuple[Columns, list[Future[None]]]]:
    size, total = int(dataset.chunks[0]), len(dataset)
    step = max(BATCH // size, 1) * size
    for first in range(0, total, step):
        rows = min(step, total - first)
        kinds = {name: dataset.dtype.fields[name][0] for name in names}
        columns = Columns({name: np.empty(rows, kind) for name, kind in kinds.items()}, rows)
        chunks = [_chunk(pool, dataset, first, start, columns) for start in range(0, rows, size)]
        yield columns, chunks


def _chunk(
    pool: ThreadPoolExecutor, dataset: Any, first: int, start: int, columns: Columns
) -> Future[None]:
    mask, packed = dataset.id.read_direct_chunk((first + start,))
    size = int(dataset.chunks[0])
    if mask:  # HDF5 left a filter out for this one
        rows = dataset[first + start : first + start + size]
        return pool.submit(_copy, rows, start, columns)
    return pool.submit(_unpack, packed, dataset.dtype, size, start, columns)


def _copy(rows: Rows, start: int, columns: Columns) -> None:
    for name, values in columns.values.items():
        values[start : start + len(rows)] = rows[name]


def _unpack(packed: bytes, kind: np.dtype[Any], size: int, start: int, columns: Columns) -> None:
    """Write one chunk's part of each column into its place.

    Args:
        packed: the chunk as stored.
        kind: of a row.
        size: rows of a chunk; the last one is padded.
        start: where in `columns` the chunk's first row belongs.
        columns: what to fill.
    """
    planes = np.frombuffer(zlib.decompress(packed, bufsize=size * kind.itemsize), np.uint8)
    planes = planes.reshape(kind.itemsize, size)
    rows = min(size, len(columns) - start)
    for name, values in columns.values.items():
        fields: Any = kind.fields
        width, offset = values.itemsize, fields[name][1]
        place: npt.NDArray[np.uint8] = values.view(np.uint8).reshape(-1, width)
        place[start : start + rows] = planes[offset : offset + width, :rows].T
