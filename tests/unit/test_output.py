"""The one place that switches: ON only through the whole sequence, OFF owed until verified."""

from __future__ import annotations

import pytest

from daq.errors import InstrumentRefused, LinkDown, NoReply, NotEnergised, ReadbackMismatch
from daq.model import Limits, Setpoint, Trip
from tests.unit.fakes import Stand, TurnedClock

LIMITS = Limits((2.6, 4.2), (-5.0, 5.0), (5.0, 45.0))
CHARGE = Setpoint(4.2, 2.5, 0.0)
LESS = Setpoint(4.2, 1.0, 0.0)


@pytest.fixture
def stand(monkeypatch):
    clock = TurnedClock()
    clock.put_into(monkeypatch)
    stand = Stand(clock)
    stand.tick()
    stand.driver.told.clear()
    return stand


def test_limits_and_setpoint_are_written_before_it_is_switched_on(stand):
    stand.output.regulate(CHARGE, LIMITS)
    assert stand.driver.told == ["protect", "apply", "on"]
    assert stand.output.on
    assert stand.driver.setpoint == CHARGE


def test_the_instruments_own_limits_lie_just_past_the_steps(stand):
    stand.output.regulate(CHARGE, LIMITS)
    protection = stand.driver.protection
    assert protection.voltage_V == pytest.approx((2.6 * 0.99, 4.2 * 1.01))
    assert protection.current_A == pytest.approx((-5.25, 5.25))
    assert protection.watchdog_s == 2.0


def test_a_new_setpoint_is_only_written_when_it_is_on_already(stand):
    stand.output.regulate(CHARGE, LIMITS)
    stand.driver.told.clear()
    stand.output.regulate(LESS, LIMITS)
    assert stand.driver.told == ["apply"]
    stand.output.regulate(LESS, Limits((2.6, 4.1), (-5.0, 5.0)))
    assert stand.driver.told == ["apply", "protect", "apply"]


def test_each_energise_writes_the_limits_again(stand):
    stand.output.regulate(CHARGE, LIMITS)
    stand.output.off()
    stand.driver.told.clear()
    stand.output.regulate(CHARGE, LIMITS)
    assert stand.driver.told == ["protect", "apply", "on"]


@pytest.mark.parametrize("step", ["protect", "apply", "on"])
@pytest.mark.parametrize("error", [ReadbackMismatch("no"), NoReply("no"), InstrumentRefused("no")])
def test_nothing_is_on_after_a_step_of_the_sequence_has_failed_and_off_was_sent(step, error, stand):
    stand.driver.faults[step] = error
    with pytest.raises(type(error)):
        stand.output.regulate(CHARGE, LIMITS)
    assert stand.output.on == (step == "on")  # nobody knows: taken for ON
    assert not stand.driver.is_on or step == "on"
    assert stand.output.off()
    assert not stand.driver.is_on


def test_a_limit_that_did_not_take_is_written_anew_next_time(stand):
    stand.output.regulate(CHARGE, LIMITS)
    stand.driver.faults["protect"] = ReadbackMismatch("no")
    tighter = Limits((2.6, 4.1), (-5.0, 5.0))
    with pytest.raises(ReadbackMismatch):
        stand.output.regulate(CHARGE, tighter)
    stand.driver.faults.clear()
    stand.driver.told.clear()
    stand.output.regulate(CHARGE, LIMITS)  # the former ones: not known to stand any more
    assert stand.driver.told == ["protect", "apply"]


def test_a_word_against_it_keeps_it_off(stand):
    stand.refusal = "the sentinel does not run"
    with pytest.raises(NotEnergised, match="the sentinel does not run"):
        stand.output.regulate(CHARGE, LIMITS)
    assert "apply" not in stand.driver.told
    assert "on" not in stand.driver.told


def test_a_word_against_it_that_comes_last_keeps_it_off(stand):
    stand.driver.hooks["apply"] = lambda: setattr(stand, "refusal", "the sentinel has died")
    with pytest.raises(NotEnergised):
        stand.output.regulate(CHARGE, LIMITS)
    assert stand.driver.told == ["protect", "apply"]


def test_a_latch_that_is_set_between_apply_and_on_keeps_it_off(stand):
    def a_trip_on_another_thread():
        stand.bus.is_here = False
        stand.station.trip(Trip("T1", "too hot"))
        stand.bus.is_here = True

    stand.driver.hooks["apply"] = a_trip_on_another_thread
    with pytest.raises(NotEnergised, match="too hot"):
        stand.output.regulate(CHARGE, LIMITS)
    assert "on" not in stand.driver.told
    stand.bus.run_urgent()
    assert stand.driver.told[-1] == "off"


def test_a_setpoint_is_not_renewed_either_when_something_speaks_against_it(stand):
    stand.output.regulate(CHARGE, LIMITS)
    stand.refusal = "the journal cannot be written"
    with pytest.raises(NotEnergised):
        stand.output.regulate(LESS, LIMITS)
    assert stand.driver.setpoint == CHARGE


def test_an_instrument_that_is_offline_is_not_energised(stand):
    stand.instrument.drop()
    with pytest.raises(LinkDown):
        stand.output.regulate(CHARGE, LIMITS)


def test_while_an_off_is_owed_nothing_is_energised(stand):
    stand.driver.obeys_off = False
    assert not stand.output.off()
    with pytest.raises(NotEnergised, match="an OFF is not verified yet"):
        stand.output.regulate(CHARGE, LIMITS)
    assert "on" not in stand.driver.told
    assert "apply" not in stand.driver.told


# OFF.


def test_off_is_verified_or_owed_and_tried_twice_at_once(stand):
    stand.output.regulate(CHARGE, LIMITS)
    stand.driver.obeys_off = False
    assert not stand.output.off()
    assert stand.driver.count("off") == 2
    assert stand.output.owed
    assert stand.output.on
    assert not stand.output.pay()
    stand.driver.obeys_off = True
    assert stand.output.pay()
    assert not stand.output.owed
    assert not stand.output.on


def test_since_when_it_is_owed_is_not_forgotten_by_another_off(stand):
    stand.driver.obeys_off = False
    stand.output.off()
    since_s = stand.output.owed_since_s
    stand.clock.now_s += 10.0
    stand.output.off()
    assert stand.output.owed_since_s == since_s


def test_off_that_is_not_owed_costs_nothing(stand):
    assert stand.output.pay()
    assert stand.driver.told == []


def test_off_opens_a_link_that_is_down_whatever_its_pause(stand):
    stand.output.regulate(CHARGE, LIMITS)
    for _ in range(5):
        stand.instrument.drop()
    assert stand.output.off()
    assert stand.driver.told[-4:] == ["on", "identify", "setup", "off"]


def test_an_off_that_breaks_the_link_is_tried_again_on_a_new_one(stand):
    stand.output.regulate(CHARGE, LIMITS)

    def fail_once():
        stand.driver.hooks.clear()
        raise NoReply("nothing came")

    stand.driver.hooks["off"] = fail_once
    assert stand.output.off()
    assert stand.driver.told[-4:] == ["off", "identify", "setup", "off"]
    assert not stand.driver.is_on


def test_a_bug_of_the_driver_in_off_leaves_it_owed_and_is_tried_again(stand):
    stand.output.regulate(CHARGE, LIMITS)
    stand.driver.faults["off"] = IndexError("a driver's bug")
    assert not stand.output.off()
    assert stand.output.owed
    assert stand.driver.count("off") == 2
    stand.driver.faults.clear()
    assert stand.output.pay()
    assert not stand.driver.is_on


def test_an_instrument_that_cannot_be_reached_is_tried_often_but_not_without_end(stand):
    stand.output.regulate(CHARGE, LIMITS)
    stand.driver.line.refuses = LinkDown("unplugged")
    stand.instrument.drop()
    before = stand.driver.line.opened
    assert not stand.output.off()  # two attempts, one of which opens: it may take a second
    assert stand.driver.line.opened == before + 1
    for _ in range(10):
        stand.output.pay()
    assert stand.driver.line.opened == before + 1
    stand.clock.now_s += 0.1
    stand.output.pay()
    assert stand.driver.line.opened == before + 2


def test_the_guard_expects_off_from_the_moment_it_is_commanded(stand):
    stand.output.regulate(CHARGE, LIMITS)
    assert stand.guard.output.commanded_on
    stand.driver.obeys_off = False
    stand.output.off()
    assert not stand.guard.output.commanded_on
