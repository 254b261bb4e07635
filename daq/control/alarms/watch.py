"""What only shows when somebody looks: links that stay down, processes that end, runs that wait.

Looks once a second from the supervisor's loop, off the path from a sample to OFF. Everything here
raises alarms and does nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from daq.clock import monotonic
from daq.config import DetectConfig
from daq.control.alarms.alarm import Alarm
from daq.control.alarms.alarms import Alarms
from daq.control.alarms.causes import Cause
from daq.control.alarms.observer import Fades, Observer
from daq.control.assembly import Bench
from daq.control.children import Child
from daq.control.faults import OF_A_LINK, Fault, Faults
from daq.control.station import Station
from daq.model import Severity

LOOK_S = 1.0
SILENT_S = 5.0
"""A fault of a link that lasts so long is an alarm; one that trips a station is one at once."""
ANEW = (Cause.JOURNAL_FAILING, Cause.DISK_LOW, Cause.MAINS_FAILED)
"""Conditions that this session looks at itself: what an earlier one said of them is over."""
PATIENCE_S = 600.0
"""A run that waits for so long, real time, for a shared instrument or a layer of protection."""


class Watch:
    """Looks at what the control process owns.

    Args:
        failed: why the journal cannot be written; empty when it can.
        limits: when the detectors speak.
    """

    def __init__(
        self,
        alarms: Alarms,
        bench: Bench,
        faults: Faults,
        *,
        failed: Callable[[], str],
        children: Iterable[Child],
        limits: DetectConfig,
    ) -> None:
        self._alarms = alarms
        self._bench = bench
        self._faults = faults
        self._failed = failed
        self._children = tuple(children)
        self._restarts = {child.name: child.restarts for child in self._children}
        self._served = _stations_of(bench)
        self._told: dict[str, Severity] = {}
        self._failing = ""
        self._stuck: dict[str, str] = {}
        fades = Fades(limits.fade)
        self._observers = [
            Observer(station, alarms, limits, fades) for station in bench.stations.values()
        ]
        self._waits_since_s: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._look_at_s = 0.0
        alarms.drop(self._is_gone)
        for cause in ANEW:
            alarms.end(cause)

    def look(self) -> None:
        """Look at everything, once a second."""
        now_s = monotonic()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_S
        self._look_at_links(now_s)
        self._look_at_outputs()
        self._look_at_journal()
        self._look_at_children()
        for station in self._bench.stations.values():
            self._look_at_run(station, now_s)
        for observer in self._observers:
            observer.look()

    # Links.

    def _look_at_links(self, now_s: float) -> None:
        faults = dict(self._faults.open)
        for name in self._told.keys() - faults.keys():
            del self._told[name]
        for name, fault in faults.items():
            if fault.stranger or now_s - fault.since_s >= SILENT_S:
                self._tell_of_link(name, fault)

    def _tell_of_link(self, name: str, fault: Fault) -> None:
        stations = self._served.get(name, ())
        needed = any(self._bench.stations[one].conductor.run for one in stations)
        severity = Severity.PAGE if needed else Severity.TICKET
        if self._told.get(name) == severity:
            return
        self._told[name] = severity
        cause = Cause.CHAMBER_DEAD if name in self._bench.thermostats else Cause.INSTRUMENT_SILENT
        self._alarms.raise_(
            Cause.WRONG_INSTRUMENT if fault.stranger else cause,
            f"{name}: {fault.message}",
            stations=stations,
            instrument=name,
            severity=severity,
        )

    def _look_at_outputs(self) -> None:
        """A stirrer that does not go on holds a run; a heater that does not go off is worse."""
        for name, board in self._bench.switchboards.items():
            failing = board.failing
            if failing == self._stuck.get(name, ""):
                continue
            self._stuck[name] = failing
            if failing:
                stations = self._served.get(name, ())
                self._alarms.raise_(
                    Cause.OUTPUT_FAILED, failing, stations=stations, instrument=name
                )
            else:
                self._alarms.end(Cause.OUTPUT_FAILED, instrument=name)

    def _is_gone(self, alarm: Alarm) -> bool:
        """Whether an earlier session said it of something that this lab does not have."""
        if alarm.cause in OF_A_LINK:
            return alarm.subject not in self._bench.instruments
        known = self._bench.stations
        return bool(alarm.stations) and not any(name in known for name in alarm.stations)

    # The journal, and the other processes.

    def _look_at_journal(self) -> None:
        reason = self._failed()
        if bool(reason) == bool(self._failing):
            return
        self._failing = reason
        if not reason:
            self._alarms.end(Cause.JOURNAL_FAILING)
            return
        running = [name for name, one in self._bench.stations.items() if one.conductor.run]
        message = f"the journal cannot be written: {reason}; {len(running)} runs are paused"
        self._alarms.raise_(Cause.JOURNAL_FAILING, message, stations=running)

    def _look_at_children(self) -> None:
        for child in self._children:
            before, self._restarts[child.name] = self._restarts[child.name], child.restarts
            if not child.alive or 0 <= before < child.restarts:
                message = f"the {child.name} ended and is started again"
                self._alarms.raise_(Cause.PROCESS_DIED, message, instrument=child.name)
            else:
                self._alarms.end(Cause.PROCESS_DIED, instrument=child.name)

    # Runs that wait.

    def _look_at_run(self, station: Station, now_s: float) -> None:
        conductor, name = station.conductor, station.name
        if conductor.run and conductor.waiting and not conductor.paused:
            since_s = self._waits_since_s.setdefault(name, now_s)
            if now_s - since_s >= PATIENCE_S and name not in self._waiting:
                self._waiting.add(name)
                message = f"the run waits: {conductor.waiting}"
                self._alarms.raise_(Cause.RUN_WAITS, message, station=name)
            return
        self._waits_since_s.pop(name, None)
        if not (conductor.run and conductor.paused) or name in self._waiting:
            self._waiting.discard(name)
            self._alarms.end(Cause.RUN_WAITS, station=name)


def _stations_of(bench: Bench) -> Mapping[str, tuple[str, ...]]:
    """Instrument -> the stations that it serves in any role."""
    served: dict[str, list[str]] = {}
    for station in bench.stations.values():
        wiring = station.wiring
        wired = (wiring.cycler, wiring.thermometer, wiring.chamber, wiring.sweeper)
        named = (*station.sensors.wired.values(), *station.conductor.outputs.wired.values())
        refs = (*wired, *named)
        for name in dict.fromkeys(ref.instrument for ref in refs if ref):
            served.setdefault(name, []).append(station.name)
    return {name: tuple(stations) for name, stations in served.items()}
