"""A run as NetCDF-4, a group a role, as tomato lays its files out and yadg passes them on.

| group | what |
|---|---|
| / | everything known about the run, as JSON, in the attribute `battery_daq` |
| cycler | one entry a record: voltage, current, charges, where in the protocol |
| chamber | one entry a record: the temperature of its air; only where there is one |
| eis | one entry a point of a spectrum |
| sensors | one entry a reading of the auxiliary sensors; only where there are any |

Each has the coordinate `uts`, Unix time in seconds, and CF's `units` where a quantity has one.
Written by h5netcdf (the extra `netcdf`); xarray opens it with `open_datatree`.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from daq.errors import InputError
from daq.recorder import columns, metadata, sensed
from daq.recorder.atomic import write
from daq.recorder.columns import Batch, Column
from daq.recorder.fields import absent
from daq.recorder.source import Source

_TIME = "time"  # in HDF5; the coordinate is called as tomato calls it
_UTS = "uts"
_UNITS = {"": "1", "degC": "degree_Celsius", "deg": "degree", "Ah": "A h", "Wh": "W h"}
_CHUNK = 1 << 14
_CHAMBER = ("chamber_degC",)


def netcdf(source: Source, path: Path) -> Iterator[Path]:
    """One file with all groups.

    Raises:
        InputError: h5netcdf is missing.
    """
    library = _library()
    yield write(path, lambda file: _fill(library, file, source))


def _library() -> Any:
    try:
        return importlib.import_module("h5netcdf")
    except ImportError as error:
        raise InputError(
            "netcdf needs h5netcdf", remedy="pip install 'battery-daq[netcdf]'"
        ) from error


def _fill(library: Any, path: Path, source: Source) -> None:
    missing = absent(source)
    described = {column.h5: column for column in columns.RAW}
    cycler = [c.h5 for c in columns.RAW if c.h5 not in {*missing, *_CHAMBER}]
    chamber = [name for name in _CHAMBER if name not in missing]
    with library.File(path, "w") as file:
        file.attrs["Conventions"] = "CF-1.10"
        file.attrs["title"] = f"run {source.facts['run']}"
        file.attrs[metadata.OWN] = json.dumps(source.facts)
        groups = [_Group(file, "cycler", [described[name] for name in cycler], source)]
        if chamber:
            names = [_TIME, *chamber]
            groups.append(_Group(file, "chamber", [described[name] for name in names], source))
        for rows in source.columns([column.h5 for column in columns.RAW]):
            for group in groups:
                group.append(rows)
        spectra = source.spectra()
        if len(spectra):
            _Group(file, "eis", list(columns.EIS), source).append(spectra)
        if sensors := source.sensors():
            group = _Group(file, "sensors", list(sensed.table(sensors)), source)
            for rows in source.sensor_rows():
                group.append(rows)


class _Group:
    """One role: columns that grow along the time."""

    def __init__(self, file: Any, name: str, table: list[Column], source: Source) -> None:
        self._group = file.create_group(name)
        self._rows = 0
        self._group.dimensions = {_UTS: None}
        self._variables = {column.h5: self._variable(column) for column in table}
        found = [one for one in metadata.instruments(source.facts) if one.get("role") == name]
        if found:
            self._group.attrs["instrument"] = json.dumps(found[0])

    def _variable(self, column: Column) -> Any:
        name = _UTS if column.h5 == _TIME else column.h5
        packed = {"chunks": (_CHUNK,), "compression": "gzip", "compression_opts": 1}
        made = self._group.create_variable(
            name, (_UTS,), np.dtype(column.dtype), shuffle=True, **packed
        )
        made.attrs["units"] = "s" if name == _UTS else _UNITS.get(column.unit, column.unit)
        made.attrs["long_name"] = column.description
        return made

    def append(self, rows: Batch) -> None:
        """Write rows at the end."""
        end = self._rows + len(rows)
        self._group.resize_dimension(_UTS, end)
        for name, variable in self._variables.items():
            variable[self._rows : end] = rows[name]
        self._rows = end
