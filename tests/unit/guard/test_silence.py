"""P1, C1, K1: what has not arrived, and contacts that open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daq.control.guard import Freshness, Interlocks, Polls
from daq.model import ChannelRef
from tests.unit.guard.samples import sample


def test_three_polls_without_an_answer_are_told_once():
    polls = Polls(0.1)
    assert polls.judge(1e9) == ""  # before the first answer there is nothing to miss
    polls.answered(100.0)
    assert polls.judge(100.274) == ""
    assert polls.judge(100.276) == "three polls of the cycler were not answered"
    assert polls.judge(200.0) == ""
    polls.answered(200.0)
    assert polls.judge(200.2) == ""
    assert polls.judge(200.3) != ""


def test_exactly_so_long_may_an_answer_take():
    polls = Polls(4.0)
    polls.answered(0.0)
    assert polls.judge(11.0) == ""
    assert polls.judge(11.1) != ""


def contacts() -> tuple[Interlocks, Freshness, Freshness]:
    door, smoke = Freshness("di1.1", 0.1), Freshness("di1.2", 0.1)
    return Interlocks({"di1.1": door, "di1.2": smoke}), door, smoke


def contact(number: int, at_s: float, fault: str = ""):
    calm = sample(at_s)
    reading = replace(calm.reading, fault=fault)
    return replace(calm, source=ChannelRef("di1", number), reading=reading)


def closed() -> Interlocks:
    interlocks, _, _ = contacts()
    interlocks.see(contact(1, 100.0))
    interlocks.see(contact(2, 100.0))
    return interlocks


def test_closed_contacts_say_nothing():
    assert closed().judge(102.0) is None
    assert Interlocks({}).judge(1e9) is None


def test_one_open_contact_is_enough_and_closes_again():
    interlocks = closed()
    interlocks.see(contact(2, 100.5, "smoke"))
    trip = interlocks.judge(100.5)
    assert trip is not None
    assert (trip.check, trip.message, trip.source) == ("K1", "di1.2: smoke", "di1.2")
    interlocks.see(contact(2, 101.0))
    assert interlocks.judge(101.0) is None
    interlocks.see(contact(2, 101.5))  # closing twice is no error
    assert interlocks.judge(101.5) is None


@pytest.mark.parametrize("silent", [1, 2])
def test_a_contact_that_cannot_be_read_is_open(silent):
    interlocks = closed()
    interlocks.see(contact(3 - silent, 102.0))
    trip = interlocks.judge(102.01)
    assert trip is not None
    assert (trip.check, trip.source) == ("K1", f"di1.{silent}")
    assert trip.message == f"no valid sample of di1.{silent} for 2.01 s"


def test_a_contact_that_was_never_read_is_open():
    interlocks, _, _ = contacts()
    assert interlocks.judge(0.0) is not None


def test_the_source_itself_is_fresh_then():
    interlocks, door, _ = contacts()
    interlocks.see(contact(1, 50.0, "open"))
    assert door.age_s(51.0) == 1.0
