"""`daq export`: runs in formats that other tools read, once or as they finish."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from daq.cli.output import DEFAULT_LAB, Json, LabFile, console, data_folder, print_json
from daq.cli.runs import LAST, RunId, origin
from daq.errors import InputError

if TYPE_CHECKING:
    from daq.recorder.watch import Done, Write

ALL = "all"
_FORMATS = "bdf, bdf.parquet, csv, parquet, netcdf, pyprobe, cellpy, impedance; may be repeated."


def add_to(app: typer.Typer) -> None:
    """Register this command."""
    app.command()(export)


def export(
    run: RunId = LAST,
    to: Annotated[list[str] | None, typer.Option(help=f"{_FORMATS} Default: bdf.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path(),
    lake: Annotated[Path | None, typer.Option(help="Data lake to put the run into.")] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write every run as it finishes, until Ctrl-C.")
    ] = False,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Write a run in formats that other tools read; `all` is every closed run."""
    from daq.recorder.export import known_format

    formats = to if to is not None else [] if lake else ["bdf"]
    for name in formats:
        known_format(name)
    if len(formats) > 1 or not out.suffix:  # one format may be given a file's name
        out.mkdir(parents=True, exist_ok=True)
    if watch:
        if run not in (LAST, ALL):
            raise InputError("--watch is for every run", remedy="leave the run out")
        _watch(data_folder(lab) / "runs", _ways(formats, out, lake), out, as_json=as_json)
        return
    files = [str(path) for one in _chosen(run, lab) for path in _once(one, lab, formats, out, lake)]
    _tell(files, as_json=as_json)


def _chosen(run: str, lab: str) -> list[str]:
    """One run, or the closed files of all."""
    if run != ALL:
        return [run]
    return [str(path) for path in sorted((data_folder(lab) / "runs").glob("*.h5"))]


def _once(run: str, lab: str, formats: list[str], out: Path, lake: Path | None) -> Iterator[Path]:
    from daq.recorder.export import export_files

    with origin(run, lab) as (found, name):
        for fmt in formats:
            yield from export_files(found, name, fmt, out)
        if lake is not None:
            yield from _into_lake(found, name, lake)


def _into_lake(found: Any, name: str, lake: Path) -> list[Path]:
    from daq.recorder.lake import add

    if not isinstance(found, Path):
        raise InputError(
            f"{name} has no closed file yet", remedy="a data lake takes runs that have ended"
        )
    return add(found, lake)


def _tell(files: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json({"file": files[0] if files else None, "files": files})
        return
    for file in files or ["nothing to write: it is all there"]:
        console().print(file)


# As they finish.


def _ways(formats: list[str], out: Path, lake: Path | None) -> dict[str, Write]:
    from daq.recorder.export import export_files
    from daq.recorder.lake import add

    def into(fmt: str) -> Write:
        return lambda file: export_files(file, "", fmt, out)

    def into_lake(folder: Path) -> Write:
        return lambda file: add(file, folder)

    ways = {fmt: into(fmt) for fmt in formats}
    return ways | ({f"lake {lake}": into_lake(lake)} if lake else {})


def _watch(runs: Path, ways: dict[str, Write], out: Path, *, as_json: bool) -> None:
    from daq.recorder.watch import PAUSE_S, Watch

    signal.signal(signal.SIGTERM, _end)
    watch = Watch(runs, out, ways)
    while True:
        for done in watch.look():
            _report(done, as_json=as_json)
        time.sleep(PAUSE_S)


def _end(_signal: int, _frame: object) -> None:
    """A service manager's request is an orderly end: what is half written goes."""
    raise SystemExit(0)


def _report(done: Done, *, as_json: bool) -> None:
    """One line a run and format; with --json, one document a line."""
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(done)), flush=True)
        return
    for line in done.files or [done.error or "it is there"]:
        console().print(f"{done.run} {done.to}: {line}", soft_wrap=True)
