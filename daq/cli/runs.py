"""Commands on what was recorded: runs, plot."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Annotated, Any

import typer

from daq.cli.output import DEFAULT_LAB, Json, LabFile, console, data_folder, near, print_json
from daq.cli.tables import Column, fitted, show
from daq.errors import InputError
from daq.journal import JournalReader
from daq.model import RunInfo

_COLUMNS = ("run", "station", "cell", "protocol", "started", "outcome", "file")
LAST = "last"
_RUN = re.compile(r"-\d{8}-\d{3,}$")
_FILE = re.compile(r"[/\\]|\.[A-Za-z]\w{0,9}$")
"""What looks like a file: no id of a run has a folder, nor the ending of one."""
RunId = Annotated[str, typer.Argument(help="Id of the run, from `daq runs`; or a .h5 file.")]


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(runs)
    app.command()(plot)


def runs(lab: LabFile = DEFAULT_LAB, as_json: Json = False) -> None:
    """List the runs of a lab, oldest first."""
    folder = data_folder(lab)
    with JournalReader(_need_journal(folder)) as journal:
        rows = [_row(folder, info) for info in journal.runs()]
    if as_json:
        print_json(rows)
        return
    ranks = {"file": 2, "protocol": 1}  # the file is <data>/runs/<run>.h5
    for row in rows:
        row["file"] = row["file"] and near(Path(row["file"]))
    columns = [Column(name, [row[name] for row in rows], ranks.get(name, 0)) for name in _COLUMNS]
    show(fitted(columns, console().width))


def _row(folder: Path, info: RunInfo) -> dict[str, Any]:
    closed = folder / "runs" / f"{info.id}.h5"
    live = closed.with_suffix(".h5.part")
    return {
        "run": info.id,
        "station": info.station,
        "cell": info.cell,
        "protocol": info.protocol,
        "started": _moment(info.started_utc_s),
        "outcome": info.outcome or "running",
        "file": next((str(path) for path in (closed, live) if path.exists()), None),
    }


def _moment(utc_s: float) -> str:
    if isnan(utc_s):
        return "-"
    return datetime.fromtimestamp(utc_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def plot(
    run: RunId = LAST,
    out: Annotated[Path | None, typer.Option(help="The PNG; default: RUN.png here.")] = None,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Draw voltage, current and temperature over time, and the spectrum if there is one."""
    from daq.recorder.plot import plot as plot_run

    with origin(run, lab) as (found, name):
        path = plot_run(found, out or Path(f"{Path(name).stem}.png"), name)
    print_json({"file": str(path)}) if as_json else console().print(str(path))


@contextmanager
def origin(run: str, lab: str) -> Generator[tuple[Path | JournalReader, str]]:
    """Where a run is read from, and its id: its closed file, or the journal until there is one."""
    from daq.recorder.source import locate

    if run.endswith(".h5"):
        yield Path(run), run
        return
    if _is_file(run):
        raise InputError(
            f"{run} is neither the id of a run nor a .h5 file",
            remedy="give an id, from `daq runs`, or the file of a run, such as data/runs/RUN.h5",
        )
    folder = data_folder(lab)
    with JournalReader(_need_journal(folder)) as reader:
        name = _newest(reader) if run == LAST else run
        yield locate(name, folder / "runs", reader), name


def _is_file(run: str) -> bool:
    named = run != LAST and not _RUN.search(run) and Path(run).exists()
    return named or _FILE.search(run) is not None


def _newest(reader: JournalReader) -> str:
    runs = reader.runs()
    if not runs:
        raise InputError("there are no runs yet")
    return runs[-1].id


def _need_journal(folder: Path) -> Path:
    path = folder / "journal.sqlite"
    if not path.exists():
        raise InputError(f"there is no journal in {folder}", remedy="has `daq serve` run here?")
    return path
