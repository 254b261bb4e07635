"""The cycler's own counters: when they are asked, and what is noted of a step."""

from __future__ import annotations

from math import nan

import pytest

from daq.driver import Range
from daq.errors import InstrumentRefused, NoReply
from daq.model import Counted, EventKind
from tests.unit.fakes import REST, FakeCycler, Stand, TurnedClock

AMPS = 2.5
STEP = "  - charge: 1C\n    until: time >= 10 s\n    at_most: 1 h\n"
OUT = "  - discharge: 1C\n    until: time >= 10 s\n    at_most: 1 h\n"
SHORT_REST = "  - rest: 10 s\n"


class CountingCycler(FakeCycler):
    """Counts what it lets flow while a test turns the clock; begins anywhere."""

    count_messages = 1

    def __init__(self) -> None:
        super().__init__()
        self.clock = TurnedClock()
        self.counter_Ah = 123.0
        self.factor = 1.0
        self.seen_s = 0.0
        self.has_counters = True

    def read(self):
        self.flow()
        return super().read()

    def apply(self, channel, setpoint):
        self.flow()
        super().apply(channel, setpoint)

    def off(self, channel):
        self.flow()
        super().off(channel)

    def flow(self) -> None:
        hours = (self.clock.now_s - self.seen_s) / 3600
        self.counter_Ah += self.factor * self._amps() * hours
        self.seen_s = self.clock.now_s

    def counted(self, channel):
        self.flow()
        self._tell("counted")
        if not self.has_counters:
            return None
        return Counted(self.counter_Ah, 3.7 * self.counter_Ah, 1e-9, 1e-9)


@pytest.fixture
def offline(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    driver = CountingCycler()
    driver.clock, driver.seen_s = clock, clock.now_s
    monkeypatch.setattr("tests.unit.fakes.FakeCycler", lambda: driver)
    return Stand(clock)


@pytest.fixture
def stand(offline):
    offline.tick()
    return offline


def counted(stand):
    return [dict(event.data) for event in stand.journal.events(EventKind.COUNTED)]


def play(stand, *steps):
    stand.start(*steps)
    stand.tick(40, every_s=0.1)
    for _ in range(400):
        if stand.conductor.run is None:
            return
        stand.tick(every_s=0.1)
    raise AssertionError("the run does not end")


def test_each_step_is_told_once_with_what_both_have_counted(stand):
    play(stand, STEP, SHORT_REST, OUT)
    first, rest, last = counted(stand)
    assert [one["step_count"] for one in (first, rest, last)] == [1, 2, 3]
    assert first["net_Ah"] == pytest.approx(AMPS * 10 / 3600, rel=0.02)
    assert first["instrument_net_Ah"] == pytest.approx(first["net_Ah"], rel=0.02)
    assert last["instrument_net_Ah"] == pytest.approx(-AMPS * 10 / 3600, rel=0.02)
    assert last["moved_Ah"] == pytest.approx(-last["net_Ah"])
    assert rest["instrument_net_Ah"] == pytest.approx(0.0, abs=1e-3)
    assert {one["missing"] for one in counted(stand)} == {""}


def test_a_counter_that_goes_too_fast_shows(stand):
    stand.driver.factor = 1.01
    play(stand, STEP, SHORT_REST)
    first = counted(stand)[0]
    assert first["instrument_net_Ah"] / first["net_Ah"] == pytest.approx(1.01, rel=5e-4)


def test_an_end_switches_off_before_anybody_counts(stand):
    stand.energised(STEP, REST)
    told = stand.driver.told
    told.clear()
    stand.tick(110, every_s=0.1)
    assert not stand.driver.is_on
    assert told.index("off") < told.index("read", told.index("off")) < told.index("counted")


def test_an_urgent_off_goes_before_the_counting(stand):
    stand.energised(STEP, REST)
    order = []
    stand.driver.hooks["off"] = lambda: stand.bus.urge(lambda: order.append("urgent"))
    stand.driver.hooks["counted"] = lambda: order.append("counted")
    stand.tick(110, every_s=0.1)
    assert order == ["urgent", "counted"]


def test_nothing_is_asked_between_two_edges(stand):
    stand.start(REST)
    stand.tick(5)
    stand.driver.told.clear()
    stand.tick(50, every_s=1.0)
    assert stand.driver.count("counted") == 0


def test_a_cycler_without_counters_is_asked_once_and_shows_none(offline):
    stand = offline
    stand.driver.has_counters = False
    stand.tick()
    play(stand, STEP, SHORT_REST)
    assert counted(stand) == []
    assert stand.driver.count("counted") == 1
    assert stand.journal.events(EventKind.NOTE) == []


def test_a_unit_that_does_not_answer_is_given_up_before_a_run_begins(offline):
    stand = offline
    stand.driver.faults["counted"] = NoReply("silence")
    stand.tick(60)
    assert stand.instrument.online
    assert stand.driver.count("counted") == 2
    play(stand, STEP, SHORT_REST)
    assert stand.driver.count("counted") == 2
    assert counted(stand) == []
    assert stand.journal.events(EventKind.RUN_ENDED)[0].data["outcome"] == "completed"
    assert not stand.station.latch
    (note,) = stand.journal.events(EventKind.NOTE)
    assert "not asked any more: silence" in note.data["text"]


def test_a_refusal_in_the_middle_of_a_run_costs_a_figure_and_nothing_else(stand):
    stand.energised(STEP, SHORT_REST, OUT)
    stand.driver.faults["counted"] = InstrumentRefused("not now")
    stand.tick(105, every_s=0.1)
    del stand.driver.faults["counted"]
    stand.tick(250, every_s=0.1)
    assert stand.journal.events(EventKind.RUN_ENDED)[0].data["outcome"] == "completed"
    first, rest, last = counted(stand)
    assert first["instrument_net_Ah"] is None
    assert "did not answer" in first["missing"]
    assert "not read at the beginning" in rest["missing"]
    assert last["missing"] == ""


def test_a_link_that_breaks_while_counting_before_on_delays_the_run_and_trips_nothing(stand):
    stand.driver.faults["counted"] = NoReply("pulled")
    stand.start(STEP)
    stand.tick()
    assert not stand.driver.is_on
    assert stand.conductor.waits_for == "the link was lost"
    del stand.driver.faults["counted"]
    stand.tick(250, every_s=0.1)
    assert not stand.station.latch
    assert stand.journal.events(EventKind.RUN_ENDED)[0].data["outcome"] == "completed"


def test_the_counters_are_asked_before_on_while_nothing_flows(stand):
    stand.start(STEP)
    stand.driver.told.clear()
    stand.tick()
    told = stand.driver.told
    assert told.index("counted") < told.index("protect") < told.index("on")


def test_a_counter_that_was_reset_has_no_figure(stand):
    stand.energised(STEP, SHORT_REST, OUT)
    stand.driver.counter_Ah = 0.0
    stand.tick(400, every_s=0.1)
    first, rest, last = counted(stand)
    assert "reset" in first["missing"]
    assert first["net_Ah"] is None
    assert (rest["missing"], last["missing"]) == ("", "")


def test_a_counter_that_ran_over_has_no_figure(stand):
    stand.energised(STEP, SHORT_REST)
    stand.driver.counter_Ah = nan
    stand.tick(250, every_s=0.1)
    assert "ran over" in counted(stand)[0]["missing"]


def test_a_link_that_was_lost_in_between_leaves_no_figure(stand):
    stand.energised(STEP, SHORT_REST, OUT)
    stand.driver.faults["read"] = NoReply("pulled")
    stand.tick(3, every_s=0.1)
    del stand.driver.faults["read"]
    stand.tick(400, every_s=0.1)
    first, _, last = counted(stand)
    assert "the link was lost" in first["missing"]
    assert last["missing"] == ""


def test_a_cycler_of_unknown_range_is_believed(stand, monkeypatch):
    monkeypatch.setattr(stand.driver, "range", lambda channel: Range())
    stand.instrument.drop()
    stand.tick(10)
    play(stand, STEP, SHORT_REST)
    assert {one["missing"] for one in counted(stand)} == {""}
