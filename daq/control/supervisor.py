"""Control from start to end: locks the lab, starts buses and children, watches, and ends safely.

    flock -> journal -> sentinel -> buses (every output verified OFF) -> recorder, gateway -> serve
    signal -> every run paused, every output OFF and verified -> retire -> children end -> exit

If an OFF cannot be verified at the end, control exits without retiring: the sentinel takes over
and insists.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

from daq.bus.heartbeat import LOOP_SLOT, SENTINEL_SLOT, Heartbeat
from daq.clock import LabClock, monotonic
from daq.config import Lab
from daq.control import processes
from daq.control.alarms import Alarms, Cause
from daq.control.alarms.watch import Watch
from daq.control.assembly import Surroundings, assemble, chambers
from daq.control.commands import Commands
from daq.control.crashes import EXIT_CRASH_LOOP, stays_down
from daq.control.earlier import Earlier
from daq.control.faults import Faults
from daq.control.instrument import Instrument
from daq.control.lock import locked
from daq.control.recipes import Recipes
from daq.control.server import CommandServer
from daq.control.start import Starter, software
from daq.control.station import Station
from daq.control.status import station_status
from daq.driver import Chamber, Potentiostat
from daq.errors import DaqError, InputError, InstrumentError
from daq.journal import Journal, Kept
from daq.labchecks import unfit_for_fast_clock
from daq.logs import get_logger
from daq.model import Event, EventKind

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
        self._earlier = Earlier(self._journal)
        self._alarms = Alarms(
            self._journal,
            lambda: self._clock.utc(monotonic()),
            kept=self._earlier.kept,
            chambers=chambers(lab),
        )
        self._faults = Faults(self._journal, self._alarms)
        self._bench = assemble(lab, self._surroundings())
        self._recipes = Recipes(lab.data / "recipes.json", lab.file, self._bench.slots)
        self._starter = Starter(lab, self._bench, self._clock, self._journal)
        self._commands = Commands(
            self._bench,
            self._starter,
            self._journal,
            why_not=self._why_not,
            replies=self._earlier.replies,
            extra=self._health,
        )
        self._server = CommandServer(lab.data, self._commands.handle)
        self._sentinel = processes.sentinel(lab)
        self._children = processes.others(lab)
        self._watch_over = Watch(
            self._alarms,
            self._bench,
            self._faults,
            failed=lambda: self._journal.failed,
            children=self._children,
        )
        self._state_at = 0.0
        self._not_off: set[str] = set()  # potentiostats that did not open their cell at the end

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
        return Surroundings(
            clock=self._clock,
            journal=self._journal,
            alarms=self._alarms,
            heartbeat=self._heartbeat,
            listener=self._faults,
            identities=self._earlier.identities,
            may_energise=self._why_not,
            connected=self._connected,
        )

    def _come_up(self) -> None:
        self._note(EventKind.SESSION_STARTED, **software(), pid=os.getpid())
        self._earlier.read_sentinel_reports(self._lab.data, self._alarms)
        self._earlier.restore(self._bench, self._starter, self._alarms)
        self._alarms.drain()
        self._heartbeat.beat(LOOP_SLOT)
        self._recipes.write_now()
        self._sentinel.tend()
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        gc.collect()
        gc.freeze()  # what lives now lives for months: no need to look at it again
        for name, bus in self._bench.buses.items():
            self._heartbeat.beat(self._bench.slots[name])  # a hang in the first pass counts too
            bus.start()
        for child in self._children:
            child.tend()

    # While it serves.

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            self._heartbeat.beat(LOOP_SLOT)
            self._write_recipes()
            self._tend_children()
            self._pause_without_journal()
            self._watch_over.look()
            self._alarms.drain()
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
            self._alarms.raise_(Cause.SENTINEL_DIED, message)
        elif self._heartbeat.age_s(SENTINEL_SLOT) < SENTINEL_SILENCE_S:
            self._alarms.end(Cause.SENTINEL_DIED)
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
        self._faults.connected(instrument)
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
        self._stopping.set()  # also when it goes down for a reason of its own
        await self._server.stop()
        asked = [
            station.home.call(lambda s=station: _leave(s), urgent=True)
            for station in self._bench.stations.values()
        ]
        asked += [
            bus.call(lambda n=name: self._rest(n), urgent=True)
            for name, bus in self._bench.buses.items()
        ]
        await self._all_off(asked)
        self._keep_states_now()
        ended = await self._all_ended()
        safe = ended and not self._any_on()  # only now can nothing change any more
        for instrument in self._bench.instruments.values():
            instrument.close()
        if safe:
            self._heartbeat.retire(LOOP_SLOT)
        self._alarms.drain()
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

    async def _all_off(self, asked: Sequence[Future[None]]) -> None:
        """Let every bus come to it, and give what is owed a while to be repeated."""
        deadline = monotonic() + OFF_S
        while monotonic() < deadline:
            if all(job.done() for job in asked) and not self._any_on():
                return
            self._heartbeat.beat(LOOP_SLOT)
            await asyncio.sleep(0.02)

    def _any_on(self) -> bool:
        outputs = (station.output for station in self._bench.stations.values())
        return bool(self._not_off) or any(output.on or output.owed for output in outputs)

    async def _all_ended(self) -> bool:
        """End the bus threads; the sentinel must not mistake a slow last OFF for a hang."""
        for bus in self._bench.buses.values():
            bus.finish()
        deadline = monotonic() + OFF_S
        waiting = dict(self._bench.buses)
        while waiting and monotonic() < deadline:
            self._heartbeat.beat(LOOP_SLOT)
            for name in [name for name, bus in waiting.items() if bus.join(0.0)]:
                self._heartbeat.retire(self._bench.slots[name])
                del waiting[name]
            await asyncio.sleep(0.01)
        return not waiting

    def _rest(self, bus: str) -> None:
        """Make safe what is not a station's output: chambers and potentiostats."""
        for instrument in self._bench.loops[bus].instruments:
            if not instrument.online:
                continue
            try:
                if isinstance(instrument.driver, (Chamber, Potentiostat)):
                    for channel in instrument.driver.channels:
                        instrument.driver.off(channel)
            except InstrumentError as error:
                _log.error("not verified OFF", instrument=instrument.name, error=str(error))
                if isinstance(instrument.driver, Potentiostat):
                    self._not_off.add(instrument.name)

    def _keep_states_now(self) -> None:
        self._state_at = 0.0
        self._keep_states()

    def _note(self, kind: EventKind, **data: Any) -> None:
        self._journal.append(Event(kind, self._clock.utc(monotonic()), data=data), at_once=True)


def _leave(station: Station) -> None:
    """Pause the run and switch off; an unreachable output that was verified OFF stays as it is."""
    conductor, output = station.conductor, station.output
    if conductor.run and not conductor.paused:
        conductor.pause("the daemon is stopping", station.last)
    if output.on or output.owed or output.instrument.online:
        output.off()


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))] if values else 0.0


def serve(lab: Lab) -> int:
    """Run the daemon for a lab until it is told to end; returns the exit code.

    0: every output was verified OFF; 1: not all were, and the sentinel insists; 5: it has crashed
    too often lately, and did not come up.

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
        if stays_down(lab):
            return EXIT_CRASH_LOOP

        async def main() -> int:
            return await Supervisor(lab).run()

        return asyncio.run(main())
