"""Q1, Q2, E1: at, under and over their limits; and months of cycles that must not trip."""

from __future__ import annotations

import pytest

from daq.control.guard import Charge, Efficiency
from daq.control.guard.charge import FORGOTTEN
from daq.model import Counters
from tests.unit.guard.samples import sample


def flow(rule: Charge, current_A: float, hours: float, from_h: float, per_h: int = 100):
    """Let a constant current flow; the trip, if any, and when it ended."""
    count = round(hours * per_h)
    for step in range(count + 1):
        if trip := rule.check(sample((from_h + step / per_h) * 3600.0, current_A=current_A)):
            return trip, from_h + step / per_h
    return None, from_h + hours


def cycles(rule: Charge, efficiency: float, count: int, depth: float = 1.0):
    """Charge and discharge a 1 Ah cell; the trip, if any."""
    at_h = 0.0
    for _ in range(count):
        for amps in (1.0, -efficiency):
            trip, at_h = flow(rule, amps, depth, at_h + 0.001, per_h=10)
            if trip:
                return trip
    return None


def limited(charge_Ah: float = 1.05, window_Ah: float = 1.10) -> Charge:
    rule = Charge()
    rule.limit_Ah, rule.window_Ah = charge_Ah, window_Ah
    return rule


@pytest.mark.parametrize(("hours", "check"), [(1.04, None), (1.05, None), (1.06, "Q1")])
def test_one_charge_is_counted_to_the_sample(hours, check):
    trip, _ = flow(limited(1.05 + 1e-9), 1.0, hours, 0.0)
    assert (trip.check if trip else None) == check


@pytest.mark.parametrize(("hours", "check"), [(1.09, None), (1.10, None), (1.11, "Q2")])
def test_one_discharge_is_counted_as_well(hours, check):
    trip, _ = flow(limited(window_Ah=1.10 + 1e-9), -1.0, hours, 0.0)
    assert (trip.check if trip else None) == check


def test_the_messages_say_how_much_and_what_is_allowed():
    trip, _ = flow(limited(0.0995), 1.0, 1.0, 0.0)
    assert trip.message == "0.1 Ah were charged, the limit is 0.0995 Ah"
    trip, _ = flow(limited(window_Ah=0.0995), -1.0, 1.0, 0.0)
    assert trip.message == "0.1 Ah were drawn, the cell holds 0.0995 Ah"


@pytest.mark.parametrize("efficiency", [1.0, 0.999, 0.995, 0.98])
def test_a_hundred_cycles_of_a_cell_that_loses_a_little_never_trip(efficiency):
    assert cycles(limited(), efficiency, 100) is None


def test_a_hundred_cycles_of_an_instrument_with_an_offset_never_trip():
    assert cycles(limited(), 1.02, 100) is None


def test_a_hundred_half_cycles_never_trip():
    assert cycles(limited(), 0.99, 100, depth=0.5) is None


@pytest.mark.parametrize("efficiency", [0.90, 1.12])
def test_what_goes_in_and_does_not_come_out_trips_in_a_few_cycles(efficiency):
    assert cycles(limited(), efficiency, 10) is not None


def test_a_formation_may_charge_what_its_safety_says_and_its_discharge_is_no_trip():
    rule = limited(1.25)
    trip, at_h = flow(rule, 1.0, 1.15, 0.0)
    assert trip is None
    assert flow(rule, -1.0, 1.0, at_h + 0.001)[0] is None


def test_within_a_charge_nothing_is_forgotten_and_after_a_discharge_three_percent_of_it():
    rule = Charge()
    flow(rule, -1.0, 1.0, 0.0)
    before = rule.snapshot()
    assert before["lowest_Ah"] == pytest.approx(before["net_Ah"])
    _, at_h = flow(rule, 1.0, 0.5, 1.0)
    assert rule.snapshot()["lowest_Ah"] == pytest.approx(before["lowest_Ah"], abs=1e-2)
    low = rule.snapshot()["lowest_Ah"]
    flow(rule, -1.0, 0.2, at_h)
    assert rule.snapshot()["lowest_Ah"] == pytest.approx(low + FORGOTTEN * 0.2, abs=1e-3)


def test_the_highest_point_creeps_down_while_charging_and_stands_while_discharging():
    rule = Charge()
    flow(rule, 1.0, 1.0, 0.0)
    high = rule.snapshot()["highest_Ah"]
    assert high == pytest.approx(1.0)
    flow(rule, -1.0, 0.5, 1.0)
    assert rule.snapshot()["highest_Ah"] == pytest.approx(high, abs=1e-2)
    high = rule.snapshot()["highest_Ah"]
    flow(rule, 1.0, 0.2, 1.5)
    assert rule.snapshot()["highest_Ah"] == pytest.approx(high - FORGOTTEN * 0.2, abs=1e-3)


def test_a_checkpoint_of_an_older_version_has_no_highest_point():
    rule = Charge()
    rule.restore({"net_Ah": 0.7, "lowest_Ah": 0.1})
    assert rule.snapshot() == {"net_Ah": 0.7, "lowest_Ah": 0.1, "highest_Ah": 0.7}
    other = Charge()
    other.restore({"net_Ah": 0.7, "lowest_Ah": 0.1, "highest_Ah": 0.9})
    assert other.snapshot()["highest_Ah"] == 0.9


def test_nothing_is_counted_across_a_restart_or_into_the_next_run():
    rule = Charge()
    flow(rule, 1.0, 0.5, 0.0)
    rule.restore(rule.snapshot())
    rule.check(sample(1e6, current_A=1.0))
    assert rule.net_Ah == pytest.approx(0.5)
    rule.reset()
    rule.check(sample(2e6, current_A=1.0))
    assert rule.snapshot() == {"net_Ah": 0.0, "lowest_Ah": 0.0, "highest_Ah": 0.0}


# E1.


def judged(charged_Ah, discharged_Ah, charged_Wh, discharged_Wh, nominal_Ah=1.0, before=None):
    rule = Efficiency()
    rule.least = 0.5
    start = before or Counters()
    rule.begin(1, start)
    counters = Counters(
        start.charge_Ah + charged_Ah,
        start.discharge_Ah + discharged_Ah,
        start.charge_Wh + charged_Wh,
        start.discharge_Wh + discharged_Wh,
    )
    assert rule.judge(1, counters, nominal_Ah) is None  # the cycle goes on
    return rule.judge(2, counters, nominal_Ah)


@pytest.mark.parametrize(
    ("out_Wh", "says"),
    [(2.0, False), (1.98, True), (4.08, False), (4.09, True), (3.5, False), (-3.5, True)],
)
def test_a_cycle_gives_back_between_half_and_all_of_its_energy(out_Wh, says):
    for before in (None, Counters(5.0, 5.0, 20.0, 18.0)):
        caution = judged(1.0, 1.0, 4.0, out_Wh, before=before)
        assert (caution is not None) is says, out_Wh
    if caution:
        assert (caution.check, caution.message) == (
            "E1", f"cycle 1 gave back {out_Wh / 4:.1%} of the energy it was given"
        )  # fmt: skip


@pytest.mark.parametrize(
    ("in_Ah", "out_Ah", "says"),
    [
        (1.0, 0.8, True),
        (1.0, 0.79, False),  # a formation, or a cycle that was not closed
        (1.0, 1.2, True),
        (1.0, 1.21, False),
        (0.05, 0.05, True),
        (0.049, 0.05, False),  # hardly moved
        (0.05, 0.049, False),
    ],
)
def test_only_a_cycle_that_came_back_and_moved_something_says_anything(in_Ah, out_Ah, says):
    assert (judged(in_Ah, out_Ah, 1.0, 0.1) is not None) is says


@pytest.mark.parametrize(
    ("in_Ah", "out_Ah", "says"),
    [(2.0, 1.601, True), (2.0, 1.599, False), (0.101, 0.101, True), (0.099, 0.099, False)],
)
def test_a_larger_cell_moves_more(in_Ah, out_Ah, says):
    assert (judged(in_Ah, out_Ah, 1.0, 0.1, nominal_Ah=2.0) is not None) is says


def test_a_cycle_whose_charge_came_back_to_the_last_fifth_is_closed():
    assert judged(1.0, 1.25, 1.0, 0.1) is None
    assert judged(1.25, 1.0, 1.0, 0.1) is not None  # a fifth, exactly


def test_a_cycle_of_little_energy_is_judged_like_any_other():
    assert judged(1.0, 1.0, 0.5, 0.4) is None


def test_each_cycle_is_judged_by_itself():
    rule = Efficiency()
    rule.least = 0.5
    rule.begin(1, Counters())
    assert rule.judge(2, Counters(1.0, 1.0, 4.0, 1.0), 1.0) is not None
    assert rule.judge(3, Counters(2.0, 2.0, 8.0, 4.6), 1.0) is None
    caution = rule.judge(4, Counters(3.0, 3.0, 12.0, 4.7), 1.0)
    assert caution is not None
    assert caution.message.startswith("cycle 3 ")


def test_energy_that_was_never_charged_is_a_wrong_sign():
    assert judged(1.0, 1.0, 0.0, 3.0) is not None


def test_a_current_that_flows_beside_the_cycler_counts_like_its_own():
    rule = limited(1.0)
    rule.beside_A = 1.0
    trip, at_h = flow(rule, 0.0, 1.2, 0.0)
    assert trip.check == "Q1"
    assert at_h == pytest.approx(1.0, abs=0.02)
