"""The tables of a run's files, column by column. HDF5, BDF, csv and parquet all follow this.

The HDF5 side has the layout of battery-data-toolkit 0.4: a compound dataset per table, with the
description of its columns as JSON in the attribute `metadata`. Columns which that toolkit does
not know are described as `extra_columns`. `raw_data` has no text columns: PyTables hands them
back as bytes, which the toolkit's own validation refuses.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.void]
"""Rows of one of the tables below: a structured array."""

Values = npt.NDArray[Any]
"""One column."""


class Batch(Protocol):
    """Columns of the same rows: a structured array, or some of its columns."""

    def __getitem__(self, name: str, /) -> Values:
        """A column, by its name in HDF5."""
        ...

    def __len__(self) -> int:
        """The number of rows."""
        ...


F8, I4, I8 = "<f8", "<i4", "<i8"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        name: in csv and parquet; the journal's name where the journal has it.
        h5: in HDF5; battery-data-toolkit's name where that has one (`standard`).
        bdf: label in Battery Data Format files; empty where BDF has no such quantity.
        derived: how it follows from the journal; empty when it is copied.
        monotonic: never falls from one row to the next.
    """

    name: str
    h5: str
    dtype: str
    unit: str
    description: str
    bdf: str = ""
    standard: bool = False
    required: bool = False
    monotonic: bool = False
    derived: str = ""


def _moved(scope: str, bdf_scope: str, since: str) -> tuple[Column, ...]:
    """The four counters of charge and energy of one scope."""
    derived = f"run counter minus its value at the last record before {since}" if scope else ""
    what = {
        "charge_Ah": ("Ah", "Charge put into the cell", "Charging Capacity / Ah"),
        "discharge_Ah": ("Ah", "Charge taken out of the cell", "Discharging Capacity / Ah"),
        "charge_Wh": ("Wh", "Energy put into the cell", "Charging Energy / Wh"),
        "discharge_Wh": ("Wh", "Energy taken out of the cell", "Discharging Energy / Wh"),
    }
    return tuple(
        Column(
            f"{scope}{name}",
            f"{scope}{name}",
            F8,
            unit,
            f"{text} since the start of {since}; never negative",
            f"{bdf_scope}{bdf}",
            monotonic=not scope,
            derived=derived,
        )
        for name, (unit, text, bdf) in what.items()
    )


# Unix time is not marked as monotonic: a clock that is set back is a fact, not a broken file.
RAW: tuple[Column, ...] = (
    Column("test_time_s", "test_time", F8, "s", "Time since the start of the run",
           "Test Time / s", standard=True, required=True, monotonic=True),
    Column("utc_s", "time", F8, "s", "Unix time, UTC", "Unix Time / s", standard=True),
    Column("voltage_V", "voltage", F8, "V", "Voltage of the cell", "Voltage / V",
           standard=True, required=True),
    Column("current_A", "current", F8, "A", "Current through the cell; charging is positive",
           "Current / A", standard=True, required=True),
    Column("temperature_degC", "temperature", F8, "degC", "Temperature of the cell",
           "Surface Temperature / degC", standard=True),
    Column("chamber_degC", "chamber_degC", F8, "degC", "Temperature of the chamber's air",
           "Ambient Temperature / degC"),
    Column("cycle", "cycle_number", I4, "", "Cycle; 0 before the first one", "Cycle Count / 1",
           standard=True, monotonic=True),
    Column("step", "step_index", I4, "", "Step of the protocol; comes back when a loop does",
           "Step ID", standard=True),
    Column("step_count", "step_count", I4, "", "Steps begun so far in the run; never resets",
           "Step Count / 1", monotonic=True),
    Column("step_record", "step_record", I4, "", "Index of the record in this pass of the step, "
           "from 1", "Step Record Index / 1"),
    Column("step_time_s", "step_time_s", F8, "s", "Time since the start of the step",
           "Step Time / s"),
    *_moved("", "", "the run"),
    *_moved("step_", "Step ", "the step"),
    *_moved("cycle_", "Cycle ", "the cycle"),
    Column("seq", "seq", I8, "", "Sequence number in the journal", monotonic=True),
)  # fmt: skip

EIS: tuple[Column, ...] = (
    Column("test_id", "test_id", I4, "", "Spectrum that the point belongs to: its step_count",
           standard=True, required=True, derived="step_count"),
    Column("test_time_s", "test_time", F8, "s", "Time since the start of the run",
           standard=True, monotonic=True),
    Column("utc_s", "time", F8, "s", "Unix time, UTC", standard=True),
    Column("frequency_Hz", "frequency", F8, "Hz", "Frequency of the excitation",
           "Frequency / Hz", standard=True, required=True),
    Column("z_real_ohm", "z_real", F8, "ohm", "Real part of the impedance",
           "Real Impedance / ohm", standard=True, required=True),
    Column("z_imag_ohm", "z_imag", F8, "ohm", "Imaginary part as measured: capacitive is "
           "negative", "Imaginary Impedance / ohm", standard=True, required=True),
    Column("z_mag_ohm", "z_mag", F8, "ohm", "Magnitude of the impedance",
           "Absolute Impedance / ohm", standard=True, required=True,
           derived="hypot(z_real, z_imag)"),
    Column("z_phase_deg", "z_phase", F8, "deg", "Phase of the impedance", "Phase / deg",
           standard=True, required=True, derived="atan2(z_imag, z_real)"),
    Column("cycle", "cycle_number", I4, "", "Cycle of the run"),
    Column("step", "step_index", I4, "", "Step of the protocol"),
    Column("step_count", "step_count", I4, "", "Steps begun so far in the run", "Step Count / 1"),
    Column("point", "point", I4, "", "Index of the point in its spectrum, as measured"),
    Column("seq", "seq", I8, "", "Sequence number in the journal", monotonic=True),
)  # fmt: skip

CYCLES: tuple[Column, ...] = (
    Column("cycle", "cycle_number", I4, "", "Cycle; 0 before the first one", "Cycle Count / 1",
           standard=True, required=True, monotonic=True),
    Column("start_s", "cycle_start", F8, "s", "Test time of the first record of the cycle",
           standard=True, monotonic=True),
    Column("duration_s", "cycle_duration", F8, "s", "First to last record of the cycle",
           standard=True),
    Column("charge_Ah", "capacity_charge", F8, "Ah", "Charge put in during the cycle",
           standard=True),
    Column("discharge_Ah", "capacity_discharge", F8, "Ah", "Charge taken out during the cycle",
           standard=True),
    Column("charge_Wh", "energy_charge", F8, "Wh", "Energy put in during the cycle",
           standard=True),
    Column("discharge_Wh", "energy_discharge", F8, "Wh", "Energy taken out during the cycle",
           standard=True),
    Column("coulombic_efficiency_pct", "coulomb_efficiency", F8, "%",
           "Charge taken out over charge put in", standard=True),
    Column("energy_efficiency_pct", "energy_efficiency", F8, "%",
           "Energy taken out over energy put in", standard=True),
    Column("charge_mean_V", "charge_V_average", F8, "V", "Energy over charge, charging",
           standard=True),
    Column("discharge_mean_V", "discharge_V_average", F8, "V", "Energy over charge, discharging",
           standard=True),
    Column("max_V", "V_maximum", F8, "V", "Highest voltage of the cycle", standard=True),
    Column("min_V", "V_minimum", F8, "V", "Lowest voltage of the cycle", standard=True),
    Column("max_degC", "temperature_maximum", F8, "degC", "Highest cell temperature",
           standard=True),
    Column("min_degC", "temperature_minimum", F8, "degC", "Lowest cell temperature",
           standard=True),
    Column("end_of_charge_V", "end_of_charge_V", F8, "V",
           "Voltage at the last record of the last step that charged"),
    Column("end_of_discharge_V", "end_of_discharge_V", F8, "V",
           "Voltage at the last record of the last step that discharged"),
)  # fmt: skip


def events(width: int) -> tuple[Column, ...]:
    """Columns of `/events`; `width` is the number of bytes kept for an event's data."""
    return (
        Column("seq", "seq", I8, "", "Sequence number in the journal", monotonic=True),
        Column("utc_s", "time", F8, "s", "Unix time, UTC"),
        Column("test_time_s", "test_time", F8, "s", "Time since the start of the run"),
        Column("kind", "kind", "S24", "", "What happened"),
        Column("data", "data", f"S{max(width, 1)}", "", "Details as JSON, UTF-8"),
    )


def dtype(table: tuple[Column, ...]) -> np.dtype[np.void]:
    """The compound type of a table in HDF5; packed, little-endian."""
    return np.dtype([(column.h5, column.dtype) for column in table])


RAW_DTYPE = dtype(RAW)
EIS_DTYPE = dtype(EIS)
CYCLES_DTYPE = dtype(CYCLES)


def schema(table: tuple[Column, ...]) -> str:
    """The attribute `metadata` of a table: battery-data-toolkit's column schema as JSON."""
    described = {column.h5: _description(column) for column in table if column.standard}
    extra = {column.h5: _description(column) for column in table if not column.standard}
    return json.dumps({"extra_columns": extra, **described})


def _description(column: Column) -> dict[str, Any]:
    kinds = {"f": "float", "i": "integer"}
    derived = f" ({column.derived})" if column.derived else ""
    return {
        "required": column.required,
        "type": kinds.get(np.dtype(column.dtype).kind, "other"),
        "description": f"{column.description}{derived}",
        "units": column.unit or None,
        "monotonic": column.monotonic,
    }
