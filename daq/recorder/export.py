"""Runs as files for other tools: Battery Data Format, csv, parquet.

Everything is done by column and by batch. Text is written by pyarrow where it is installed
(the extra `export`), by plain Python where it is not; parquet needs pyarrow.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from daq.errors import InputError
from daq.journal import JournalReader
from daq.recorder import columns, metadata
from daq.recorder.columns import Column, Rows
from daq.recorder.source import Source, open_source

Values = npt.NDArray[Any]

BDF_ONTOLOGY = "1.3.0"
_BDF_STEP_TYPES = {
    "rest": "REST",
    "charge": "CC_CHG",
    "discharge": "CC_DCH",
    "hold": "CV_CHG",
    "cccv": "CCCV_CHG",
    "chamber": "REST",
    "eis": "EIS",
}
_MAY_BE_ABSENT = {"temperature", "chamber_degC"}  # left out of BDF when nothing measured them


@dataclass(frozen=True, slots=True)
class _Field:
    """One column of an export: its header, and its values from rows of `/raw_data`.

    `values` is also given the number of rows before these.
    """

    header: str
    values: Callable[[Rows, int], Values]
    about: dict[str, str]


def export(origin: JournalReader | Path, run: str, fmt: str, out: Path) -> Path:
    """Write one run in another format; a file that stands there is replaced.

    Beside it goes `NAME.eis.csv` (or `.eis.parquet`) when the run has impedance spectra.

    Args:
        origin: the run's closed HDF5 file, or the journal (for a run that is not closed yet).
        run: id of the run; may be empty for an HDF5 file.
        fmt: one of `FORMATS`.
        out: an existing folder, where the format's own naming rule applies, or a file.

    Returns:
        The file that was written.

    Raises:
        InputError: no such run, no such format, or pyarrow is missing for parquet.
    """
    if fmt not in FORMATS:
        raise InputError(f"there is no format {fmt!r}", remedy=f"one of {', '.join(FORMATS)}")
    form = FORMATS[fmt]
    source = open_source(origin, run)
    path = out / form.name(source) if out.is_dir() else out
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, form.write, form.fields(source), source.batches(), source)
    spectra = source.spectra()
    if len(spectra):
        beside = path.with_name(f"{_stem(path)}.eis{path.suffix}")
        _replace(beside, form.write, _plain(columns.EIS), iter([spectra]), source)
    return path


def _replace(path: Path, write: Callable[..., None], *arguments: Any) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.touch(exist_ok=False)  # never through a link that lies in wait in a shared folder
    try:
        write(temporary, *arguments)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".bdf")


# The columns of each format.


def _plain(table: tuple[Column, ...]) -> list[_Field]:
    return [_copied(column, column.name) for column in table]


def _copied(column: Column, header: str) -> _Field:
    about = {"unit": column.unit, "description": column.description}
    return _Field(header, lambda rows, _: rows[column.h5], about)


def _bdf(source: Source) -> list[_Field]:
    """Required, recommended, then optional quantities; `Step ID` is the step of the protocol."""
    absent = _absent(source)
    copied = {
        column.h5: _copied(column, column.bdf)
        for column in columns.RAW
        if column.bdf and column.h5 not in absent
    }
    first = ("test_time", "voltage", "current", "time", "cycle_number", "step_count")
    order = [*first, "chamber_degC", *copied]
    fields = [copied[name] for name in dict.fromkeys(order) if name in copied]
    return [*fields, _record_index(), _step_type(source)]


def _absent(source: Source) -> set[str]:
    absent = set(_MAY_BE_ABSENT)
    for rows in source.batches():
        absent = {name for name in absent if bool(np.isnan(rows[name]).all())}
        if not absent:
            break
    return absent


def _record_index() -> _Field:
    def values(rows: Rows, before: int) -> Values:
        return np.arange(before + 1, before + len(rows) + 1)

    return _Field("Record Index / 1", values, {"description": "Index of the record, from 1"})


def _step_type(source: Source) -> _Field:
    kinds = metadata.step_kinds(source.facts)
    last = max(kinds, default=0)
    names = np.array([_BDF_STEP_TYPES.get(kinds.get(n, ""), "") for n in range(last + 2)])

    def values(rows: Rows, _before: int) -> Values:
        return names[np.clip(rows["step_index"], 0, last + 1)]

    return _Field("Step Type", values, {"description": "Kind of the step"})


# The file name rules.


def _bdf_name(source: Source, ending: str) -> str:
    """`Institution__Cell__YYYYMMDD_XXX`; XXX is the time of day, so no two runs share a name."""
    facts = source.facts
    lab = _clean(metadata.section(facts, "lab").get("name") or "lab")
    cell = _clean(metadata.section(facts, "cell").get("id") or "cell")
    started = datetime.fromtimestamp(facts["started_utc_s"], UTC)
    return f"{lab}__{cell}__{started:%Y%m%d_%H%M%S}.{ending}"


def _clean(name: object) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", str(name))


def _run_name(source: Source, ending: str) -> str:
    # A file that somebody else made may call its run anything.
    return f"{Path(str(source.facts['run'])).name or 'run'}.{ending}"


# Writers: path, fields, batches, source.


def _write_csv(path: Path, fields: list[_Field], batches: Iterator[Rows], _source: Source) -> None:
    with path.open("wb") as file:
        file.write((",".join(field.header for field in fields) + "\n").encode())
        write = _csv_by_pyarrow if _pyarrow() else _csv_by_python
        for table in _tables(fields, batches):
            write(file, table)


def _tables(fields: list[_Field], batches: Iterator[Rows]) -> Iterator[dict[str, Values]]:
    before = 0
    for rows in batches:
        yield {field.header: field.values(rows, before) for field in fields}
        before += len(rows)


def _csv_by_pyarrow(file: Any, table: dict[str, Values]) -> None:
    csv: Any = importlib.import_module("pyarrow.csv")
    options = csv.WriteOptions(include_header=False, quoting_style="none")
    csv.write_csv(_arrow(table), file, options)


def _csv_by_python(file: Any, table: dict[str, Values]) -> None:
    cells = (_texts(values) for values in table.values())
    file.writelines((",".join(row) + "\n").encode() for row in zip(*cells, strict=True))


def _texts(values: Values) -> list[str]:
    if values.dtype.kind != "f":
        return [str(value) for value in values.tolist()]
    # NaN is the one value that differs from itself: an empty cell.
    return [repr(value) if value == value else "" for value in values.tolist()]


def _write_parquet(
    path: Path, fields: list[_Field], batches: Iterator[Rows], source: Source
) -> None:
    pa = _pyarrow()
    if pa is None:
        raise InputError("parquet needs pyarrow", remedy="pip install 'battery-daq[export]'")
    parquet: Any = importlib.import_module("pyarrow.parquet")
    writer = None
    try:
        for table in _tables(fields, batches):
            made = _described(pa, _arrow(table), fields, source)
            writer = writer or parquet.ParquetWriter(path, made.schema, compression="zstd")
            writer.write_table(made)
    finally:
        if writer:
            writer.close()
    if writer is None:
        raise InputError(f"run {source.facts['run']!r} has no records yet")


def _arrow(table: dict[str, Values]) -> Any:
    """As an arrow table; NaN becomes null."""
    pa = _pyarrow()
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in table.items()})


def _described(pa: Any, table: Any, fields: list[_Field], source: Source) -> Any:
    """The same table with units, descriptions and everything known about the run."""
    described = [table.schema.field(field.header).with_metadata(field.about) for field in fields]
    return table.cast(pa.schema(described, metadata={metadata.OWN: json.dumps(source.facts)}))


def _pyarrow() -> Any:
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        return None


@dataclass(frozen=True, slots=True)
class _Format:
    """How a format names its file, which columns it has, and how it is written."""

    ending: str
    naming: Callable[[Source, str], str]
    fields: Callable[[Source], list[_Field]]
    write: Callable[[Path, list[_Field], Iterator[Rows], Source], None]

    def name(self, source: Source) -> str:
        return self.naming(source, self.ending)


def _raw(_source: Source) -> list[_Field]:
    return _plain(columns.RAW)


FORMATS = {
    "bdf": _Format("bdf.csv", _bdf_name, _bdf, _write_csv),
    "bdf.parquet": _Format("bdf.parquet", _bdf_name, _bdf, _write_parquet),
    "csv": _Format("csv", _run_name, _raw, _write_csv),
    "parquet": _Format("parquet", _run_name, _raw, _write_parquet),
}
"""What `daq export --to` takes."""
