"""A station: where a sample is judged, and where OFF comes from.

The cycler's bus thread is the station's home: the output and the run live there. Samples of
other buses (a chamber, a thermometer) are judged on the thread that read them; a trip found
there reaches home through the urgent lane, ahead of everything queued.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from daq.bus.bus import Bus
from daq.clock import LabClock, monotonic, suspended
from daq.control.alarms import Alarms, Cause, Place
from daq.control.conductor import Climate, Conductor
from daq.control.disobedience import Disobedience
from daq.control.guard import Guard, valid
from daq.control.haste import Haste
from daq.control.output import CyclerOutput
from daq.control.readback import Readback
from daq.control.sensors import Sensors
from daq.control.sweeper import Sweeper
from daq.control.switches import Outputs
from daq.control.thermostat import Thermostat
from daq.control.tripped import History
from daq.control.wiring import Wiring
from daq.driver import WATCHDOG
from daq.errors import InstrumentError
from daq.journal import Journal, Kept
from daq.logs import get_logger
from daq.model import (
    ChannelRef,
    Event,
    EventKind,
    Mode,
    Reading,
    Record,
    Sample,
    Trip,
)

LATCHING_S = 0.1
"""Two attributes take no time; a lock that an exception left behind must not keep a cell ON."""
SLEPT_S = 1.0
LOOK_FIRST_S = 2.0
"""Real time between a clear and the next start."""


class Station:
    """One test position.

    Attributes:
        latch: the trip that holds; None when there is none. The first one wins.
        last: the latest sample of the cycler.
        valid_samples: of the cycler, so far, at most one a period.
        conductor: carries out runs here.
        group: the stations that trip together with this one.
        history: what it has tripped of lately.
        disobedience: what is done about a cycler that does not obey.
        sensors: its auxiliary sensors.
        counting: holds its run against the cycler's own counters.
    """

    def __init__(
        self,
        wiring: Wiring,
        *,
        home: Bus,
        output: CyclerOutput,
        guard: Guard,
        clock: LabClock,
        journal: Journal,
        alarms: Alarms,
        thermostat: Thermostat | None,
        sweeper: Sweeper | None,
        relay: Callable[[], None] | None = None,
        outputs: Outputs | None = None,
        sensors: Sensors | None = None,
    ) -> None:
        self.name = wiring.name
        self.wiring = wiring
        self.home = home
        self.output = output
        self.guard = guard
        self.climate = Climate()
        self.sensors = sensors or Sensors({})
        self.latch: Trip | None = None
        self.last: Sample | None = None
        self.group: Sequence[Station] = ()
        self.history = History()
        guard.caution = lambda caution: self.warn(caution.check, caution.message)
        self.valid_samples = 0
        self._valid_at_s = -inf
        self.conductor = Conductor(
            wiring.name,
            output=output,
            guard=guard,
            climate=self.climate,
            thermostat=thermostat,
            sweeper=sweeper,
            sweep_channel=wiring.sweeper.channel if wiring.sweeper else 0,
            reports=self,
            haste=Haste(wiring.name, home, output.instrument, clock.factor),
            outputs=outputs or Outputs({}, {}),
            sensors=self.sensors,
        )
        self.counting = self.conductor.counting
        self._clock = clock
        self._journal = journal
        self._alarms = alarms
        alarms.know(wiring.name, self._place)
        self._latching = threading.Lock()
        self._idle_record_at = 0.0
        self._readback = Readback(output)
        self._asleep_s = suspended()
        self.disobedience = Disobedience(
            wiring,
            output=output,
            guard=guard,
            alarms=alarms,
            relay=relay,
            note=lambda text: self.note(EventKind.NOTE, text=text),
        )
        self._pending: Trip | None = None  # the trip that home has not acted on yet
        self._lost_poll = False
        self._cleared_at_s = -inf
        self._log = get_logger(station=wiring.name)

    @property
    def sources(self) -> frozenset[ChannelRef]:
        """Every channel whose samples are shown to this station."""
        return self.wiring.sources | self.sensors.channels

    # A sample comes in: judged first, on the thread that read it.

    def judge(self, sample: Sample) -> None:
        """Judge a sample of any of this station's sources; trip if it must be."""
        source, wiring = sample.source, self.wiring
        if source == wiring.cycler:
            self._judge_sleep()
            self.last = sample
            reading = sample.reading
            self._count_valid(reading, sample.stamp_s)
            trip = self.guard.check_cycler(sample)
            if self.latch:
                self.disobedience.insist(trip, sample)
            elif trip:
                self.trip(trip)
        if source == wiring.thermometer:
            self.climate.cell_degC = sample.reading.temperature_degC
            if trip := self.guard.check_temperature(sample):
                self.trip(trip)
        if source == wiring.chamber:
            self.climate.chamber_degC = sample.reading.temperature_degC
            self.guard.see_chamber(sample)
        if source == wiring.voltage_check:
            self.guard.see_back_check(sample)
        if source in wiring.interlocks:
            self.guard.interlocks.see(sample)
            self._check_interlocks(sample.stamp_s)
        self.sensors.see(sample)

    def _count_valid(self, reading: Reading, stamp_s: float) -> None:
        """One a period: those of a step that is read faster make up for none that is missing."""
        due = stamp_s - self._valid_at_s >= 0.5 * self.home.period_s
        if due and valid(reading.voltage_V) and valid(reading.current_A):
            self._valid_at_s = stamp_s
            self.valid_samples += 1

    def _check_interlocks(self, now_s: float) -> None:
        """An open contact trips what runs; where nothing does it is a reason not to begin."""
        if self.active and (trip := self.guard.interlocks.judge(now_s)):
            self.trip(trip)

    def _judge_sleep(self) -> None:
        """P1: a computer that slept saw nothing; its first reading on waking is a good one."""
        asleep_s = suspended()
        slept_s, self._asleep_s = asleep_s - self._asleep_s, asleep_s
        if slept_s > SLEPT_S and self._energised() and not self.latch:
            self.trip(Trip("P1", f"the computer slept for {slept_s:.0f} s"))

    def trip(self, trip: Trip) -> None:
        """Cut off and latch. From any thread; the first trip wins."""
        held = self._latching.acquire(timeout=LATCHING_S)
        try:
            if self.latch:
                return
            self.latch = self._pending = trip
        finally:
            if held:
                self._latching.release()
        if self.home.here():
            self._make_safe(trip)
        else:
            self.home.urge(lambda: self._make_safe(trip))
        if trip.check in self.wiring.group_trips:
            for other in self.group:
                if other.active:
                    message = f"together with {self.name}: {trip.message}"
                    other.trip(Trip(trip.check, message, trip.source))

    def _make_safe(self, trip: Trip) -> None:
        if self._pending is not trip:
            return  # done already
        run = self.conductor.run
        data = {"check": trip.check, "message": trip.message, "source": trip.source}
        kept = {**data, "utc_s": self.utc(), "run": run.info.id if run else ""}
        try:  # queued for the journal in microseconds: no crash may find it OFF and forgotten
            self._journal.keep(Kept.TRIP, self.name, kept)
        finally:
            began = monotonic()
            verified = self.output.off()
            took_s = monotonic() - began
        self.note(EventKind.TRIP, **data, off_verified=verified, off_took_s=took_s)
        self._alarms.tripped(self.name, trip)
        self.history.note(trip.check, time.time())
        self._journal.keep(Kept.TRIPS, self.name, self.history.document())
        self._pending = None
        self.conductor.freeze(self.last, blind=trip.check == "P1")
        log = self._log.bind(run=run.info.id) if run else self._log
        log.error("trip", **data, off_verified=verified, off_took_s=round(took_s, 4))

    # Then the run sees it, on the home thread.

    def advance(self, sample: Sample) -> bool:
        """Let the run see a sample of the cycler; whether something was switched or set."""
        if self.conductor.run is None:
            self._record_idle(sample)
            return False
        return self.conductor.advance(sample)

    def count(self) -> None:
        """Look at the cycler's own counters, if a step edge asks for it."""
        if self.last:
            self.conductor.count(self.last)

    def _record_idle(self, sample: Sample) -> None:
        if sample.stamp_s < self._idle_record_at:
            return
        self._idle_record_at = sample.stamp_s + self.wiring.idle_record_s
        reading, climate = sample.reading, self.climate
        self._journal.append(
            Record(
                self.name, "", 0.0, 0.0, sample.utc_s, reading.voltage_V, reading.current_A,
                climate.cell_degC, climate.chamber_degC, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0,
            )
        )  # fmt: skip

    def connected(self) -> None:
        """The cycler's link came up: OFF, and a run that was regulating starts its step anew.

        The instrument may have lost its limits, or be another one: what it does now is not
        known, so it is switched off and energised by the whole sequence again.
        """
        was_on = self.output.on
        found = Reading()
        try:
            found = self._found()
        finally:
            self.output.off()
        if found.output_on and not was_on:
            cycler = self.wiring.cycler
            message = f"{cycler} was ON when it was found; it was switched OFF"
            self._alarms.raise_(Cause.FOUND_ON, message, station=self.name)
        if not self.output.owed:  # also one that an earlier session left
            self._alarms.end(Cause.OFF_NOT_VERIFIED, station=self.name)
        if found.fault == WATCHDOG and not self.latch:
            self._forgive_silence()
        if channel := self.output.instrument.ranges.get(self.output.channel):
            self.guard.output.set_range(max(abs(bound) for bound in channel.current_A))
        if was_on and not self.latch:
            self.conductor.hold("the link was lost", self.last)
        self.counting.probe()

    def _found(self) -> Reading:
        return self.output.instrument.read().get(self.output.channel, Reading())

    def _forgive_silence(self) -> None:
        """Its watchdog has fired, because nobody spoke to it: known, ours, and no trip."""
        try:
            self.output.driver.clear(self.output.channel)
        except InstrumentError as error:
            self.output.instrument.failed(error)
            return
        text = f"the watchdog of {self.wiring.cycler} had fired; cleared, the output is OFF"
        self.note(EventKind.NOTE, text=text)

    # Every tick of the home bus.

    def watch(self, now_s: float) -> None:
        """What must happen even when no sample arrives: silence, and an OFF that is owed."""
        if self._pending:  # an exception came between the latch and its OFF
            self._make_safe(self._pending)
        self.disobedience.watch(now_s)
        if self.latch:
            return
        self._lost_poll &= self.output.owed
        if self._energised() and (self._lost_poll or not self.output.owed):
            if trip := self.guard.check_silence(now_s, self.output.on_since_s):
                self.trip(trip)
            elif why := self.guard.polls.judge(now_s):
                self._try_off(why)
        self._check_interlocks(now_s)
        if not self.latch and (trip := self._readback.judge(now_s)):
            self.trip(trip)

    def _try_off(self, why: str) -> None:
        """C1: OFF, and the step anew when the link is back. If it stays away, P1 trips."""
        self._lost_poll = True
        self.output.off()
        self.conductor.hold(why, self.last)
        self._log.warning("OFF tried", check="C1", reason=why)

    def _energised(self) -> bool:
        return self.output.on or self.conductor.sweep.running

    @property
    def active(self) -> bool:
        """Whether a run goes on, or the cell is energised."""
        conductor = self.conductor
        return self._energised() or bool(conductor.run and not conductor.paused)

    def _place(self) -> Place:
        run = self.conductor.run
        if run is None:
            return Place()
        document: Mapping[str, Any] = run.info.document.get("cell") or {}
        return Place(run.info.cell, str(document.get("batch") or ""), run.info.id)

    def warn(self, check: str, message: str) -> None:
        """Note what is no reason to cut off, and a reason to look. From any thread."""
        self._alarms.cautioned(self.name, check, message)
        self._log.warning("check", check=check, message=message)

    # Commands; always on the home thread.

    @property
    def just_cleared(self) -> str:
        """Why a start so soon after a clear is refused; empty when it was long enough ago.

        Whoever clears and starts in one breath has looked at nothing.
        """
        if monotonic() - self._cleared_at_s >= LOOK_FIRST_S:
            return ""
        return f"{self.name} was cleared a moment ago: look at it, then start"

    def resume(self, by: str) -> str:
        """Let a paused run go on; empty, or why not."""
        if self.latch:
            return f"tripped: {self.latch.message}; clear it first"
        if why := self.just_cleared:
            return why
        return self.conductor.resume(by)

    def clear(self, by: str, reason: str, role: str = "operator") -> str:
        """Clear a trip; empty, or why not. Never energises; a run stays paused.

        OFF is verified first: some instruments restore, when cleared, what they did before.
        """
        latch = self.latch
        if latch is None:
            return "there is no trip to clear"
        if role != "admin" and self.history.needs_admin(latch.check, time.time()):
            return f"{latch.check} has tripped {self.name} too often today: an admin must clear it"
        if not self.output.off():
            return "OFF cannot be verified"
        if still := self.guard.still(latch, monotonic()):
            return still
        try:
            self.output.driver.clear(self.output.channel)
            self.output.protect(self.wiring.limits)
        except InstrumentError as error:
            self.output.instrument.failed(error)
            return f"the instrument cannot be cleared: {error}"
        self._journal.forget(Kept.TRIP, self.name)
        self.note(EventKind.CLEARED, by=by, role=role, reason=reason, check=latch.check)
        self.guard.relax()
        if self.conductor.run:
            self.conductor.paused = f"after a trip: {latch.message}"
        self._alarms.cleared(self.name, latch)
        self.disobedience.over()
        self.latch, self._cleared_at_s = None, monotonic()
        return ""

    # Telling.

    @property
    def hurries(self) -> bool:
        """Whether its cycler is to be read at each tick of a finer grid."""
        return self.conductor.haste.hurries

    @property
    def mode(self) -> Mode:
        """What the station does, in one word."""
        conductor = self.conductor
        if self.latch:
            return Mode.TRIPPED
        if not self.output.instrument.online:
            return Mode.OFFLINE
        if conductor.run is None:
            return Mode.IDLE
        if conductor.paused:
            return Mode.PAUSED
        return Mode.WAITING if conductor.waiting else Mode.RUNNING

    @property
    def maintenance(self) -> Mapping[str, Any] | None:
        """Its maintenance window, if one is open."""
        return self._alarms.window(self.name)

    def note(self, kind: EventKind, **data: Any) -> None:
        """Append an event of this station, and of its run when there is one."""
        if run := self.conductor.run:
            run.note(kind, self.utc(), data)
        else:
            self._journal.append(Event(kind, self.utc(), self.name, data=data), at_once=True)

    def utc(self) -> float:
        """Lab Unix time."""
        return self._clock.utc(monotonic())

    def lab_s(self, stamp_s: float) -> float:
        """The lab clock at a real stamp."""
        return self._clock.at(stamp_s)
