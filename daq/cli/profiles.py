"""Profiles that are no text: made into the CSV that a protocol brings with it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from daq.errors import InputError
from daq.protocol.files import Convert


def _from_parquet(path: Path) -> str:
    """A Parquet table of two columns as CSV, every number to its last bit."""
    try:
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        remedy = "pip install 'battery-daq[export]', or save the profile as CSV"
        raise InputError(f"{path.name}: reading Parquet needs pyarrow", remedy=remedy) from error
    try:
        table: Any = parquet.read_table(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} is no Parquet file that can be read: {error}") from error
    columns: list[list[float]] = [column.to_pylist() for column in table.columns]
    names: list[str] = table.column_names
    lines = [",".join(names)]
    lines += [",".join(str(value) for value in row) for row in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"


TABLES: Mapping[str, Convert] = {".parquet": _from_parquet}
"""By suffix, for `load_protocol`."""
