"""How a run's HDF5 file is laid out: the same for the live and for the closed one.

| node | what |
|---|---|
| / | metadata (JSON), run, station, cell, state: "live" or "closed" |
| /raw_data | one row a record; attribute `metadata`: the columns as JSON |
| /eis_data | one row a spectrum point |
| /events | one row an event, data as JSON |
| /sensors | one row a reading of the auxiliary sensors; only in a closed file, if there are any |
| /cycle_stats | one row a cycle; only in a closed file |
| /protocol, /lab | text, and name, version, sha256 ... as attributes |
| /instruments/* | who was connected, as attributes |
| /seal | only in a live file: see `live` |
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import h5py as _h5py  # pyright: ignore[reportMissingTypeStubs]

from daq.model import Event, RunInfo
from daq.recorder import columns, metadata
from daq.recorder.columns import Column, Rows
from daq.recorder.room import Room

# The oldest format that knows SWMR and attributes above 64 KiB. "latest" would be the newest
# that the h5py at hand can write, which tools built on an older HDF5 cannot open.
LIBVER = ("v110", "v110")
FORMAT_VERSION = 1
_CACHE = 1 << 17  # bytes a table; only the last chunk is ever written to again

h5py: Any = _h5py
"""h5py has no types; the other modules take it from here."""


class Table:
    """One compound dataset that grows. Appends go past h5py's slicing, for its cost per row."""

    def __init__(self, dataset: Any, grow: Callable[[int], None]) -> None:
        self._id = dataset.id
        self._grow = grow
        self.rows = 0

    def append(self, rows: Rows) -> None:
        """Write rows at the end; nothing when there are none.

        Raises:
            OSError: the disk is full; nothing was written.
        """
        if not len(rows):
            return
        self._grow(rows.nbytes)
        size = self.rows + len(rows)
        self._id.set_extent((size,))
        space = self._id.get_space()
        space.select_hyperslab((self.rows,), (len(rows),))
        self._id.write(h5py.h5s.create_simple((len(rows),)), space, rows)
        self.rows = size

    def flush(self) -> None:
        """Make what was appended visible to readers of a live file."""
        self._id.flush()


class RunFile:
    """A new file of a run, open for writing; what stood at the path is lost.

    Args:
        path: the file.
        state: "live" or "closed".

    Raises:
        OSError: the file cannot be made, or the disk is full.
    """

    def __init__(self, path: Path, state: str) -> None:
        path.unlink(missing_ok=True)  # and "x", not "w": that would write through a link
        self._file = h5py.File(path, "x", libver=LIBVER, rdcc_nbytes=_CACHE)
        with ExitStack() as undo:
            undo.callback(self._file.close)
            self._room = Room(path)
            undo.callback(self._room.close)
            self._grow(0)
            self._file.attrs["state"] = state
            self._file.attrs["battery_daq_format"] = FORMAT_VERSION
            undo.pop_all()

    def __enter__(self) -> RunFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _grow(self, need: int) -> None:
        self._room.take(self._file.id.get_filesize(), need)

    def table(self, name: str, table: tuple[Column, ...], **storage: Any) -> Table:
        """Add an empty table."""
        dataset = self._file.create_dataset(
            name, shape=(0,), maxshape=(None,), dtype=columns.dtype(table), **storage
        )
        dataset.attrs["metadata"] = columns.schema(table)
        dataset.attrs["battdat_version"] = metadata.BATTDAT_VERSION
        return Table(dataset, self._grow)

    def describe(self, run: RunInfo, events: list[Event]) -> None:
        """Write everything but the tables."""
        file = self._file
        described = metadata.battdat_metadata(run, events)
        self._grow(2 * len(described) + len(json.dumps(run.document, default=str)))
        file.attrs["metadata"] = described
        file.attrs["battdat_version"] = metadata.BATTDAT_VERSION
        for name, value in (("run", run.id), ("station", run.station), ("cell", run.cell)):
            file.attrs[name] = value
        for name in ("protocol", "lab"):
            _text_group(file, name, metadata.section(run.document, name))
        group = file.create_group("instruments")
        for number, instrument in enumerate(metadata.instruments(run.document), 1):
            member = group.create_group(f"{number:02d}_{instrument.get('role', 'instrument')}")
            _attributes(member, instrument)

    def publish(self, seal: str) -> int:
        """Let readers in (SWMR). From here on only tables may grow.

        Returns:
            Where in the file the text of the seal stands, in bytes.
        """
        node = _text(self._file, "seal", seal)
        self._file.swmr_mode = True
        self._file.flush()
        return int(node.id.get_offset())

    def close(self) -> None:
        """Write everything out, and give back the room that was not used.

        Raises:
            OSError, RuntimeError: HDF5 could not.
        """
        try:
            self._file.flush()
            used = self._file.id.get_filesize()
            self._file.close()
            self._room.give_back(used)
        finally:
            self._room.close()


def _text_group(file: Any, name: str, part: dict[str, Any]) -> None:
    group = file.create_group(name)
    _text(group, "text", str(part.pop("text", "")))
    _attributes(group, part)


def _text(group: Any, name: str, value: str) -> Any:
    """A text as a scalar of fixed length: PyTables cannot read those of variable length."""
    data = value.encode()
    kind = h5py.string_dtype("utf-8", max(len(data), 1))
    return group.create_dataset(name, data=data, dtype=kind)


def _attributes(node: Any, values: dict[str, Any]) -> None:
    """Plain values as they are, an identity as its parts, the rest as JSON."""
    for name, value in values.items():
        if isinstance(value, str | int | float):
            node.attrs[name] = value
        elif name == "identity" and isinstance(value, dict):
            _attributes(node, cast("dict[str, Any]", value))
        elif value is not None:
            node.attrs[name] = json.dumps(value, default=str)
