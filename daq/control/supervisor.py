"""Control from start to end: locks the lab, starts buses and children, watches, and ends safely.

    flock -> journal -> sentinel -> buses (every output verified OFF) -> recorder, gateway -> serve
    signal -> every run paused, every output OFF and verified -> retire -> children end -> exit

If an OFF cannot be verified at the end, control exits without retiring: the sentinel takes over
and insists.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
import sys
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from daq.bus.heartbeat import LOOP_SLOT, SENTINEL_SLOT, Heartbeat
from daq.clock import LabClock, monotonic
from daq.config import Lab
from daq.control.assembly import Surroundings, assemble
from daq.control.children import Child
from daq.control.commands import Commands
from daq.control.instrument import Instrument
from daq.control.recipes import Recipes
from daq.control.server import CommandServer
from daq.control.start import Starter, software
from daq.control.station import Station
from daq.control.status import station_status
from daq.driver import Chamber, Potentiostat
from daq.errors import DaqError, InputError, InstrumentError
from daq.journal import Journal, JournalReader, Kept, ended
from daq.labchecks import unfit_for_fast_clock
from daq.logs import get_logger
from daq.model import Event, EventKind, Identity, RunInfo, Severity, Trip

BEAT_S = 0.1
STATE_S = 1.0
SENTINEL_SILENCE_S = 1.5
SWITCH_INTERVAL_S = 0.0005
"""The interpreter's thread switch: 5 ms by default, which is long for a sample that must trip."""
OFF_S = 3.0
EXIT_S = 1.5

_log = get_logger()


class Supervisor:
    """One daemon for one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._clock = LabClock(lab.clock_factor)
        self._journal = Journal(lab.data / "journal.sqlite")
        self._heartbeat = Heartbeat(lab.data / "heartbeat")
        self._stopping = asyncio.Event()
        self._listener = _Faults(self._journal)
        with JournalReader(self._journal.path) as kept:
            self._kept = {kind: _documents(kept, kind) for kind in _KEPT}
            self._unfinished = [run for run in kept.runs() if not run.outcome]
        self._bench = assemble(lab, self._surroundings())
        self._recipes = Recipes(lab.data / "recipes.json", lab.file, self._bench.slots)
        self._starter = Starter(lab, self._bench, self._clock, self._journal)
        self._commands = Commands(
            self._bench,
            self._starter,
            self._journal,
            why_not=self._why_not,
            replies=self._kept[Kept.REPLY],
            extra=self._health,
        )
        self._server = CommandServer(lab.data, self._commands.handle)
        self._sentinel = Child("sentinel", self._sentinel_arguments())
        self._children = [Child("recorder", self._recorder_arguments())]
        if lab.mqtt.broker != "none":
            self._children.append(Child("gateway", self._gateway_arguments()))
        self._state_at = 0.0

    async def run(self) -> int:
        """Serve until a signal comes. 0 when every output was verified OFF at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        self._come_up()
        await self._server.start()
        _log.info("serving", lab=self._lab.name, stations=len(self._bench.stations))
        try:
            await self._watch()
        finally:
            safe = await self._go_down()
        return 0 if safe else 1

    # Coming up.

    def _surroundings(self) -> Surroundings:
        known = self._kept[Kept.IDENTITY]
        return Surroundings(
            clock=self._clock,
            journal=self._journal,
            heartbeat=self._heartbeat,
            listener=self._listener,
            identities={name: Identity(**document) for name, document in known.items()},
            may_energise=self._why_not,
            connected=self._connected,
        )

    def _come_up(self) -> None:
        self._note(EventKind.SESSION_STARTED, **software(), pid=os.getpid())
        self._read_sentinel_reports()
        self._restore()
        self._heartbeat.beat(LOOP_SLOT)
        self._recipes.write_now()
        self._sentinel.tend()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()  # what lives now lives for months: no need to look at it again
        for bus in self._bench.buses.values():
            bus.start()
        for child in self._children:
            child.tend()

    def _restore(self) -> None:
        for name, trip in self._kept[Kept.TRIP].items():
            if station := self._bench.stations.get(name):
                station.latch = Trip(trip["check"], trip["message"], trip["source"])
        for info in self._unfinished:
            self._restore_run(info)

    def _restore_run(self, info: RunInfo) -> None:
        station = self._bench.stations.get(info.station)
        checkpoint = self._kept[Kept.CHECKPOINT].get(info.id)
        if station is None or checkpoint is None:
            self._abandon(info, "it was interrupted before its first checkpoint")
            return
        try:
            run = self._starter.restore(info, checkpoint)
        except (InputError, KeyError, ValueError) as error:
            self._abandon(info, f"it cannot be restored: {error}")
            return
        station.conductor.begin(run, paused="the daemon was restarted")
        gap = {"from_utc_s": checkpoint["utc_s"], "to_utc_s": time.time()}
        station.note(EventKind.GAP, **gap, reason="the daemon was not running")
        _log.warning("run waits to be resumed", run=info.id, station=info.station)

    def _abandon(self, info: RunInfo, reason: str) -> None:
        now = time.time()
        data = {"outcome": "failed", "reason": reason}
        self._journal.append(Event(EventKind.RUN_ENDED, now, info.station, info.id, data=data))
        self._journal.save_run(ended(info, now, "failed"))
        _log.error("run abandoned", run=info.id, reason=reason)

    def _read_sentinel_reports(self) -> None:
        for report in sorted(self._lab.data.glob("sentinel-*.jsonl")):
            text = report.read_text()
            message = "the sentinel had to switch the instruments off"
            self._note(EventKind.ALARM, severity=Severity.PAGE.value, message=message, report=text)
            _log.error(message, report=str(report))
            folder = self._lab.data / "logs"
            folder.mkdir(exist_ok=True)
            report.rename(folder / report.name)

    # While it serves.

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            self._heartbeat.beat(LOOP_SLOT)
            self._write_recipes()
            self._tend_children()
            self._pause_without_journal()
            self._keep_states()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), BEAT_S)

    def _write_recipes(self) -> None:
        try:
            self._recipes.write()
        except OSError as error:
            _log.error("the sentinel's recipes cannot be written", error=str(error))

    def _tend_children(self) -> None:
        if self._sentinel.tend():
            message = "the sentinel ended; nothing is energised until it is back"
            self._note(EventKind.ALARM, severity=Severity.PAGE.value, message=message)
        for child in self._children:
            child.tend()

    def _pause_without_journal(self) -> None:
        reason = self._journal.failed
        if not reason:
            return
        why = f"the journal cannot be written: {reason}"
        for station in self._bench.stations.values():
            conductor = station.conductor
            if conductor.run and not conductor.paused:
                station.home.urge(lambda s=station: s.conductor.pause(why, s.last))

    def _keep_states(self) -> None:
        if monotonic() < self._state_at:
            return
        self._state_at = monotonic() + STATE_S
        for station in self._bench.stations.values():
            self._journal.keep(Kept.STATE, station.name, station_status(station))

    # Asked by the bus threads.

    def _why_not(self, name: str) -> str:
        """Why a station must not be energised now; empty when nothing speaks against it."""
        station = self._bench.stations[name]
        if station.latch:
            return f"tripped: {station.latch.message}"
        if self._stopping.is_set():
            return "the daemon is stopping"
        if self._heartbeat.age_s(SENTINEL_SLOT) > SENTINEL_SILENCE_S:
            return "the sentinel does not run"
        if not self._recipes.known(station.wiring.cycler.instrument):
            return "the sentinel does not yet know how to switch this cycler off"
        if self._journal.failed:
            return f"the journal cannot be written: {self._journal.failed}"
        silence = station.guard.check_silence(monotonic())
        return silence.message if silence else ""

    def _connected(self, instrument: Instrument) -> None:
        self._recipes.connected(instrument)
        if instrument.identity:
            self._journal.keep(Kept.IDENTITY, instrument.name, asdict(instrument.identity))
        _log.info("connected", instrument=instrument.name, identity=str(instrument.identity))

    def _health(self) -> Mapping[str, Any]:
        return {
            "lab": self._lab.name,
            "clock_factor": self._lab.clock_factor,
            "journal": {"backlog": self._journal.backlog, "failed": self._journal.failed},
            "children": {
                child.name: {"alive": child.alive, "restarts": child.restarts}
                for child in (self._sentinel, *self._children)
            },
            "buses": {
                name: {
                    "ticks": bus.statistics.ticks,
                    "missed": bus.statistics.missed,
                    "lateness_p99_s": _p99(list(bus.lateness_s)),
                }
                for name, bus in self._bench.buses.items()
            },
        }

    # Going down.

    async def _go_down(self) -> bool:
        _log.info("stopping")
        await self._server.stop()
        for station in self._bench.stations.values():
            station.home.urge(lambda s=station: _leave(s))
        for name, bus in self._bench.buses.items():
            bus.urge(lambda n=name: self._rest(n))
        safe = await self._all_off()
        self._keep_states_now()
        for bus in self._bench.buses.values():
            safe &= bus.stop(OFF_S)
        for instrument in self._bench.instruments.values():
            instrument.close()
        if safe:
            self._heartbeat.retire(LOOP_SLOT)
        self._note(EventKind.SESSION_ENDED, reason="stopped", outputs_off=safe)
        with contextlib.suppress(DaqError):
            self._journal.close()
        for child in self._children:
            child.close_pipe()
        for child in self._children:
            child.end(EXIT_S)
        if safe:
            self._sentinel.end(EXIT_S)
        _log.info("stopped", outputs_off=safe)
        return safe

    async def _all_off(self) -> bool:
        deadline = monotonic() + OFF_S
        while monotonic() < deadline:
            self._heartbeat.beat(LOOP_SLOT)
            outputs = [station.output for station in self._bench.stations.values()]
            if not any(output.on or output.owed for output in outputs):
                return True
            await asyncio.sleep(0.02)
        return False

    def _rest(self, bus: str) -> None:
        """Make safe what is not a station's output: chambers, potentiostats, spare channels."""
        for instrument in self._bench.loops[bus].instruments:
            if not instrument.online:
                continue
            try:
                if isinstance(instrument.driver, (Chamber, Potentiostat)):
                    for channel in instrument.driver.channels:
                        instrument.driver.off(channel)
            except InstrumentError as error:
                _log.error("not verified OFF", instrument=instrument.name, error=str(error))

    def _keep_states_now(self) -> None:
        self._state_at = 0.0
        self._keep_states()

    def _note(self, kind: EventKind, **data: Any) -> None:
        self._journal.append(Event(kind, self._clock.utc(monotonic()), data=data), at_once=True)

    # How the children are started.

    def _sentinel_arguments(self) -> list[str]:
        data = self._lab.data
        files = [str(data / "heartbeat"), str(data / "recipes.json")]
        return ["-m", "daq.sentinel", *files, str(os.getpid()), str(data)]

    def _recorder_arguments(self) -> list[str]:
        data = self._lab.data
        return [
            *("-m", "daq.recorder", "--journal", str(self._journal.path)),
            *("--out", str(data / "runs"), "--cursor", str(data / "recorder.cursor")),
        ]

    def _gateway_arguments(self) -> list[str]:
        mqtt = self._lab.mqtt
        scheme = "mqtts" if mqtt.tls else "mqtt"
        broker = f"{scheme}://{mqtt.host}:{mqtt.port}" if mqtt.broker == "url" else mqtt.broker
        arguments = ["-m", "daq.gateway", "--lab", self._lab.name, "--data", str(self._lab.data)]
        arguments += ["--broker", broker, "--client-id", mqtt.client_id]
        files = {
            "--username": mqtt.username,
            "--password-file": mqtt.password_file,
            "--ca-file": mqtt.ca_file,
            "--cert-file": mqtt.cert_file,
            "--key-file": mqtt.key_file,
        }
        for option, value in files.items():
            arguments += [option, str(value)] if value else []
        return arguments


_KEPT = (Kept.TRIP, Kept.CHECKPOINT, Kept.REPLY, Kept.IDENTITY)


class _Faults:
    """Notes when a fault of a link begins and when it ends; once each."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        self._note(EventKind.FAULT_BEGAN, instrument, f"{type(error).__name__}: {error}")

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        self._note(EventKind.FAULT_ENDED, instrument, f"lasted {lasted_s:.3g} s")

    def _note(self, kind: EventKind, instrument: Instrument, message: str) -> None:
        data = {"instrument": instrument.name, "message": message}
        self._journal.append(Event(kind, time.time(), data=data), at_once=True)
        say = _log.warning if kind is EventKind.FAULT_BEGAN else _log.info
        say(kind.value.replace("_", " "), **data)


def _documents(reader: JournalReader, kind: str) -> dict[str, dict[str, Any]]:
    return {name: document for name, (_, document) in reader.kept(kind).items()}


def _leave(station: Station) -> None:
    """Pause the run and switch off; an unreachable output that was verified OFF stays as it is."""
    conductor, output = station.conductor, station.output
    if conductor.run and not conductor.paused:
        conductor.pause("the daemon is stopping", station.last)
    if output.on or output.owed or output.instrument.online:
        output.off()


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))] if values else 0.0


@contextlib.contextmanager
def locked(data: Path) -> Generator[None]:
    """Hold the lab's data folder: two daemons on one would fight over the same instruments.

    Raises:
        DaqError: another daemon holds it.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise DaqError(
                f"a daemon (process {file.read().strip()}) runs on {data} already",
                remedy="stop it, or give this lab another `data` folder",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def serve(lab: Lab) -> int:
    """Run the daemon for a lab until it is told to end.

    Raises:
        DaqError: another daemon runs, the journal cannot be opened, or lab time is accelerated
            and an instrument is not on this machine.
    """
    if unfit := unfit_for_fast_clock(lab):
        raise InputError(
            f"lab time runs {lab.clock_factor:g} times as fast, which needs every instrument on "
            f"this machine; {', '.join(unfit)} is elsewhere, real, or not there",
            remedy="start the simulated bench first, or remove clock.factor",
        )
    with locked(lab.data):

        async def main() -> int:
            return await Supervisor(lab).run()

        return asyncio.run(main())
