"""Tables as files: csv and Parquet, batch by batch.

Text is written by pyarrow where it is installed (the extra `export`), by plain Python where it is
not; Parquet needs pyarrow.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from daq.errors import InputError
from daq.recorder import metadata
from daq.recorder.columns import Batch, Values
from daq.recorder.fields import Field, tables


def write_csv(
    path: Path, fields: list[Field], batches: Iterator[Batch], *, header: bool = True
) -> None:
    """Text with commas; NaN is an empty cell."""
    with path.open("wb") as file:
        if header:
            file.write((",".join(field.header for field in fields) + "\n").encode())
        write = _csv_by_pyarrow if arrow() else _csv_by_python
        for table in tables(fields, batches):
            write(file, table)


def _csv_by_pyarrow(file: Any, table: dict[str, Values]) -> None:
    csv: Any = importlib.import_module("pyarrow.csv")
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    csv.write_csv(_arrow_table(table), file, options)


def _csv_by_python(file: Any, table: dict[str, Values]) -> None:
    cells = (_texts(values) for values in table.values())
    file.writelines((",".join(row) + "\n").encode() for row in zip(*cells, strict=True))


def _texts(values: Values) -> list[str]:
    if values.dtype.kind != "f":
        return [str(value) for value in values.tolist()]
    # NaN is the one value that differs from itself: an empty cell.
    return [repr(value) if value == value else "" for value in values.tolist()]


def write_parquet(
    path: Path, fields: list[Field], batches: Iterator[Batch], facts: dict[str, Any]
) -> int:
    """Parquet, a row group a batch; NaN is null. `facts` go into its metadata.

    Returns:
        The number of rows.

    Raises:
        InputError: pyarrow is missing, or there are no rows.
    """
    need_arrow("parquet")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    writer, rows = None, 0
    try:
        for table in tables(fields, batches):
            made = _described(_arrow_table(table), fields, facts)
            writer = writer or parquet.ParquetWriter(path, made.schema, **_packed(made.schema))
            writer.write_table(made)
            rows += int(made.num_rows)
    finally:
        if writer:
            writer.close()
    if writer is None:
        raise InputError(f"run {facts['run']!r} has no records yet")
    return rows


def _packed(schema: Any) -> dict[str, Any]:
    """How the columns are stored.

    Measured values hardly repeat: building dictionaries of them costs four fifths of the time and
    makes the file no smaller. With their bytes put plane by plane they pack to two thirds.
    """
    pa: Any = arrow()
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [one.name for one in schema if pa.types.is_string(one.type)],
        "use_byte_stream_split": [one.name for one in schema if pa.types.is_floating(one.type)],
    }


def _arrow_table(table: dict[str, Values]) -> Any:
    """As an arrow table; NaN becomes null."""
    pa = arrow()
    return pa.table({name: _array(pa, values) for name, values in table.items()})


def _array(pa: Any, values: Values) -> Any:
    if values.dtype.kind == "f" and not np.isnan(values).any():
        return pa.array(values)  # as it lies in memory
    return pa.array(values, from_pandas=True)


def _described(table: Any, fields: list[Field], facts: dict[str, Any]) -> Any:
    """The same table with units, descriptions and everything known about the run."""
    described = [table.schema.field(field.header).with_metadata(field.about) for field in fields]
    return table.cast(arrow().schema(described, metadata={metadata.OWN: json.dumps(facts)}))


def need_arrow(fmt: str) -> None:
    """Raise unless pyarrow is there.

    Raises:
        InputError: it is not; what to install.
    """
    if arrow() is None:
        raise InputError(f"{fmt} needs pyarrow", remedy="pip install 'battery-daq[export]'")


def arrow() -> Any:
    """pyarrow, or None where it is not installed."""
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        return None
