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
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from daq.bus.heartbeat import LOOP_SLOT, SENTINEL_SLOT, Heartbeat
from daq.clock import LabClock, monotonic, wall
from daq.config import Lab
from daq.control import notify, priority, processes
from daq.control.alarms import Alarms, Cause
from daq.control.alarms.book import counts
from daq.control.alarms.paging import Paging
from daq.control.alarms.verbs import AlarmVerbs
from daq.control.alarms.watch import Watch
from daq.control.assembly import Surroundings, assemble, chambers
from daq.control.commands import Commands
from daq.control.conditions import Conditions, conditions
from daq.control.crashes import EXIT_CRASH_LOOP, stays_down
from daq.control.door import Door
from daq.control.earlier import Earlier
from daq.control.farewell import Farewell
from daq.control.faults import Faults
from daq.control.health import Check, Health
from daq.control.instrument import Instrument
from daq.control.living import Living
from daq.control.lock import locked
from daq.control.recipes import Recipes
from daq.control.resumption import STOPPING, Resumptions
from daq.control.rollout import ProtocolVerbs
from daq.control.server import CommandServer
from daq.control.stalls import StallWatch, Watched
from daq.control.start import Starter, software
from daq.control.station import Station
from daq.control.status import station_status
from daq.errors import DaqError, InputError
from daq.journal import Journal, Kept
from daq.labchecks import unfit_for_fast_clock
from daq.logs import get_logger
from daq.model import Event, EventKind

BEAT_S = 0.1
STATE_S = 1.0
SENTINEL_SILENCE_S = 1.5
SWITCH_INTERVAL_S = 0.0005
"""The interpreter's thread switch: 5 ms by default, which is long for a sample that must trip."""
PAGING_S = 0.5
EXIT_S = 4.0
"""Longer than a child allows itself, to close its files or to take its leave of the broker."""

_log = get_logger()


class Supervisor:
    """One daemon for one lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._journal = Journal(lab.data / "journal.sqlite")
        self._heartbeat = Heartbeat(lab.data / "heartbeat")
        self._stopping = asyncio.Event()
        self._earlier = Earlier(self._journal)
        self._clock = LabClock(lab.clock_factor, since_utc_s=self._earlier.lab_utc_s)
        self._paging = Paging(lab.alarms.command)
        self._alarms = Alarms(
            self._journal,
            lambda: self._clock.utc(monotonic()),
            kept=self._earlier.kept,
            chambers=chambers(lab),
            runbooks=lab.alarms.runbooks,
            heard=self._paging.heard,
        )
        self._faults = Faults(self._journal, self._alarms)
        self._resumptions = Resumptions(lab.resume, self._why_not, self._waits_for_operator)
        self._bench = assemble(lab, self._surroundings())
        self._recipes = Recipes(lab.data / "recipes.json", lab.file, self._bench.slots)
        self._starter = Starter(lab, self._bench, self._clock, self._journal)
        self._commands = Commands(
            self._bench,
            self._starter,
            self._journal,
            why_not=self._why_not,
            replies=self._earlier.replies,
            extra=self._about,
            more={
                **AlarmVerbs(self._alarms, self._bench.stations).handlers,
                **ProtocolVerbs(lab.data, self._bench.stations).handlers,
            },
        )
        self._door = Door(lab, self._journal, self._commands.handle, self._children_now)
        self._server = CommandServer(lab.data, self._door.serve)
        self._sentinel = processes.sentinel(lab)
        self._children = processes.others(lab)
        self._watch_over = Watch(
            self._alarms,
            self._bench,
            self._faults,
            failed=lambda: self._journal.failed,
            children=self._children,
            limits=lab.alarms.detect,
        )
        self._living = Living(
            self._sentinel, self._children, self._bench.buses, self._heartbeat, self._alarms
        )
        self._conditions = Conditions(conditions(lab, self._clock_jumped))
        self._health = Health(self._bench.stations.values(), self._checks(), self._alarms)
        self._stalls = StallWatch(self._watched())
        self._farewell = Farewell(self._bench, self._heartbeat)
        self._state_at = 0.0

    async def run(self) -> int:
        """Serve until a signal comes. 0 when every output was verified OFF at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        loop.set_exception_handler(self._unexpected)
        self._come_up()
        await self._server.start()
        notify.ready()
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
        priority.claim()
        lab_sha256 = self._lab.sha256
        self._note(EventKind.SESSION_STARTED, **software(), pid=os.getpid(), lab_sha256=lab_sha256)
        self._door.open(self._lab, self._earlier.kept[Kept.LAB])
        self._earlier.read_sentinel_reports(self._lab.data, self._alarms)
        self._earlier.restore(self._bench, self._starter, self._alarms, self._resumptions)
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
        self._conditions.start()
        self._stalls.start()

    def _checks(self) -> list[Check]:
        """What every run relies on. The alarms of the first two are raised elsewhere."""
        return [
            Check(lambda: _unwritable(self._journal.failed)),
            Check(self._living.sentinel_gone),
            Check(self._conditions.silence, Cause.DISK_LOW),
            Check(lambda: self._conditions.wrong.get("disk", ""), Cause.DISK_LOW),
            Check(lambda: self._conditions.wrong.get("mains", ""), Cause.MAINS_FAILED),
        ]

    def _watched(self) -> list[Watched]:
        """Whom `StallWatch` looks at."""
        this = threading.get_ident()
        loop = Watched(
            "event loop", lambda: self._heartbeat.age_s(LOOP_SLOT) - BEAT_S, lambda: this
        )
        buses = self._bench.buses.values()
        return [
            loop,
            *(Watched(f"bus {bus.name}", bus.held_s, lambda b=bus: b.thread) for bus in buses),
        ]

    # While it serves.

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            self._heartbeat.beat(LOOP_SLOT)
            notify.alive()
            self._write_recipes()
            self._living.tend()
            self._health.tend()
            self._watch_over.look()
            self._resumptions.tend()
            self._alarms.drain()
            self._paging.tend()
            self._keep_states()
            self._door.tell()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), BEAT_S)

    def _children_now(self) -> frozenset[int]:
        return frozenset(child.process.pid for child in self._children if child.process)

    def _write_recipes(self) -> None:
        try:
            self._recipes.write()
        except OSError as error:
            _log.error("the sentinel's recipes cannot be written", error=str(error))

    def _keep_states(self) -> None:
        if monotonic() < self._state_at:
            return
        self._state_at = monotonic() + STATE_S
        alive = {"utc_s": wall(), "lab_utc_s": self._clock.utc(monotonic())}
        self._journal.keep(Kept.ALIVE, "control", alive)
        for station in self._bench.stations.values():
            self._journal.keep(Kept.STATE, station.name, station_status(station))

    def _waits_for_operator(self, station: Station, reason: str) -> None:
        self._alarms.raise_(Cause.RUN_WAITS, f"the run {reason}", station=station.name)

    # Asked by the bus threads.

    def _why_not(self, name: str) -> str:
        """Why a station must not be energised now; empty when nothing speaks against it."""
        station = self._bench.stations[name]
        if station.latch:
            return f"tripped: {station.latch.message}"
        if self._stopping.is_set():
            return STOPPING
        if self._heartbeat.age_s(SENTINEL_SLOT) > SENTINEL_SILENCE_S:
            return "the sentinel does not run"
        if not self._recipes.known(station.wiring.cycler.instrument):
            return "the sentinel does not yet know how to switch this cycler off"
        if self._journal.failed:
            return _unwritable(self._journal.failed)
        if why := self._health.why_not:
            return why
        now_s = monotonic()
        lacks = station.guard.check_silence(now_s) or station.guard.interlocks.judge(now_s)
        return lacks.message if lacks else ""

    def _connected(self, instrument: Instrument) -> None:
        self._recipes.connected(instrument)
        self._faults.connected(instrument)
        if instrument.identity:
            self._journal.keep(Kept.IDENTITY, instrument.name, asdict(instrument.identity))
        _log.info("connected", instrument=instrument.name, identity=str(instrument.identity))

    def _about(self) -> Mapping[str, Any]:
        return {
            "lab": self._lab.name,
            "clock_factor": self._lab.clock_factor,
            "alarms": counts(self._alarms.book.open),
            "journal": {
                "backlog": self._journal.backlog,
                "failed": self._journal.failed,
                "slow_s": round(self._journal.slow_s, 3),
                "refused": self._journal.refused,
            },
            "children": {
                child.name: {"alive": child.alive, "restarts": child.restarts}
                for child in (self._sentinel, *self._children)
            },
            "buses": {
                name: {
                    "ticks": bus.statistics.ticks,
                    "missed": bus.statistics.missed,
                    "lateness_p99_s": _p99(bus.lateness_s.values()),
                }
                for name, bus in self._bench.buses.items()
            },
        }

    # Going down.

    async def _go_down(self) -> bool:
        _log.info("stopping")
        notify.stopping()
        self._stopping.set()  # also when it goes down for a reason of its own
        self._conditions.finish()
        self._stalls.finish()
        await self._server.stop()
        await self._farewell.switch_off()
        self._door.tell(everything=True)
        self._keep_states_now()
        safe = await self._farewell.end()
        if safe:
            self._heartbeat.retire(LOOP_SLOT)
        self._alarms.drain()
        await self._paging.finish(PAGING_S)
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

    def _keep_states_now(self) -> None:
        self._state_at = 0.0
        self._keep_states()

    def _clock_jumped(self, by_s: float) -> None:
        where = "forward" if by_s > 0 else "back"
        message = f"the wall clock was set {where} by {abs(by_s):.1f} s; runs go on"
        self._alarms.raise_(Cause.CLOCK_JUMP, message)

    def _unexpected(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task of the event loop let an exception through: said, never silent."""
        error, what = context.get("exception"), context.get("message", "")
        message = f"{what}: {type(error).__name__}: {error}"
        self._alarms.raise_(Cause.UNEXPECTED_ERROR, message, instrument=type(error).__name__)
        _log.error("an error that nobody expected", what=what, exc_info=error)

    def _note(self, kind: EventKind, **data: Any) -> None:
        self._journal.append(Event(kind, self._clock.utc(monotonic()), data=data), at_once=True)


def _unwritable(reason: str) -> str:
    return f"the journal cannot be written: {reason}" if reason else ""


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
