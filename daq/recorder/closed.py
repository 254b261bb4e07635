"""The closed file, `RUN.h5`: written once from the journal, read back, hashed, and left alone.

The work is a generator that stops for breath after every batch, so that one long run's file is
written between the polls of the others.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from daq.errors import DaqError
from daq.journal import JournalReader
from daq.model import RunInfo
from daq.recorder import columns, derive, sensed
from daq.recorder.columns import Rows
from daq.recorder.hashes import digested, hash_file, hash_line
from daq.recorder.layout import RunFile, h5py
from daq.recorder.room import require_room

CHUNK = 4096  # rows; about 0.8 MB, small enough to read a part of a run
_BATCH = 2 * CHUNK  # whole chunks: one that is written in two parts is packed twice
PACKED: dict[str, Any] = {"shuffle": True, "compression": "gzip", "compression_opts": 1}
"""How tables are stored; `chunks` reads columns out of what is stored so."""


class NotAsWritten(DaqError):  # noqa: N818 - named like the other errors
    """What was read back from a new file is not what the journal says."""


def write_closed(reader: JournalReader, run: str, folder: Path) -> Iterator[None]:
    """Make `RUN.h5` and `RUN.h5.sha256`, a batch at each turn; remove `RUN.h5.part`.

    An existing `RUN.h5` is never touched.

    Raises:
        OSError: the disk is full, or failed.
        NotAsWritten: the new file did not read back as the journal.
    """
    final, part = folder / f"{run}.h5", folder / f"{run}.h5.part"
    temporary = folder / f"{run}.h5.tmp"
    info = reader.run(run)
    if not final.exists() and info is not None:
        require_room(folder, part.stat().st_size if part.exists() else 0)
        temporary.unlink(missing_ok=True)
        written = yield from _write(temporary, reader, info)
        yield from _compare(temporary, written)
        yield from _publish(temporary, final)
    part.unlink(missing_ok=True)


class _Tables(NamedTuple):
    """What was written: of the rows only their digests, batch by batch, because they are many."""

    raw: list[tuple[int, bytes]]
    spectra: Rows
    events: Rows
    sensors: list[tuple[int, bytes]]


def _write(path: Path, reader: JournalReader, run: RunInfo) -> Generator[None, None, _Tables]:
    events = reader.events(run.id, sensed.ALL_OTHERS)
    tables = _Tables([], derive.spectrum_rows(events), derive.event_rows(events), [])
    with RunFile(path, "closed") as file:
        file.describe(run, events)
        raw = file.table("raw_data", columns.RAW, chunks=(CHUNK,), **PACKED)
        fold = derive.CycleFold()
        for rows in _raw_rows(reader, run):
            raw.append(rows)
            fold.add(rows)
            tables.raw.append((len(rows), _digest(rows)))
            yield
        _small(file, "eis_data", columns.EIS, tables.spectra)
        _small(file, "cycle_stats", columns.CYCLES, fold.rows())
        width = tables.events.dtype["data"].itemsize
        _small(file, "events", columns.events(width), tables.events)
        yield from _sensors(file, reader, run.id, tables.sensors)
    yield
    return tables


def _sensors(
    file: RunFile, reader: JournalReader, run: str, digests: list[tuple[int, bytes]]
) -> Iterator[None]:
    """The table of auxiliary sensors, where there were any."""
    if not (names := sensed.names(reader, run)):
        return
    yield
    table = file.table("sensors", sensed.table(names), chunks=(CHUNK,), **PACKED)
    for rows in sensed.batches(reader, run, names):
        table.append(rows)
        digests.append((len(rows), _digest(rows)))
        yield


def _raw_rows(reader: JournalReader, run: RunInfo) -> Iterator[Rows]:
    deriver = derive.Deriver()
    for rows in reader.measured_rows(run.id, batch=_BATCH):
        yield deriver.derive(derive.journal_rows(rows))


def _digest(rows: Any) -> bytes:
    return hashlib.sha256(np.asarray(rows).tobytes()).digest()


def _small(file: RunFile, name: str, table: tuple[columns.Column, ...], rows: Rows) -> None:
    chunks = (max(1, min(len(rows), 1024)),)
    file.table(name, table, chunks=chunks, **PACKED).append(rows)


def _compare(path: Path, written: _Tables) -> Iterator[None]:
    """Read the file back, and demand the same bytes in every row."""
    with h5py.File(path, "r") as file:
        tables: Any = file
        yield from _same_batches(path, "raw_data", tables, written.raw)
        if written.sensors:
            yield from _same_batches(path, "sensors", tables, written.sensors)
        _same(path, "eis_data", written.spectra, tables["eis_data"][:])
        _same(path, "events", written.events, tables["events"][:])


def _same_batches(
    path: Path, table: str, tables: Any, digests: list[tuple[int, bytes]]
) -> Iterator[None]:
    found, start = tables[table], 0
    for count, digest in digests:
        if _digest(found[start : start + count]) != digest:
            raise NotAsWritten(f"{path}: /{table} differs from the journal")
        start += count
        yield
    _same_count(path, table, start, len(found))


def _same(path: Path, table: str, expected: Rows, found: Any) -> None:
    if expected.tobytes() != np.asarray(found).tobytes():
        raise NotAsWritten(f"{path}: /{table} differs from the journal")


def _same_count(path: Path, table: str, expected: int, found: int) -> None:
    if expected != found:
        raise NotAsWritten(f"{path}: /{table} has {found} rows, the journal {expected}")


def _publish(temporary: Path, final: Path) -> Iterator[None]:
    """Make the file durable, and only then visible under its name."""
    _fsync(temporary)
    digest = hashlib.sha256()
    yield from digested(temporary, digest)
    temporary.chmod(0o444)
    _write_hash(hash_file(final), hash_line(digest.hexdigest(), final))
    _rename_new(temporary, final)
    _fsync(final.parent)


def _write_hash(path: Path, line: str) -> None:
    # Before the file itself has its name: a closed file without its hash is never seen.
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.write_text(line, encoding="ascii")
    temporary.chmod(0o444)
    _fsync(temporary)
    temporary.replace(path)


def _rename_new(temporary: Path, final: Path) -> None:
    """Rename, and fail where there is a file already."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if final.exists():
            raise
        temporary.rename(final)
        return
    temporary.unlink()


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
