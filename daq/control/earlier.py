"""What an earlier session left behind: latches, unfinished runs, the sentinel's reports.

Read once when control comes up. Latches hold on. A run that was interrupted comes back paused,
as it was at its checkpoint; nothing is energised by a restart. Whether it goes on by itself or
waits for its operator is judged later, with the instruments online (daq/control/resumption.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan, nan
from pathlib import Path
from typing import Any

from daq.clock import wall
from daq.config import ResumePolicy
from daq.control.alarms import Alarms, Cause
from daq.control.assembly import Bench
from daq.control.resumption import (
    EDGES,
    RESTARTED,
    Interruption,
    Resumptions,
    expected_voltage,
    pause_of,
)
from daq.control.run import Run
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
    Kept.ALIVE,
)
_log = get_logger()


class Earlier:
    """The journal as it was when this session began."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        with JournalReader(journal.path) as reader:
            self._kept = {kind: _documents(reader, kind) for kind in _KEPT}
            self._runs = reader.runs()

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

    @property
    def lab_utc_s(self) -> float:
        """Where lab time had got to; 0 when it is not known."""
        return float(self._alive.get("lab_utc_s", 0.0))

    @property
    def _alive(self) -> Mapping[str, float]:
        return self._kept[Kept.ALIVE].get("control", {})

    def restore(
        self, bench: Bench, starter: Starter, alarms: Alarms, resumptions: Resumptions
    ) -> None:
        """Put latches and unfinished runs back where they were. Before any bus runs."""
        starter.remember(info.id for info in self._runs)
        for info in (run for run in self._runs if not run.outcome):
            self._restore_run(info, bench, starter, resumptions)
        for name, trip in self._kept[Kept.TRIP].items():
            if station := bench.stations.get(name):
                station.latch = Trip(trip["check"], trip["message"], trip["source"])
                alarms.tripped(name, station.latch)  # a crash may have been before it was told
        for name, document in self._kept[Kept.TRIPS].items():
            if station := bench.stations.get(name):
                station.history.restore(document)

    def _restore_run(
        self, info: RunInfo, bench: Bench, starter: Starter, resumptions: Resumptions
    ) -> None:
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
        found = self._interruption(run, starter.lab_sha256, resumptions.policy)
        gap = {"from_utc_s": checkpoint["utc_s"], "to_utc_s": station.utc()}
        away_s = {"away_s": None if isnan(found.away_s) else found.away_s}
        with self._journal.together():
            station.conductor.begin(run, paused=RESTARTED)
            station.note(EventKind.GAP, **gap, **away_s, reason="the daemon was not running")
        resumptions.add(station, found)
        _log.warning("run was interrupted", run=info.id, station=info.station, **away_s)

    def _interruption(self, run: Run, lab_sha256: str, policy: ResumePolicy) -> Interruption:
        info = run.info
        with JournalReader(self._journal.path) as reader:
            events, records = reader.events(info.id), reader.around_edges(info, EDGES)
        run.ended_steps.extend(one.data for one in events if one.kind is EventKind.STEP_ENDED)
        return Interruption(
            run,
            away_s=wall() - self._alive.get("utc_s", nan),
            paused=pause_of(events),
            lab_changed=info.document["lab"]["sha256"] != lab_sha256,
            expected_V=expected_voltage(records, policy.voltage_V),
        )

    def _abandon(self, info: RunInfo, reason: str) -> None:
        now = wall()
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
