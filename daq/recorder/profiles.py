"""Files as single tools want them, each with what tells the tool how to read them.

| profile | files | read with |
|---|---|---|
| pyprobe | a folder: Parquet, `README.yaml` with the steps | `Cell.import_data` of PyProBE |
| cellpy | csv, and a `.cellpy.yml` that says what each column is | `cellpy.get(..., "custom")` |
| impedance | a csv without header a spectrum: Hz, real, imaginary | `readCSV` of impedance.py |
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from daq.errors import InputError
from daq.recorder import columns, metadata, writers
from daq.recorder.atomic import write, write_text
from daq.recorder.columns import Batch, Column, Values
from daq.recorder.fields import Field, absent, copied, needed, record_index
from daq.recorder.source import Source

_RAW = {column.h5: column for column in columns.RAW}
_EIS = {column.h5: column for column in columns.EIS}


def _renamed(table: dict[str, Column], names: dict[str, str], missing: set[str]) -> list[Field]:
    return [copied(table[h5], name) for h5, name in names.items() if h5 not in missing]


# PyProBE.

_PYPROBE = {
    "test_time": "Time [s]",
    "step_index": "Step",  # of the protocol: PyProBE sees a new cycle when it falls
    "cycle_number": "Cycle",
    "current": "Current [A]",
    "voltage": "Voltage [V]",
    "temperature": "Temperature [C]",
}


def pyprobe(source: Source, path: Path) -> Iterator[Path]:
    """PyProBE's own table, and the `README.yaml` that it looks for in the same folder."""
    listed = _renamed(_RAW, _PYPROBE, absent(source))
    listed += [_date(), _event(), _net_capacity()]
    yield write(path, lambda file: _write_parquet(file, listed, source))
    yield write_text(path.with_name("README.yaml"), _yaml(_experiment(source)))


def _write_parquet(file: Path, listed: list[Field], source: Source) -> None:
    writers.write_parquet(file, listed, source.columns(needed(listed)), source.facts)


def _date() -> Field:
    def values(rows: Batch, _before: int) -> Values:
        return _microseconds(rows).astype("datetime64[us]")

    return Field("Date", ("time",), values)


def _microseconds(rows: Batch) -> Values:
    return np.round(rows["time"] * 1e6).astype(np.int64)


def _event() -> Field:
    """Steps begun before this one: a step that is repeated alone counts each time."""

    def values(rows: Batch, _before: int) -> Values:
        return (rows["step_count"] - 1).clip(0).astype(np.uint64)

    return Field("Event", ("step_count",), values)


def _net_capacity() -> Field:
    def values(rows: Batch, _before: int) -> Values:
        return rows["charge_Ah"] - rows["discharge_Ah"]

    return Field("Capacity [Ah]", ("charge_Ah", "discharge_Ah"), values)


def _experiment(source: Source) -> dict[str, Any]:
    texts = metadata.step_texts(source.facts)
    name = metadata.section(source.facts, "protocol").get("name") or "run"
    return {str(name): {"Steps": texts}} if texts else {}


# cellpy.

_CELLPY = {
    "test_time": ("test_time_txt", "Test Time / s"),
    "step_time_s": ("step_time_txt", "Step Time / s"),
    "cycle_number": ("cycle_index_txt", "Cycle Count / 1"),
    "step_index": ("step_index_txt", "Step ID"),
    "voltage": ("voltage_txt", "Voltage / V"),
    "current": ("current_txt", "Current / A"),
    # Those of the cycle: cellpy takes what a cycle ends with for what the cycle has moved.
    "cycle_charge_Ah": ("charge_capacity_txt", "Cycle Charging Capacity / Ah"),
    "cycle_discharge_Ah": ("discharge_capacity_txt", "Cycle Discharging Capacity / Ah"),
    "cycle_charge_Wh": ("charge_energy_txt", "Cycle Charging Energy / Wh"),
    "cycle_discharge_Wh": ("discharge_energy_txt", "Cycle Discharging Energy / Wh"),
}
_RECORD, _DATE = "Record Index / 1", "Date Time"


def cellpy(source: Source, path: Path) -> Iterator[Path]:
    """Text with the labels of BDF and a date, and the map from them to cellpy's names."""
    listed = _renamed(_RAW, {h5: label for h5, (_, label) in _CELLPY.items()}, set())
    listed += [record_index(_RECORD), _written_date()]
    yield write(path, lambda file: writers.write_csv(file, listed, source.columns(needed(listed))))
    yield write_text(path.with_suffix(".yml"), _yaml(_cellpy_map()))


def _written_date() -> Field:
    def values(rows: Batch, _before: int) -> Values:
        # To the same width in every row: readers guess the form from the first one.
        return np.datetime_as_string(_microseconds(rows).astype("datetime64[us]"))

    return Field(_DATE, ("time",), values)


def _cellpy_map() -> dict[str, Any]:
    names = dict(_CELLPY.values()) | {"data_point_txt": _RECORD, "datetime_txt": _DATE}
    return {
        "normal_headers_renaming_dict": names,
        "raw_units": {
            "current": "A",
            "charge": "Ah",
            "energy": "Wh",
            "mass": "g",
            "voltage": "V",
            "time": "sec",
        },
        "states": {
            "column_name": "Step ID",
            "charge_keys": [],
            "discharge_keys": [],
            "rest_keys": [],
        },
        "formatters": {"skiprows": 0, "sep": ",", "header": 0, "encoding": "utf-8", "decimal": "."},
        "post_processors": {
            "rename_headers": True,
            "convert_date_time_to_datetime": True,
            "set_index": True,
        },
    }


# impedance.py.

_IMPEDANCE = {"frequency": "f", "z_real": "Z'", "z_imag": "Z''"}


def impedance(source: Source, path: Path) -> Iterator[Path]:
    """Three columns without a header, one file a spectrum: `NAME.STEPS_BEGUN.csv`.

    Raises:
        InputError: the run has no spectra.
    """
    spectra = source.spectra()
    if not len(spectra):
        raise InputError(f"run {source.facts['run']!r} has no impedance spectra")
    listed = _renamed(_EIS, _IMPEDANCE, set())
    for number in np.unique(spectra["test_id"]):
        points = spectra[spectra["test_id"] == number]
        place = path.with_name(f"{path.stem}.{number}{path.suffix}")
        yield write(place, lambda file, rows=points: _spectrum(file, listed, rows))


def _spectrum(file: Path, listed: list[Field], rows: Batch) -> None:
    writers.write_csv(file, listed, iter([rows]), header=False)


def _yaml(document: dict[str, Any]) -> str:
    yaml: Any = YAML()
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()
