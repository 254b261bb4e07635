"""A link: opened, identified every time, dropped when in doubt, and told about once."""

from __future__ import annotations

import pytest

from daq.bus.line import Endpoint
from daq.control.instrument import FIRST_PAUSE_S, LONGEST_PAUSE_S
from daq.errors import BadReply, InstrumentRefused, LinkDown, NoReply, ReadbackMismatch
from daq.model import Identity
from tests.unit.fakes import (
    FakeCycler,
    FakePotentiostat,
    Faults,
    TurnedClock,
    instrument,
)


@pytest.fixture
def clock(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    return clock


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def driver():
    return FakeCycler()


@pytest.fixture
def found(clock, driver, faults):
    return instrument(driver, listener=faults)


def test_after_every_open_it_identifies_sets_up_and_asks_its_ranges(found, driver, clock):
    assert found.ready()
    assert driver.told == ["identify", "setup"]
    assert found.ranges[1].current_A == (-10.0, 10.0)
    assert found.identity == driver.identity
    found.drop()
    clock.now_s += 1.0
    assert found.ready()
    assert driver.told == ["identify", "setup"] * 2
    assert found.connections == 2


def test_what_is_open_is_not_opened_again(found, driver):
    assert found.ready()
    assert found.ready()
    assert driver.line.opened == 1


@pytest.mark.parametrize("serial", ["2", ""])
def test_another_unit_at_the_address_is_refused(serial, found, driver, clock, faults):
    assert found.ready()
    found.drop()
    driver.identity = Identity("Fake", "FakeCycler", serial)
    clock.now_s += 1.0
    assert not found.ready()
    assert not driver.line.is_open
    assert "daq forget aps1" in str(faults.began[0])
    assert driver.told.count("setup") == 1


def test_a_unit_that_an_earlier_session_knew_is_expected(clock, driver, faults):
    known = Identity("Fake", "FakeCycler", "77")
    assert not instrument(driver, listener=faults, expected=known).ready()
    assert "where Fake,FakeCycler,77 was before" in str(faults.began[0])


def test_new_firmware_is_the_same_unit(found, driver, clock):
    found.ready()
    found.drop()
    driver.identity = Identity("Fake", "FakeCycler", "1", firmware="2.0")
    clock.now_s += 1.0
    assert found.ready()
    assert found.identity.firmware == "2.0"


def test_a_unit_that_was_exchanged_on_purpose_is_accepted_at_once(found, driver):
    found.ready()
    found.drop()
    driver.identity = Identity("Fake", "FakeCycler", "2")
    found.forget_identity()
    assert found.ready()


def openings(found, driver, clock, seconds):
    """When the line is tried, in a time during which nobody answers."""
    at, began = [], clock.now_s
    for _ in range(round(seconds / 0.01)):
        before = driver.line.opened
        found.ready()
        if driver.line.opened > before:
            at.append(round(clock.now_s - began, 2))
        clock.now_s += 0.01
    return at


def test_the_pause_between_attempts_grows_to_a_bound(found, driver, clock):
    driver.line.refuses = LinkDown("switched off")
    at = openings(found, driver, clock, 40.0)
    pauses = [round(later - sooner, 2) for sooner, later in zip(at, at[1:], strict=False)]
    assert pauses[0] == pytest.approx(FIRST_PAUSE_S, abs=0.02)
    assert pauses[1] == pytest.approx(2 * FIRST_PAUSE_S, abs=0.02)
    assert pauses == sorted(pauses)
    assert pauses[-1] == pytest.approx(LONGEST_PAUSE_S, abs=0.02)


def test_in_a_hurry_the_pause_does_not_grow(found, driver, clock):
    driver.line.refuses = LinkDown("switched off")
    found.in_a_hurry = True
    at = openings(found, driver, clock, 2.0)
    assert len(at) > 15


def test_a_good_reading_makes_the_next_pause_short_again(found, driver, clock):
    driver.line.refuses = LinkDown("switched off")
    openings(found, driver, clock, 10.0)
    driver.line.refuses = None
    clock.now_s += LONGEST_PAUSE_S
    assert found.ready()
    assert found.read()
    found.failed(NoReply("gone again"))
    assert not found.ready()
    clock.now_s += FIRST_PAUSE_S
    assert found.ready()


@pytest.mark.parametrize("error", [NoReply("x"), BadReply("x"), LinkDown("x")])
def test_a_link_in_doubt_is_dropped_at_once(error, found, driver):
    found.ready()
    driver.faults["read"] = error
    assert found.read() == {}
    assert not found.online
    assert not driver.line.is_open


@pytest.mark.parametrize("error", [InstrumentRefused("x"), ReadbackMismatch("x")])
def test_a_link_that_answers_in_good_order_is_kept(error, found, driver):
    found.ready()
    found.failed(error)
    assert found.online
    assert driver.line.is_open


@pytest.mark.parametrize("step", ["identify", "setup"])
@pytest.mark.parametrize("error", [NoReply("x"), InstrumentRefused("x"), ReadbackMismatch("x")])
def test_whatever_fails_while_it_comes_up_closes_it_and_pauses(
    step, error, found, driver, clock, faults
):
    driver.faults[step] = error
    assert not found.ready()
    assert not driver.line.is_open
    assert not found.ready()
    assert driver.line.opened == 1
    assert faults.began == [error]
    clock.now_s += FIRST_PAUSE_S
    assert not found.ready()
    clock.now_s += FIRST_PAUSE_S
    assert not found.ready()
    assert driver.line.opened == 2  # the second pause is twice as long, not four times
    clock.now_s += FIRST_PAUSE_S
    assert not found.ready()
    assert driver.line.opened == 3


@pytest.mark.parametrize("step", ["identify", "setup"])
def test_a_bug_of_the_driver_while_it_comes_up_closes_it_and_pauses_too(step, found, driver):
    driver.faults[step] = ValueError("could not convert string to float")
    with pytest.raises(ValueError, match="could not convert"):
        found.ready()
    assert not driver.line.is_open
    assert not found.ready()
    assert driver.line.opened == 1


def test_a_bug_of_the_driver_in_a_read_leaves_no_link_in_doubt(found, driver):
    found.ready()
    driver.faults["read"] = ValueError("could not convert string to float")
    with pytest.raises(ValueError, match="could not convert"):
        found.read()
    assert not found.online
    assert not driver.line.is_open


def test_a_fault_is_told_once_when_it_begins_and_once_when_it_ends(found, driver, clock, faults):
    found.ready()
    driver.faults["read"] = NoReply("silent")
    found.read()
    driver.faults["identify"] = NoReply("silent")
    for _ in range(100):
        found.ready()
        clock.now_s += 0.1
    assert (len(faults.began), faults.ended) == (1, 0)
    driver.faults.clear()
    clock.now_s += LONGEST_PAUSE_S
    found.ready()
    found.read()
    found.read()
    assert (len(faults.began), faults.ended) == (1, 1)


def test_a_box_that_identifies_and_does_not_read_is_one_fault_and_not_many(
    found, driver, clock, faults
):
    driver.faults["read"] = NoReply("silent")
    for _ in range(300):
        if found.ready():
            found.read()
        clock.now_s += 0.1
    assert (len(faults.began), faults.ended) == (1, 0)
    assert driver.line.opened < 15


def test_a_link_that_was_closed_for_good_is_not_opened_again(found, driver, clock):
    found.ready()
    found.close()
    clock.now_s += 1e6
    assert not found.ready()
    assert not driver.line.is_open


# Recipes.


def test_the_recipe_tells_address_and_bytes(found, driver):
    recipe = found.recipe(lambda name: ["off", name])
    assert recipe == {
        "kind": "tcp", "address": "127.0.0.1", "port": 5025, "frame": "", "gap_s": 0.0,
        "exchanges": [[[b"OFF\n".hex(), b"0\n".hex()]]], "command": [],
    }  # fmt: skip
    driver.line.leads_to = Endpoint("serial", "/dev/ttyUSB0", 9600, "8E1")
    assert found.recipe(lambda name: [])["frame"] == "8E1"


def test_where_bytes_cannot_reach_it_the_recipe_is_a_program(found, driver):
    driver.line.leads_to = None
    assert found.recipe(lambda name: ["off", name])["command"] == ["off", "aps1"]


def test_where_the_dialect_has_no_bytes_for_it_the_recipe_is_a_program(clock):
    potentiostat = instrument(FakePotentiostat(), "pico")
    assert potentiostat.recipe(lambda name: ["off", name])["command"] == ["off", "pico"]
