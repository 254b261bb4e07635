"""No path leads from a latch to an energised cell but through an operator with a reason.

A machine of everything that people, links and instruments may do to a station, in any order, on
real Station, Conductor, Output, Guard and Loop; only the driver and the clock are fakes. At every
ON it asks what must hold, and after every rule what must never be. `--trials` sets how many runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import daq.control.start as start_module
from daq.control import instrument, loop, output, station
from daq.control.run import Run
from daq.control.start import Starter
from daq.errors import CommandRefused, NoReply
from daq.journal import Kept
from daq.model import Reading, RunInfo, Trip
from daq.protocol.engine import Engine
from tests.unit.fakes import CHARGE, POWER, REST, Stand, TurnedClock, program

CALM = Reading(3.7, 0.0, 25.0)
LOOK_FIRST_S = 2.0
USE_THE_CLOCK = (loop, station, output, instrument, start_module)
PROGRAM = program(CHARGE, REST, POWER)


class Latch(RuleBasedStateMachine):
    """One station, and what was done to it.

    Attributes:
        latched: the machine's own idea of the latch; it knows nothing of the station's.
        cleared_at_s: when somebody cleared with a reason, and was not refused.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = TurnedClock()
        self.before = [(module, module.monotonic) for module in USE_THE_CLOCK]
        for module in USE_THE_CLOCK:
            module.monotonic = self.clock  # type: ignore[attr-defined]
        self.runs = 0
        self.latched = False
        self.verified_off = True
        self.protected = False
        self.cleared_at_s = -1e9
        self.stand = self.fresh()

    def teardown(self) -> None:
        for module, monotonic in self.before:
            module.monotonic = monotonic  # type: ignore[attr-defined]

    def fresh(self) -> Stand:
        """A daemon that has just come up on the same instrument."""
        stand = Stand(self.clock)
        stand.driver.hooks |= {
            "on": self.is_energised,
            "protect": lambda: setattr(self, "protected", True),
            "identify": lambda: setattr(self, "protected", False),
            "off": lambda: setattr(self, "verified_off", stand.driver.obeys_off),
        }
        return stand

    def is_energised(self) -> None:
        """Asked at every ON."""
        stand = self.stand
        assert not self.latched, "energised out of a latch"
        assert stand.station.latch is None
        assert self.clock.now_s - self.cleared_at_s >= LOOK_FIRST_S, "in one breath with a clear"
        assert self.verified_off, "energised although an OFF was never verified"
        assert self.protected, "energised without its limits written since the link came up"
        assert stand.driver.protection is not None
        assert stand.guard.check_silence(self.clock.now_s) is None, "energised blindly"
        assert stand.conductor.run is not None
        assert not stand.conductor.paused

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.stand.tick()
            self.notice()

    def notice(self) -> None:
        """A latch that is seen once holds until it is cleared."""
        self.latched |= self.stand.station.latch is not None

    @property
    def starter(self) -> Starter:
        stand = self.stand
        bench: Any = SimpleNamespace(
            stations={"A1": stand.station}, instruments={stand.instrument.name: stand.instrument}
        )
        journal: Any = stand.journal
        return Starter(None, bench, stand.lab_clock, journal)  # type: ignore[arg-type]

    @initialize()
    def come_up(self) -> None:
        self.tick(2)

    # What people do.

    @rule(paused=st.booleans())
    def start(self, paused: bool) -> None:
        self.runs += 1
        protocol = {"version": "1", "sha256": "", "released": False}
        document = {"protocol": protocol, "cell": {"id": "c1"}, "operator": "ana"}
        info = RunInfo(f"run-{self.runs}", "A1", "c1", "test", 0.0, document)
        run = Run(info, Engine(PROGRAM), self.stand.journal)  # type: ignore[arg-type]
        try:
            self.starter.begin(self.stand.station, run)
        except CommandRefused:
            return
        assert not self.latched, "started out of a latch"
        if paused:
            self.stand.conductor.pause("wait", self.stand.station.last)

    @rule()
    def pause(self) -> None:
        self.stand.conductor.pause("lunch", self.stand.station.last)

    @rule()
    def resume(self) -> None:
        said = self.stand.station.resume("ana")
        assert said or not self.latched, "resumed out of a latch"

    @rule()
    def stop(self) -> None:
        self.stand.conductor.stop("enough", self.stand.station.last)

    @rule(role=st.sampled_from(["operator", "admin"]), burst=st.booleans())
    def clear(self, role: str, burst: bool) -> None:
        on = self.stand.driver.count("on")
        try:
            said = self.stand.station.clear("ana", "looked at it", role)
        except KeyError as bug:  # of the driver: whoever asked is told, and the latch holds
            said = repr(bug)
        assert self.stand.driver.count("on") == on, "clearing energised"
        if not said:
            assert not self.stand.driver.is_on, "cleared with the output ON"
            assert not self.stand.output.owed
            self.latched, self.cleared_at_s = False, self.clock.now_s
        if burst:
            self.resume()
            self.start(paused=False)
            self.tick()

    @rule()
    def switch_on_by_hand(self) -> None:
        self.stand.driver.is_on = True

    # What instruments, links and cells do.

    @rule(check=st.sampled_from(["V1", "T1", "K1"]))
    def trip(self, check: str) -> None:
        self.stand.station.trip(Trip(check, "because the machine says so"))
        self.notice()
        assert self.stand.station.latch is not None

    @rule(volts=st.sampled_from([3.7, 3.7, 3.8, 5.0, 1.0, float("nan")]))
    def read(self, volts: float) -> None:
        self.stand.driver.reading = Reading(volts, 0.0, 25.0)

    @rule(obeys=st.booleans())
    def obey_off(self, obeys: bool) -> None:
        self.stand.driver.obeys_off = obeys

    @rule(what=st.sampled_from(["read", "on", "apply", "protect", "clear", "identify"]))
    def fail(self, what: str) -> None:
        self.stand.driver.faults[what] = NoReply("silent")

    @rule(what=st.sampled_from(["on", "apply", "protect"]))
    def bug(self, what: str) -> None:
        self.stand.driver.faults[what] = KeyError("a driver's bug")

    @rule()
    def mend(self) -> None:
        self.stand.driver.faults.clear()
        self.stand.driver.obeys_off = True
        self.stand.driver.reading = CALM

    @rule()
    def weld_or_free(self) -> None:
        driver = self.stand.driver
        driver.current_A = 2.0 if driver.current_A is None else None

    # Time, and the daemon itself.

    @rule(count=st.integers(1, 25))
    def wait(self, count: int) -> None:
        self.tick(count)

    @rule()
    def restart(self) -> None:
        """Killed and started again: only what the journal was given is left."""
        kept, driver = self.stand.journal.kept, self.stand.driver
        self.stand = self.fresh()
        self.stand.driver.is_on, self.stand.driver.reading = driver.is_on, driver.reading
        self.cleared_at_s = -1e9  # a new daemon knows no clear, and begins with nothing running
        if trip := kept.get((Kept.TRIP, "A1")):
            latch = Trip(trip["check"], trip["message"], trip["source"])
            self.stand.station.latch = latch
        if history := kept.get((Kept.TRIPS, "A1")):
            self.stand.station.history.restore(history)
        self.stand.journal.kept = kept
        assert (self.stand.station.latch is not None) == self.latched, "a latch was forgotten"
        self.tick(2)

    @invariant()
    def a_latch_holds(self) -> None:
        self.notice()
        if self.latched:
            assert self.stand.station.latch is not None, "a latch vanished by itself"

    @invariant()
    def what_is_latched_was_told_off(self) -> None:
        station = self.stand.station
        if station.latch and not station.output.owed:
            assert not station.output.on


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """A traceback of each bug that the machine injects would be most of its time."""

    def drop(*_: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])
    yield
    structlog.reset_defaults()


@pytest.mark.timeout(0)
def test_no_path_leads_from_a_latch_to_an_energised_cell(trials, figure):
    count = trials(25)
    run_state_machine_as_test(
        Latch,
        settings=settings(
            max_examples=count,
            stateful_step_count=40,
            deadline=None,
            derandomize=count <= 1000,
            suppress_health_check=list(HealthCheck),
        ),
    )
    figure("runs of 40 deeds without a path from latch to energised", count, "")


@pytest.mark.fault("F78")
def test_a_start_or_resume_in_one_burst_with_a_clear_is_refused_and_a_later_one_is_not(monkeypatch):
    machine = Latch()
    try:
        machine.come_up()
        machine.start(paused=False)
        machine.wait(3)
        assert machine.stand.driver.is_on
        machine.trip("V1")
        machine.wait(3)
        machine.clear("operator", burst=True)
        assert machine.stand.station.latch is None
        machine.wait(15)
        assert not machine.stand.driver.is_on
        assert "a moment ago" in machine.stand.station.resume("ana")
        machine.wait(5)
        machine.resume()
        machine.wait(3)
        assert machine.stand.driver.is_on
    finally:
        machine.teardown()
