"""A test position without wires, threads or waiting: what the control code is tested on.

Everything real but the ends: the drivers below remember what they were told, the clock goes on
when a test says so, and the bus runs its jobs when it is asked to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import nan
from typing import Any, ClassVar

from daq.bus.line import Endpoint, Exchange, LineSettings
from daq.clock import LabClock
from daq.control.alarms import Alarms
from daq.control.assembly import SLACK_PERIODS
from daq.control.guard import Freshness, Guard
from daq.control.instrument import Instrument, InstrumentSpec
from daq.control.loop import Loop
from daq.control.output import CyclerOutput
from daq.control.run import Run
from daq.control.station import Station
from daq.control.sweeper import Sweeper
from daq.control.thermostat import Thermostat
from daq.control.wiring import Wiring
from daq.driver import Chamber, Cycler, Logger, Potentiostat, Progress, Range
from daq.errors import InstrumentError, LinkDown, ReadbackMismatch
from daq.journal import Kept
from daq.model import (
    Cell,
    ChannelRef,
    Entry,
    Event,
    EventKind,
    Identity,
    Limits,
    MeasurementState,
    Protection,
    Reading,
    Record,
    RunInfo,
    Setpoint,
    Spectrum,
    SpectrumPoint,
    Trip,
)
from daq.protocol.compile import compile_protocol
from daq.protocol.engine import Engine
from daq.protocol.source import parse_protocol

PERIOD_S = 0.1
HARD = Limits((2.0, 4.35), (-10.0, 10.0), (0.0, 60.0))
CELL = Cell("c1", 2.5, "NMC")
HEAD = (
    "protocol: test\nversion: 1.0.0\nrecord: {every: 10 s}\n"
    "safety: {voltage: [2.6 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}\nsteps:\n"
)
CHARGE = "  - charge: 1C\n    until: voltage >= 4.2 V\n    at_most: 2 h\n"
REST = "  - rest: 10 min\n"
POWER = "  - charge: 8 W\n    until: voltage >= 4.2 V\n    at_most: 10 s\n"
SOAK = "  - chamber: 40 degC\n    soak: {within: 0.5 K, for: 5 min, at_most: 1 h}\n"
EIS = "  - eis: {from: 1 kHz, to: 10 Hz, per_decade: 5, amplitude: 5 mV}\n"
SPECTRUM = Spectrum(1000.0, 10.0, 5, 0.005)


class TurnedClock:
    """A clock that a test turns; stands in for `daq.clock.monotonic`."""

    USED_BY = ("counting", "loop", "station", "output", "instrument")

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def put_into(self, monkeypatch: Any) -> None:
        """Let the control code see this clock, and no other."""
        for module in self.USED_BY:
            monkeypatch.setattr(f"daq.control.{module}.monotonic", self)


class FakeLine:
    """A line that only opens and closes; `refuses` is raised at the next openings."""

    settings = LineSettings()

    def __init__(self) -> None:
        self.exchanged: Callable[[], None] = lambda: None
        self.is_open = False
        self.opened = 0
        self.refuses: BaseException | None = None
        self.leads_to: Endpoint | None = Endpoint("tcp", "127.0.0.1", 5025)

    def open(self) -> None:
        self.opened += 1
        if self.refuses:
            raise self.refuses
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def endpoint(self) -> Endpoint | None:
        return self.leads_to


class Told:
    """What every fake driver has: the list of what it was told, and faults to order.

    `faults["on"] = error` lets every `on` raise; `hooks["apply"] = f` calls `f` before `apply`.
    """

    def __init__(self, line: FakeLine | None = None, serial: str = "1") -> None:
        super().__init__(line or FakeLine())  # type: ignore[call-arg]
        self.told: list[str] = []
        self.faults: dict[str, BaseException] = {}
        self.hooks: dict[str, Callable[[], Any]] = {}
        self.identity = Identity("Fake", type(self).__name__, serial)

    def _tell(self, what: str) -> None:
        self.told.append(what)
        if hook := self.hooks.get(what):
            hook()
        if fault := self.faults.get(what):
            raise fault
        if not self.line.is_open:  # type: ignore[attr-defined]
            raise LinkDown("the line is closed")

    def identify(self) -> Identity:
        self._tell("identify")
        return self.identity

    def setup(self) -> None:
        self._tell("setup")

    def count(self, what: str) -> int:
        return self.told.count(what)


class FakeCycler(Told, Cycler[Any]):
    """A cycler with a cell that stays at the voltage a test gives it."""

    measures_temperature: ClassVar[bool] = True

    def __init__(self, line: FakeLine | None = None, serial: str = "1") -> None:
        super().__init__(line, serial)
        self.is_on = False
        self.obeys_off = True
        self.protection: Protection | None = None
        self.setpoint: Setpoint | None = None
        self.reading = Reading(3.7, 0.0, 25.0)
        self.current_A: float | None = None  # None: what the setpoint asks for

    def read(self) -> Mapping[int, Reading]:
        self._tell("read")
        return {1: replace(self.reading, current_A=self._amps(), output_on=self.is_on)}

    def _amps(self) -> float:
        if self.current_A is not None:
            return self.current_A
        setpoint = self.setpoint
        return setpoint.charge_A - setpoint.discharge_A if self.is_on and setpoint else 0.0

    def range(self, channel: int) -> Range:
        return Range((0.0, 5.0), (-10.0, 10.0))

    def off(self, channel: int) -> None:
        self._tell("off")
        if not self.obeys_off:
            raise ReadbackMismatch("still on")
        self.is_on = False

    def off_exchanges(self, channel: int) -> tuple[Exchange, ...]:
        return (Exchange(b"OFF\n", b"0\n"),)

    def protect(self, channel: int, protection: Protection) -> None:
        self._tell("protect")
        self.protection = protection

    def apply(self, channel: int, setpoint: Setpoint) -> None:
        self._tell("apply")
        self.setpoint = setpoint

    def on(self, channel: int) -> None:
        self._tell("on")
        self.is_on = True

    def clear(self, channel: int) -> None:
        self._tell("clear")


class FakeChamber(Told, Chamber[Any]):
    """A chamber that is at once where it is told to be."""

    def __init__(self, line: FakeLine | None = None, serial: str = "1") -> None:
        super().__init__(line, serial)
        self.degC = 25.0
        self.written: list[float] = []

    def read(self) -> Mapping[int, Reading]:
        self._tell("read")
        return {1: Reading(temperature_degC=self.degC)}

    def set_temperature(self, degC: float) -> None:
        self._tell("set")
        self.written.append(degC)

    def off(self, channel: int) -> None:
        self._tell("off")


class FakePotentiostat(Told, Potentiostat[Any]):
    """A potentiostat whose sweeps end when a test says so."""

    def __init__(self, line: FakeLine | None = None, serial: str = "1") -> None:
        super().__init__(line, serial)
        self.channels = (1, 2)
        self.sweeping = 0  # channel
        self.progress = Progress(MeasurementState.RUNNING)

    def read(self) -> Mapping[int, Reading]:
        self._tell("read")
        return {}

    def start(self, channel: int, spectrum: Spectrum) -> None:
        self._tell("start")
        self.sweeping = channel

    def poll(self) -> Progress:
        self._tell("poll")
        return self.progress

    def abort(self) -> None:
        self._tell("abort")
        self.sweeping = 0

    def off(self, channel: int) -> None:
        self._tell("off")


class FakeLogger(Told, Logger[Any]):
    """A thermometer."""

    def read(self) -> Mapping[int, Reading]:
        self._tell("read")
        return {1: Reading(temperature_degC=25.0)}


class HandBus:
    """A bus without a thread: jobs wait until `run`; `is_here` says whose thread we play."""

    def __init__(self, *, is_here: bool = True) -> None:
        self.is_here = is_here
        self.period_s = PERIOD_S
        self.urgent: deque[Callable[[], Any]] = deque()
        self.jobs: deque[Callable[[], Any]] = deque()
        self.beats = 0
        self.hurries: dict[str, tuple[float, float]] = {}

    def hurry(self, who: str, period_s: float, from_s: float) -> None:
        self.hurries[who] = (period_s, from_s)

    def ease(self, who: str) -> None:
        self.hurries.pop(who, None)

    def here(self) -> bool:
        return self.is_here

    def urge(self, job: Callable[[], Any]) -> None:
        self.urgent.append(job)

    def post(self, job: Callable[[], Any]) -> None:
        self.jobs.append(job)

    def call(self, job: Callable[[], Any], *, urgent: bool = False) -> Future[Any]:
        future: Future[Any] = Future()
        (self.urge if urgent else self.post)(lambda: future.set_result(job()))
        return future

    def beat(self) -> None:
        self.beats += 1

    def run_urgent(self) -> None:
        while self.urgent:
            self.urgent.popleft()()

    def run(self) -> None:
        self.run_urgent()
        while self.jobs:
            self.jobs.popleft()()


class MemoryJournal:
    """What the journal was given, in order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.kept: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.saved: dict[str, RunInfo] = {}
        self.failed = ""

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def append(self, entry: Entry, *, at_once: bool = False) -> None:
        self.entries.append(entry)

    def keep(self, kind: str, name: str, data: Mapping[str, Any]) -> None:
        self.kept[kind, name] = data

    def forget(self, kind: str, name: str) -> None:
        self.kept.pop((kind, name), None)

    def save_run(self, run: RunInfo) -> None:
        self.saved[run.id] = run

    def events(self, kind: EventKind) -> list[Event]:
        return [item for item in self.entries if isinstance(item, Event) and item.kind is kind]

    def records(self) -> list[Record]:
        return [item for item in self.entries if isinstance(item, Record)]


class Faults:
    """A listener that counts."""

    def __init__(self) -> None:
        self.began: list[InstrumentError] = []
        self.ended = 0

    def fault_began(self, instrument: Instrument, error: InstrumentError) -> None:
        self.began.append(error)

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        self.ended += 1


def instrument(driver: Any, name: str = "aps1", listener: Any = None, **more: Any) -> Instrument:
    """An instrument around a fake driver."""
    spec = InstrumentSpec(name, type(driver).__name__, "FAKE", PERIOD_S)
    return Instrument(spec, driver.line, driver, listener or Faults(), **more)


def program(*steps: str, cell: Cell = CELL) -> Any:
    """Steps of a protocol file, compiled for the cell."""
    source = parse_protocol(HEAD + "".join(steps), "test.yaml")
    return compile_protocol(source, cell, [("station A1", HARD)])


class Stand:
    """A station on fakes: one cycler, and optionally a shared chamber and potentiostat."""

    def __init__(
        self,
        clock: TurnedClock,
        name: str = "A1",
        *,
        factor: float = 1.0,
        chamber: Thermostat | None = None,
        sweeper: Sweeper | None = None,
    ) -> None:
        self.clock = clock
        self.lab_clock = LabClock(factor, now=clock)
        self.journal = MemoryJournal()
        self.alarms = Alarms(self.journal, lambda: self.lab_clock.utc(clock()))  # type: ignore[arg-type]
        self.faults = Faults()
        self.driver = FakeCycler()
        self.instrument = instrument(self.driver, f"cycler-{name}", self.faults)
        self.bus = HandBus()
        self.refusal = ""  # why the station must not be energised
        self.connected: list[str] = []
        source = ChannelRef(self.instrument.name)
        freshness = Freshness(str(source), PERIOD_S)
        slack_s = SLACK_PERIODS * PERIOD_S * factor
        self.guard = Guard(HARD, range_A=10.0, slack_s=slack_s, cycler=freshness, thermometer=None)
        self.output = CyclerOutput(
            self.instrument,
            1,
            watchdog_s=2.0,
            rule=self.guard.output,
            may_energise=self.why_not,
        )
        eis = ChannelRef(sweeper.name, 1) if sweeper else None
        cell_at = ChannelRef(chamber.name) if chamber else None
        self.station = Station(
            Wiring(name, source, source, cell_at, eis, HARD, 10.0),
            home=self.bus,  # type: ignore[arg-type]
            output=self.output,
            guard=self.guard,
            clock=self.lab_clock,
            journal=self.journal,  # type: ignore[arg-type]
            alarms=self.alarms,
            thermostat=chamber,
            sweeper=sweeper,
        )
        self.conductor = self.station.conductor
        self.loop = Loop(
            [self.instrument],
            bus=self.bus,  # type: ignore[arg-type]
            judged_by={source: [self.station]},
            home_of=[self.station],
            thermostats={},
            sweepers={},
            clock=self.lab_clock,
            connected=lambda found: self.connected.append(found.name),
        )

    def why_not(self) -> str:
        """What the supervisor would say."""
        latch = self.station.latch
        return f"tripped: {latch.message}" if latch else self.refusal

    def tick(self, times: int = 1, every_s: float = PERIOD_S) -> None:
        """Let the clock and the loop go on; an exception is what the bus makes of it."""
        for _ in range(times):
            self.clock.now_s += every_s
            self.bus.run()
            try:
                self.loop.tick()
            except Exception as error:
                self.loop.crashed(error)
            self.alarms.drain()

    def start(self, *steps: str, paused: str = "") -> Run:
        """Begin a run of these steps; not a tick passes."""
        info = RunInfo(f"run-{self.station.name}", self.station.name, "c1", "test", 0.0, {})
        run = Run(info, Engine(program(*steps)), self.journal)  # type: ignore[arg-type]
        self.conductor.begin(run, paused)
        return run

    def energised(self, *steps: str) -> Run:
        """Begin a run and let it energise."""
        self.tick()
        run = self.start(*(steps or (CHARGE,)))
        self.tick(2)
        assert self.driver.is_on
        return run

    def latched(self, check: str = "V1") -> Trip:
        """Trip by a rule of the test's own."""
        trip = Trip(check, "because the test says so")
        self.station.trip(trip)
        return trip

    @property
    def kept_trip(self) -> Mapping[str, Any] | None:
        """What a restart would read."""
        return self.journal.kept.get((Kept.TRIP, self.station.name))


def points(count: int) -> list[SpectrumPoint]:
    """Points of a spectrum."""
    return [SpectrumPoint(1000.0 / (n + 1), 0.02, -0.001) for n in range(count)]


NO_READING = Reading(nan, nan, nan)
