"""Runs as files for other tools; everything is done by column and by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daq.errors import InputError
from daq.journal import JournalReader
from daq.recorder import bdf, columns, profiles, sensed, writers
from daq.recorder.atomic import write
from daq.recorder.columns import Batch
from daq.recorder.fields import Field, needed, plain
from daq.recorder.netcdf import netcdf
from daq.recorder.source import Source, open_source


def export(origin: JournalReader | Path, run: str, fmt: str, out: Path) -> Path:
    """Write one run in another format; the first of the files of `export_files`."""
    return export_files(origin, run, fmt, out)[0]


def export_files(origin: JournalReader | Path, run: str, fmt: str, out: Path) -> list[Path]:
    """Write one run in another format; files that stand there are replaced.

    Args:
        origin: the run's closed HDF5 file, or the journal (for a run that is not closed yet).
        run: id of the run; may be empty for an HDF5 file.
        fmt: one of `FORMATS`.
        out: an existing folder, where the format's own naming rule applies, or a file.

    Returns:
        The files that were written, the run's own first: spectra and what a tool wants to have
        beside it come after.

    Raises:
        InputError: no such run, no such format, or a package is missing that the format needs.
        OSError: the disk is full, or failed.
    """
    form = known_format(fmt)
    source = open_source(origin, run)
    path = out / form.name(source) if out.is_dir() else out
    path.parent.mkdir(parents=True, exist_ok=True)
    return list(form.write(source, path))


def known_format(fmt: str) -> Format:
    """A format by its name.

    Raises:
        InputError: there is none of that name; which there are.
    """
    if fmt not in FORMATS:
        raise InputError(f"there is no format {fmt!r}", remedy=f"one of {', '.join(FORMATS)}")
    return FORMATS[fmt]


@dataclass(frozen=True, slots=True)
class Format:
    """How a format names its file, and how it is written.

    Attributes:
        ending: of the file's name.
        naming: the file's name for a run, given the ending.
        write: writes the run to a path and whatever belongs to it beside it; what was written.
    """

    ending: str
    naming: Callable[[Source, str], str]
    write: Callable[[Source, Path], Iterator[Path]]

    def name(self, source: Source) -> str:
        """The file's name in a folder."""
        return self.naming(source, self.ending)


def _run_name(source: Source, ending: str) -> str:
    # A file that somebody else made may call its run anything.
    return f"{Path(str(source.facts['run'])).name or 'run'}.{ending}"


def _raw(_source: Source) -> list[Field]:
    return plain(columns.RAW)


def _table(
    chosen: Callable[[Source], list[Field]], as_parquet: bool
) -> Callable[[Source, Path], Iterator[Path]]:
    """A writer of a run as one table, and of its spectra and sensors as others beside it."""

    def write_all(source: Source, path: Path) -> Iterator[Path]:
        listed = chosen(source)
        yield _write(path, listed, source.columns(needed(listed)), source, as_parquet)
        spectra = source.spectra()
        if len(spectra):
            beside = _beside(path, "eis")
            yield _write(beside, plain(columns.EIS), iter([spectra]), source, as_parquet)
        if sensors := source.sensors():
            listed = plain(sensed.table(sensors))
            beside = _beside(path, "sensors")
            yield _write(beside, listed, source.sensor_rows(), source, as_parquet)

    return write_all


def _beside(path: Path, table: str) -> Path:
    stem = path.name.removesuffix(path.suffix).removesuffix(".bdf")
    return path.with_name(f"{stem}.{table}{path.suffix}")


def _write(
    path: Path, listed: list[Field], batches: Iterator[Batch], source: Source, as_parquet: bool
) -> Path:
    def fill(file: Path) -> None:
        if as_parquet:
            writers.write_parquet(file, listed, batches, source.facts)
        else:
            writers.write_csv(file, listed, batches)

    return write(path, fill)


def _own_folder(source: Source, ending: str) -> str:
    """A folder for each run: PyProBE wants a file of one name beside each table."""
    run = Path(_run_name(source, ending)).stem
    return f"{run}.pyprobe/{run}.{ending}"


FORMATS = {
    "bdf": Format("bdf.csv", bdf.name, _table(bdf.fields, False)),
    "bdf.parquet": Format("bdf.parquet", bdf.name, _table(bdf.fields, True)),
    "csv": Format("csv", _run_name, _table(_raw, False)),
    "parquet": Format("parquet", _run_name, _table(_raw, True)),
    "netcdf": Format("nc", _run_name, netcdf),
    "pyprobe": Format("parquet", _own_folder, profiles.pyprobe),
    "cellpy": Format("cellpy.csv", _run_name, profiles.cellpy),
    "impedance": Format("csv", _run_name, profiles.impedance),
}
"""What `daq export --to` takes."""
