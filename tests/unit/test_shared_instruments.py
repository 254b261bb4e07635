"""Shared instruments: who may use one, what a chamber is told, which sweep is started."""

from __future__ import annotations

import threading

import pytest

from daq.control.claims import Claims
from daq.control.sweeper import Sweeper
from daq.control.thermostat import Thermostat
from daq.driver import Progress
from daq.errors import InstrumentRefused, LinkDown, NoReply
from daq.model import MeasurementState
from tests.unit.fakes import (
    SPECTRUM,
    FakeChamber,
    FakePotentiostat,
    HandBus,
    TurnedClock,
    instrument,
    points,
)

DONE, FAILED, RUNNING = MeasurementState.DONE, MeasurementState.FAILED, MeasurementState.RUNNING


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    return clock


# Claims.


def test_the_first_to_ask_has_it_and_another_wish_is_told_who():
    claims = Claims("mk56")
    assert claims.claim("A1", 25.0) == ""
    assert claims.claim("A2", 40.0) == "mk56 is in use by A1"
    assert claims.claim("A2", 25.0) == ""
    assert claims.claim("A3", 40.0) == "mk56 is in use by A1, A2"
    assert claims.users() == {"A1": 25.0, "A2": 25.0}


def test_the_only_user_may_change_its_mind():
    claims = Claims("mk56")
    claims.claim("A1", 25.0)
    assert claims.claim("A1", 40.0) == ""


def test_who_is_denied_gives_up_what_it_held_so_that_two_never_block_each_other():
    claims = Claims("mk56")
    claims.claim("A1", 25.0)
    claims.claim("A2", 25.0)
    assert claims.claim("A1", 40.0) == "mk56 is in use by A2"
    assert claims.claim("A2", 40.0) == ""
    assert claims.claim("A1", 40.0) == ""


def test_giving_up_what_was_not_held_does_nothing():
    claims = Claims("mk56")
    claims.release("A1")
    assert claims.users() == {}


def test_of_many_that_ask_at_once_one_wish_is_granted():
    claims, barrier, granted = Claims("pico"), threading.Barrier(16), []

    def ask(name):
        barrier.wait()
        if not claims.claim(name, object()):
            granted.append(name)

    threads = [threading.Thread(target=ask, args=(f"A{n}",)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert granted == list(claims.users())
    assert len(granted) == 1


# The chamber.


@pytest.fixture
def bus():
    return HandBus()


@pytest.fixture
def chamber():
    return FakeChamber()


@pytest.fixture
def thermostat(bus, chamber):
    box = instrument(chamber, "mk56")
    assert box.ready()
    return Thermostat(box, bus, "wait")


def test_a_temperature_is_written_on_the_chambers_own_thread_and_once(thermostat, bus, chamber):
    assert thermostat.request("A1", 40.0) == ""
    assert chamber.written == []
    bus.run()
    for _ in range(5):
        thermostat.serve()
    thermostat.request("A1", 40.0)
    bus.run()
    assert chamber.written == [40.0]


def test_before_anybody_asks_nothing_is_written(thermostat, chamber):
    thermostat.serve()
    assert chamber.written == []


def test_what_a_chamber_does_not_take_is_written_again(thermostat, bus, chamber, clock):
    chamber.faults["set"] = NoReply("busy")
    thermostat.request("A1", 40.0)
    bus.run()
    assert not thermostat._instrument.online
    chamber.faults.clear()
    thermostat.serve()  # offline: nothing is asked
    assert chamber.written == []
    clock.now_s += 1.0
    assert thermostat._instrument.ready()
    thermostat.serve()
    thermostat.serve()
    assert chamber.written == [40.0]


def test_a_chamber_whose_link_was_lost_is_told_again(thermostat, bus, chamber):
    thermostat.request("A1", 40.0)
    bus.run()
    thermostat.lost()
    thermostat.serve()
    assert chamber.written == [40.0, 40.0]


def test_a_wish_that_comes_while_another_is_being_written_is_not_lost(thermostat, bus, chamber):
    thermostat.request("A1", 40.0)
    chamber.hooks["set"] = lambda: (chamber.hooks.clear(), thermostat.request("A1", 10.0))
    bus.run()
    thermostat.serve()
    assert chamber.written[-1] == 10.0


def test_when_the_last_station_leaves_the_temperature_stays(thermostat, bus, chamber):
    thermostat.request("A1", 40.0)
    bus.run()
    thermostat.release("A1")
    thermostat.serve()
    assert chamber.written == [40.0]
    assert thermostat.request("A2", -10.0) == ""


# The potentiostat.


class Customer:
    def __init__(self, name="A1"):
        self.name = name
        self.points = []
        self.over = []

    def sweep_points(self, points):
        self.points += points

    def sweep_over(self, state, message):
        self.over.append((state, message))


@pytest.fixture
def driver():
    return FakePotentiostat()


@pytest.fixture
def sweeper(bus, driver):
    box = instrument(driver, "pico")
    assert box.ready()
    return Sweeper(box, bus)


def test_a_sweep_is_started_polled_and_ended(sweeper, bus, driver):
    one = Customer()
    assert sweeper.request(one, 2, SPECTRUM) == ""
    assert not sweeper.busy
    bus.run()
    assert sweeper.busy
    assert driver.sweeping == 2
    driver.progress = Progress(RUNNING, points(2))
    sweeper.poll()
    driver.progress = Progress(DONE, points(1), "well")
    sweeper.poll()
    assert len(one.points) == 3
    assert one.over == [(DONE, "well")]
    assert not sweeper.busy
    sweeper.poll()
    assert driver.count("poll") == 2


def test_another_station_waits_until_the_sweep_is_over(sweeper, bus, driver):
    sweeper.request(Customer("A1"), 1, SPECTRUM)
    assert sweeper.request(Customer("A2"), 2, SPECTRUM) == "pico is in use by A1"
    bus.run()
    driver.progress = Progress(DONE)
    sweeper.poll()
    assert sweeper.request(Customer("A2"), 2, SPECTRUM) == ""


@pytest.mark.parametrize("error", [InstrumentRefused("no such frequency"), NoReply("silent")])
def test_a_sweep_that_does_not_start_has_failed(error, sweeper, bus, driver):
    driver.faults["start"] = error
    one = Customer()
    sweeper.request(one, 1, SPECTRUM)
    bus.run()
    ((state, message),) = one.over
    assert state is FAILED
    assert str(error) in message
    assert sweeper.request(Customer("A2"), 1, SPECTRUM) == ""


def test_a_sweep_on_an_instrument_that_is_offline_has_failed(sweeper, bus, driver):
    driver.line.refuses = LinkDown("unplugged")
    sweeper._instrument.drop()
    one = Customer()
    sweeper.request(one, 1, SPECTRUM)
    bus.run()
    assert one.over[0][0] is FAILED


def test_a_link_that_fails_in_the_middle_voids_the_sweep(sweeper, bus, driver):
    one = Customer()
    sweeper.request(one, 1, SPECTRUM)
    bus.run()
    driver.faults["poll"] = NoReply("silent")
    sweeper.poll()
    assert one.over[0][0] is FAILED
    assert not sweeper.busy


def test_a_sweep_that_is_aborted_before_it_began_never_begins(sweeper, bus, driver):
    one = Customer()
    sweeper.request(one, 1, SPECTRUM)
    sweeper.abort("A1")
    bus.run()
    assert driver.count("start") == 0
    assert one.over == []
    assert sweeper.request(Customer("A2"), 1, SPECTRUM) == ""


def test_an_abort_opens_the_cell_and_says_nothing_more(sweeper, bus, driver):
    one = Customer()
    sweeper.request(one, 1, SPECTRUM)
    bus.run()
    sweeper.abort("A1")
    bus.run()
    sweeper.poll()
    assert driver.sweeping == 0
    assert one.over == []


def test_who_has_no_sweep_aborts_nobody_elses(sweeper, bus, driver):
    sweeper.request(Customer("A1"), 1, SPECTRUM)
    bus.run()
    sweeper.abort("A2")
    sweeper._abort("A2")
    bus.run()
    assert driver.sweeping == 1
    assert sweeper.busy


def test_an_abort_that_fails_drops_the_link_for_the_next_open_to_end_the_script(
    sweeper, bus, driver
):
    sweeper.request(Customer("A1"), 1, SPECTRUM)
    bus.run()
    driver.faults["abort"] = NoReply("silent")
    sweeper.abort("A1")
    bus.run()
    assert not sweeper._instrument.online
    assert not sweeper.busy


# On the way to a target; and the humidity.


def test_stations_agree_on_where_a_ramp_leads_and_not_on_each_setpoint(thermostat, bus, chamber):
    assert thermostat.request("A1", 26.0, 40.0) == ""
    assert thermostat.request("A2", 28.0, 40.0) == ""
    bus.run()
    assert thermostat.request("A1", 27.0, 40.0) == ""  # it has got further already
    bus.run()
    assert chamber.written == [28.0]
    assert thermostat.request("A1", 30.0, 40.0) == ""
    bus.run()
    assert chamber.written == [28.0, 30.0]
    assert thermostat.request("A3", 40.0, 41.0) == "mk56 is in use by A1, A2"


def test_alone_a_station_may_go_back(thermostat, bus, chamber):
    for degC in (30.0, 28.0):
        thermostat.request("A1", degC, 40.0)
        bus.run()
    assert chamber.written == [30.0, 28.0]


def test_a_humidity_is_written_before_the_temperature_and_once(thermostat, bus, chamber):
    told = []
    chamber.set_humidity = told.append
    chamber.hooks["set"] = lambda: told.append("temperature")
    thermostat.request("A1", 40.0, 40.0, 55.0)
    bus.run()
    assert told == [55.0, "temperature"]
    thermostat.request("A1", 41.0, 41.0, 55.0)
    bus.run()
    assert told == [55.0, "temperature", "temperature"]
    thermostat.lost()  # it may have forgotten
    thermostat.serve()
    assert told[3:] == [55.0, "temperature"]


def test_who_asks_for_no_humidity_takes_it_as_it_is_and_another_one_waits(thermostat, bus):
    assert thermostat.request("A1", 40.0, 40.0, 55.0) == ""
    assert thermostat.request("A2", 40.0) == ""
    assert thermostat.request("A3", 40.0, 40.0, 30.0) == "the humidity of mk56 is in use by A1"
    thermostat.release("A1")
    assert thermostat.request("A3", 40.0, 40.0, 30.0) == ""
