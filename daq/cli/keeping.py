"""Commands on what is kept: are the closed files what was written, may the journal be shorter."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from daq.cli.output import DEFAULT_LAB, Json, LabFile, console, data_folder, print_json
from daq.errors import DaqError, InputError
from daq.journal import JournalReader, Pruned, prune
from daq.model import RunInfo
from daq.recorder.hashes import GOOD, judged
from daq.units import TIME, parse

EVERYTHING = 2**62
"""Where nobody is to publish it, everything counts as published."""
journal_app = typer.Typer(help="Look after the journal.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register this group."""
    app.command()(verify)
    app.add_typer(journal_app, name="journal")


def verify(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs or .h5 files; all.")] = None,
    lake: Annotated[Path | None, typer.Option(help="Instead: what is in a data lake.")] = None,
    lab: LabFile = DEFAULT_LAB,
    as_json: Json = False,
) -> None:
    """Compare closed files with the hashes that were written beside them."""
    found = _in_lake(lake) if lake else {path: _judged(path) for path in _files(runs or [], lab)}
    if as_json:
        print_json({str(path): verdict for path, verdict in found.items()})
    else:
        for path, verdict in found.items():
            console().print(f"{path}: {verdict}", soft_wrap=True)
    bad = [path.name for path, verdict in found.items() if verdict != GOOD]
    if bad:
        raise DaqError(f"not good: {', '.join(bad)}")


def _judged(path: Path) -> str:
    """Of a run that never was, the run is missing, and not its hash."""
    return judged(path) if path.exists() else f"{path.name} is missing"


def _in_lake(lake: Path) -> dict[Path, str]:
    from daq.recorder.lake import verify as verify_lake

    return {Path(path): verdict for path, verdict in verify_lake(lake).items()}


def _files(runs: list[str], lab: str) -> list[Path]:
    if runs and all(name.endswith(".h5") for name in runs):
        return [Path(name) for name in runs]
    folder = data_folder(lab) / "runs"
    if not runs:
        return sorted(folder.glob("*.h5"))
    return [Path(name) if name.endswith(".h5") else folder / f"{name}.h5" for name in runs]


@journal_app.command("prune")
def prune_journal(
    older_than: Annotated[str, typer.Option(help="Only runs that ended so long ago: 90 d.")],
    lab: LabFile = DEFAULT_LAB,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove from the journal the records of runs whose closed file is good and published.

    The daemon must not run. Idle stations' records of that age go, too. Events stay.
    """
    from daq.control.lock import locked
    from daq.labreader import load_lab

    checked = load_lab(Path(lab))
    data, before_utc_s = checked.data, time.time() - _seconds(older_than)
    with locked(data):
        published = EVERYTHING if checked.mqtt.broker == "none" else _published(data)
        verdicts = _verdicts(data, before_utc_s, published)
        going = [run for run, why_not in verdicts.items() if not why_not]
        done = Pruned(0, 0, 0)
        if not dry_run:
            done = prune(data / "journal.sqlite", going, before_utc_s, published)
    _tell(verdicts, done, dry_run=dry_run, as_json=as_json)


def _seconds(text: str) -> float:
    seconds = parse(text, TIME)
    if seconds <= 0.0:
        raise InputError(f"--older-than {text} is not a time")
    return seconds


def _published(data: Path) -> int:
    """Everything up to this number has been published."""
    from daq.gateway.cursor import Cursor

    if not (data / "gateway.cursor").exists():
        return 0
    cursor = Cursor(data / "gateway.cursor")
    try:
        gap = cursor.oldest_gap()
        return min(cursor.live, gap.after) if gap else cursor.live
    finally:
        cursor.close()


def _verdicts(data: Path, before_utc_s: float, published: int) -> dict[str, str]:
    """Run -> why it must stay; empty when it may go."""
    with JournalReader(data / "journal.sqlite") as journal:
        return {
            info.id: _why_not(journal, data / "runs" / f"{info.id}.h5", info, published)
            for info in journal.runs()
            if info.ended_utc_s < before_utc_s and not info.pruned_utc_s > 0.0
        }


def _why_not(journal: JournalReader, file: Path, info: RunInfo, published: int) -> str:
    if journal.last_of(info.id) > published:
        return "not all of it has been published"
    verdict = judged(file)
    return "" if verdict == GOOD else f"{file.name}: {verdict}"


def _tell(verdicts: dict[str, str], done: Pruned, *, dry_run: bool, as_json: bool) -> None:
    document: dict[str, Any] = {
        "runs": [run for run, why_not in verdicts.items() if not why_not],
        "kept": {run: why_not for run, why_not in verdicts.items() if why_not},
        "records": done.records,
        "bytes": done.bytes,
    }
    if as_json:
        print_json(document)
        return
    for run, why_not in verdicts.items():
        console().print(f"{run}: {why_not and f'stays: {why_not}' or 'may go'}")
    if not dry_run:
        console().print(f"{done.records} records removed, {done.bytes / 1e6:.1f} MB free")
