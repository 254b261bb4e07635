"""Where the rows of a run are read from: its closed file, or the journal while it runs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from daq.errors import InputError
from daq.journal import JournalReader
from daq.recorder import metadata, sensed
from daq.recorder.chunks import read
from daq.recorder.columns import Batch, Rows
from daq.recorder.derive import CycleFold, Deriver, event_rows, journal_rows, spectrum_rows
from daq.recorder.layout import h5py

_BATCH = 65_536  # rows


class Source(Protocol):
    """One run's data, whatever they are read from."""

    @property
    def facts(self) -> dict[str, Any]:
        """What is known about the run: `metadata.run_facts`."""
        ...

    def batches(self) -> Iterator[Rows]:
        """Rows of `/raw_data`, in order; no batch is empty."""
        ...

    def columns(self, names: Sequence[str]) -> Iterator[Batch]:
        """The same rows, at least the named columns of them; the fastest way to read a few."""
        ...

    def spectra(self) -> Rows:
        """Rows of `/eis_data`."""
        ...

    def cycles(self) -> Rows:
        """Rows of `/cycle_stats`."""
        ...

    def events(self) -> Rows:
        """Rows of `/events`."""
        ...

    def sensors(self) -> tuple[str, ...]:
        """The auxiliary sensors that were read in the run."""
        ...

    def sensor_rows(self) -> Iterator[Batch]:
        """Rows of `/sensors`, in order; nothing where no sensor was read."""
        ...


class JournalSource:
    """A run as the journal has it now.

    Raises:
        InputError: the journal has no such run.
    """

    def __init__(self, reader: JournalReader, run: str) -> None:
        info = reader.run(run)
        if info is None:
            raise unknown_run(run, [known.id for known in reader.runs()])
        if not isnan(info.pruned_utc_s):
            raise InputError(
                f"the records of {run} are not in the journal any more",
                remedy=f"name its closed file: daq export .../{run}.h5",
            )
        self._reader = reader
        self._run = info
        self._events = reader.events(run, sensed.ALL_OTHERS)
        self.facts = metadata.run_facts(info, self._events)

    def batches(self) -> Iterator[Rows]:
        """Rows of `/raw_data`, in order; no batch is empty."""
        deriver = Deriver()
        for rows in self._reader.measured_rows(self._run.id):
            yield deriver.derive(journal_rows(rows))

    def columns(self, names: Sequence[str]) -> Iterator[Batch]:
        """The same: the journal has them all at hand."""
        del names
        return self.batches()

    def spectra(self) -> Rows:
        """Rows of `/eis_data`."""
        return spectrum_rows(self._events)

    def cycles(self) -> Rows:
        """Rows of `/cycle_stats`."""
        fold = CycleFold()
        for rows in self.batches():
            fold.add(rows)
        return fold.rows()

    def events(self) -> Rows:
        """Rows of `/events`."""
        return event_rows(self._events)

    def sensors(self) -> tuple[str, ...]:
        """The auxiliary sensors that were read in the run so far."""
        return sensed.names(self._reader, self._run.id)

    def sensor_rows(self) -> Iterator[Batch]:
        """Rows of `/sensors`, in order; nothing where no sensor was read."""
        return sensed.batches(self._reader, self._run.id, self.sensors())


class FileSource:
    """A closed file.

    Raises:
        InputError: the file is missing, or is not a closed file of this program.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.is_file():
            raise InputError(f"there is no file {path}", remedy="`daq runs` lists what there is")
        if not h5py.is_hdf5(path):
            raise InputError(
                f"{path} cannot be read as a closed run: it is no HDF5 file, or damaged"
            )
        try:
            with h5py.File(path, "r") as file:
                attributes: Any = file.attrs
                whole = json.loads(attributes["metadata"])
                closed = attributes["state"] == "closed"
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} cannot be read as a closed run: {error}") from error
        if not closed or metadata.OWN not in whole:
            raise InputError(f"{path} is not a closed file of battery-daq")
        self.facts = cast("dict[str, Any]", whole[metadata.OWN])

    def batches(self) -> Iterator[Rows]:
        """Rows of `/raw_data`, in order; no batch is empty."""
        with h5py.File(self._path, "r") as file:
            table: Any = file["raw_data"]
            for start in range(0, len(table), _BATCH):
                yield table[start : start + _BATCH]

    def columns(self, names: Sequence[str]) -> Iterator[Batch]:
        """Some columns of `/raw_data`, in order."""
        return read(self._path, "raw_data", names)

    def spectra(self) -> Rows:
        """Rows of `/eis_data`."""
        return self._whole("eis_data")

    def cycles(self) -> Rows:
        """Rows of `/cycle_stats`."""
        return self._whole("cycle_stats")

    def events(self) -> Rows:
        """Rows of `/events`."""
        return self._whole("events")

    def sensors(self) -> tuple[str, ...]:
        """The auxiliary sensors that were read in the run."""
        with h5py.File(self._path, "r") as file:
            if "sensors" not in file:
                return ()
            table: Any = file["sensors"]
            return sensed.sensors_in(table.dtype.names)

    def sensor_rows(self) -> Iterator[Batch]:
        """Rows of `/sensors`, in order; nothing where no sensor was read."""
        if not (found := self.sensors()):
            return iter(())
        return read(self._path, "sensors", [column.h5 for column in sensed.table(found)])

    def rows(self) -> int:
        """The number of rows of `/raw_data`."""
        with h5py.File(self._path, "r") as file:
            table: Any = file["raw_data"]
            return len(table)

    def _whole(self, name: str) -> Rows:
        with h5py.File(self._path, "r") as file:
            table: Any = file[name]
            return np.asarray(table[:])


def open_source(origin: JournalReader | Path, run: str = "") -> Source:
    """The data of one run.

    Args:
        origin: a closed HDF5 file, or a journal.
        run: id of the run; not needed for a file.

    Raises:
        InputError: no such run, or not such a file.
    """
    if isinstance(origin, JournalReader):
        return JournalSource(origin, run)
    return FileSource(origin)


def locate(run: str, folder: Path, reader: JournalReader) -> JournalReader | Path:
    """The closed file of a run when there is one, else the journal.

    Raises:
        InputError: neither knows the run.
    """
    path = folder / f"{run}.h5"
    if path.parent == folder and path.is_file():
        return path
    if reader.run(run) is None:
        raise unknown_run(run, [known.id for known in reader.runs()])
    return reader


def unknown_run(run: str, known: list[str]) -> InputError:
    """The error for a run that nobody knows, with the nearest ones that are known."""
    near = difflib.get_close_matches(run, known, n=3, cutoff=0.5) or known[-3:]
    remedy = f"did you mean {', '.join(near)}?" if near else "there are no runs yet"
    return InputError(f"there is no run {run!r}", remedy=remedy)
