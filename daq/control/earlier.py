"""What an earlier session left behind: latches, unfinished runs, the sentinel's reports.

Read once when control comes up. Latches hold on. A run that was interrupted comes back paused,
as it was at its checkpoint, and waits for its operator; nothing is energised by a restart.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daq.control.alarms import Alarms, Cause
from daq.control.assembly import Bench
from daq.control.start import Starter
from daq.errors import DaqError
from daq.journal import Journal, JournalReader, Kept, ended
from daq.logs import get_logger
from daq.model import Event, EventKind, Identity, RunInfo, Trip

_KEPT = (
    Kept.TRIP,
    Kept.TRIPS,
    Kept.CHECKPOINT,
    Kept.REPLY,
    Kept.IDENTITY,
    Kept.ALARM,
    Kept.MAINTENANCE,
    Kept.LAB,
)
_log = get_logger()


class Earlier:
    """The journal as it was when this session began."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        with JournalReader(journal.path) as reader:
            self._kept = {kind: _documents(reader, kind) for kind in _KEPT}
            self._unfinished = [run for run in reader.runs() if not run.outcome]

    @property
    def identities(self) -> dict[str, Identity]:
        """Who was at each instrument's address."""
        return {name: Identity(**found) for name, found in self._kept[Kept.IDENTITY].items()}

    @property
    def replies(self) -> Mapping[str, Mapping[str, Any]]:
        """What was answered to which command."""
        return self._kept[Kept.REPLY]

    @property
    def kept(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """Everything that was kept: kind -> name -> document."""
        return self._kept

    def restore(self, bench: Bench, starter: Starter, alarms: Alarms) -> None:
        """Put latches and unfinished runs back where they were. Before any bus runs."""
        for info in self._unfinished:
            self._restore_run(info, bench, starter, alarms)
        for name, trip in self._kept[Kept.TRIP].items():
            if station := bench.stations.get(name):
                station.latch = Trip(trip["check"], trip["message"], trip["source"])
                alarms.tripped(name, station.latch)  # a crash may have been before it was told
        for name, document in self._kept[Kept.TRIPS].items():
            if station := bench.stations.get(name):
                station.history.restore(document)

    def _restore_run(self, info: RunInfo, bench: Bench, starter: Starter, alarms: Alarms) -> None:
        station = bench.stations.get(info.station)
        checkpoint = self._kept[Kept.CHECKPOINT].get(info.id)
        if station is None or checkpoint is None:
            self._abandon(info, "it was interrupted before its first checkpoint")
            return
        try:
            run = starter.restore(info, checkpoint)
        except (DaqError, LookupError, TypeError, ValueError) as error:
            self._abandon(info, f"it cannot be restored: {error}")
            return
        gap = {"from_utc_s": checkpoint["utc_s"], "to_utc_s": time.time()}
        with self._journal.together():
            station.conductor.begin(run, paused="the daemon was restarted")
            station.note(EventKind.GAP, **gap, reason="the daemon was not running")
        message = f"{info.station}: the run waits for daq resume: the daemon was restarted"
        alarms.raise_(Cause.RUN_WAITS, message, station=info.station)
        _log.warning("run waits to be resumed", run=info.id, station=info.station)

    def _abandon(self, info: RunInfo, reason: str) -> None:
        now = time.time()
        data = {"outcome": "failed", "reason": reason}
        self._journal.append(Event(EventKind.RUN_ENDED, now, info.station, info.id, data=data))
        self._journal.save_run(ended(info, now, "failed"))
        _log.error("run abandoned", run=info.id, reason=reason)

    def read_sentinel_reports(self, folder: Path, alarms: Alarms) -> None:
        """Raise an alarm about what the sentinel had to do, and put its reports to the logs."""
        for report in sorted(folder.glob("sentinel-*.jsonl")):
            message = "the sentinel had to switch the instruments off"
            alarms.raise_(Cause.SENTINEL_ACTED, message, report=report.read_text())
            logs = folder / "logs"
            logs.mkdir(exist_ok=True)
            report.rename(logs / report.name)


def _documents(reader: JournalReader, kind: str) -> dict[str, dict[str, Any]]:
    return {name: document for name, (_, document) in reader.kept(kind).items()}
