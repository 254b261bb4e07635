"""The tables' columns, against the toolkit whose layout they follow."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from battdat.schemas.column import ColumnSchema, CycleLevelData, RawData
from battdat.schemas.eis import EISData

from daq.journal import RECORD_COLUMNS
from daq.recorder import columns
from daq.recorder.columns import Column

TABLES = {
    "raw_data": (columns.RAW, RawData()),
    "eis_data": (columns.EIS, EISData()),
    "cycle_stats": (columns.CYCLES, CycleLevelData()),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_standard_column_is_one_of_the_toolkits_with_its_type(name: str) -> None:
    table, toolkit = TABLES[name]
    for column in (c for c in table if c.standard):
        kind = {"f": "float", "i": "integer"}[np.dtype(column.dtype).kind]
        assert toolkit[column.h5].type.value == kind, column.name


@pytest.mark.parametrize("name", TABLES)
def test_every_column_that_the_toolkit_requires_is_there(name: str) -> None:
    table, toolkit = TABLES[name]
    required = {key for key, info in toolkit.columns.items() if info.required}
    assert required <= {column.h5 for column in table if column.required and column.standard}


@pytest.mark.parametrize("name", TABLES)
def test_the_schema_describes_every_column_and_the_toolkit_reads_it(name: str) -> None:
    table, _ = TABLES[name]
    schema = ColumnSchema.from_json(columns.schema(table))
    assert set(schema.column_names) == {column.h5 for column in table}
    for column in table:
        assert schema[column.h5].description.startswith(column.description)
        assert schema[column.h5].units == (column.unit or None)
    schema.validate_dataframe(pd.DataFrame(np.zeros(3, columns.dtype(table))), False)


def test_raw_data_has_no_text_columns() -> None:
    assert {np.dtype(column.dtype).kind for column in columns.RAW} == {"f", "i"}


def test_every_journal_column_but_station_and_run_is_copied() -> None:
    copied = {column.name for column in columns.RAW if not column.derived}
    assert copied == {*RECORD_COLUMNS, "seq"} - {"station", "run"}


@pytest.mark.parametrize("table", [columns.RAW, columns.EIS, columns.CYCLES, columns.events(8)])
def test_no_name_stands_twice(table: tuple[Column, ...]) -> None:
    for names in ([c.name for c in table], [c.h5 for c in table], [c.bdf for c in table if c.bdf]):
        assert len(names) == len(set(names))


def test_a_quantity_with_a_unit_carries_it_in_its_exported_name() -> None:
    endings = {"s": "_s", "V": "_V", "A": "_A", "degC": "_degC", "Ah": "_Ah", "Wh": "_Wh"}
    endings |= {"Hz": "_Hz", "ohm": "_ohm", "deg": "_deg", "%": "_pct"}
    for column in (*columns.RAW, *columns.EIS, *columns.CYCLES):
        if column.unit:
            assert column.name.endswith(endings[column.unit])
