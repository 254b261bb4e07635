"""V3, R1, P2: at, under and over their limits; noise, plateaus and edges that must not trip."""

from __future__ import annotations

import random
from math import exp, inf, isnan

import pytest

from daq.control.guard import BackCheck, Jump, Stuck, Trail
from daq.model import Setpoint
from tests.unit.guard.samples import CHARGE, NOT_NUMBERS, first, output, sample

# V3.


def back_check(pairs, allowed_V=0.050):
    """Cycler's and independent voltage in turn; number of the cycler's sample that trips, or -1."""
    rule = BackCheck(allowed_V)
    for number, (volts, other) in enumerate(pairs):
        if trip := rule.check(sample(2.0 * number, voltage_V=volts)):
            assert trip.check == "V3"
            return number
        if other is not None:
            rule.see(sample(2.0 * number + 1.0, voltage_V=other))
    return -1


@pytest.mark.parametrize(
    ("volts", "other", "trips"),
    [
        (2.0, 2.0499, False),
        (2.0, 2.0501, True),
        (2.0, 1.9499, True),
        (4.0, 4.0799, False),  # 2 % is more than 50 mV
        (4.0, 4.0801, True),
        (4.0, 3.9201, False),
        (4.0, 3.9199, True),
    ],
)
def test_two_readings_in_a_row_that_differ_by_too_much_trip(volts, other, trips):
    assert back_check([(volts, other)] * 5) == (2 if trips else -1)


def test_one_that_differs_between_two_that_agree_does_not():
    assert back_check([(3.7, 3.7), (3.7, 4.2), (3.7, 3.7), (3.7, 4.2), (3.7, 3.7)]) == -1


def test_the_truth_lies_between_the_samples_before_and_after():
    up = [(3.0 + 0.3 * n, 3.15 + 0.3 * n) for n in range(5)]
    assert back_check(up) == -1
    assert back_check([(v, o + 0.3) for v, o in up]) > 0
    down = [(4.2 - 0.3 * n, 4.05 - 0.3 * n) for n in range(5)]
    assert back_check(down) == -1
    assert back_check([(v, o - 0.3) for v, o in down]) > 0


def test_where_the_independent_channel_says_nothing_nothing_is_compared():
    assert back_check([(3.7, None)] * 5) == -1
    for value in NOT_NUMBERS:
        assert back_check([(3.7, value)] * 5) == -1
        assert back_check([(value, 4.2)] * 5) == -1


def test_a_reading_is_compared_once():
    rule = BackCheck(0.05)
    rule.check(sample(0.0))
    rule.see(sample(0.5, voltage_V=4.2))
    assert first(rule, [sample(float(n)) for n in range(1, 10)]) is None


def test_an_invalid_sample_of_the_cycler_forgives_nothing():
    rule = BackCheck(0.05)
    for number in range(3):
        rule.check(sample(3.0 * number))
        rule.see(sample(3.0 * number + 1.0, voltage_V=4.2))
        for value in NOT_NUMBERS:
            assert rule.check(sample(3.0 * number + 2.0, voltage_V=value)) is None
        if number == 2:
            trip = rule.check(sample(9.0))
            assert trip is not None
            assert trip.message == "the cycler reads 3.7 V, the independent channel 4.2"


def test_switched_off_the_back_check_says_nothing():
    assert back_check([(3.7, 0.0)] * 9, allowed_V=inf) == -1


# R1.


def jump(setpoint=CHARGE, factor=20.0):
    rule = Jump(output(setpoint))
    rule.factor = factor
    return rule


def noisy(count=40, volts=3.7, noise_V=0.001, step_s=1.0, from_s=0.0):
    """A voltage that moves by 1 mV a sample, up and down."""
    return [sample(from_s + n * step_s, voltage_V=volts + noise_V * (n % 2)) for n in range(count)]


def after(rule, volts, more=3, from_s=40.0, step_s=1.0):
    return first(rule, [sample(from_s + n * step_s, voltage_V=volts) for n in range(more)])


@pytest.mark.parametrize(("change_V", "trips"), [(0.0495, False), (0.0515, True), (-0.0515, True)])
def test_a_voltage_that_jumps_by_fifty_millivolts_and_stays_trips(change_V, trips):
    rule = jump()
    assert first(rule, noisy()) is None
    start_V = 3.701
    found = after(rule, start_V + change_V)
    assert (found is not None) is trips
    if found:
        assert found == (
            "R1", 41.0, f"the voltage jumped from 3.701 V to {3.701 + change_V:.6g} V"
        )  # fmt: skip


@pytest.mark.parametrize(("change_V", "trips"), [(0.479, False), (0.4815, True)])
def test_at_a_module_one_percent_is_the_least(change_V, trips):
    rule = jump()
    assert first(rule, noisy(volts=48.0)) is None
    assert (after(rule, 48.001 + change_V) is not None) is trips


@pytest.mark.parametrize(("noise_V", "trips"), [(0.0049, True), (0.0051, False)])
def test_twenty_times_the_usual_rate_is_a_jump(noise_V, trips):
    rule = jump()
    assert first(rule, noisy(noise_V=noise_V)) is None
    assert (after(rule, 3.7 + noise_V + 0.1) is not None) is trips


@pytest.mark.parametrize(("back", "trips"), [(0.79, False), (0.81, True)])
def test_what_comes_back_with_the_next_sample_was_noise(back, trips):
    rule = jump()
    first(rule, noisy())
    assert rule.check(sample(40.0, voltage_V=3.801)) is None
    assert (rule.check(sample(41.0, voltage_V=3.701 + back * 0.1)) is not None) is trips


@pytest.mark.parametrize(("known", "trips"), [(10, False), (11, True)])
def test_a_rate_is_known_after_ten_differences(known, trips):
    rule = jump()
    first(rule, noisy(known))
    assert (after(rule, 3.9, from_s=float(known)) is not None) is trips


@pytest.mark.parametrize(("gap_s", "trips"), [(2.0, True), (2.001, False)])
def test_across_a_long_look_nothing_is_a_jump(gap_s, trips):
    rule = jump()
    first(rule, noisy())
    found = after(rule, 3.9, from_s=39.0 + gap_s)
    assert (found is not None) is trips


def test_a_rate_counts_by_time_and_not_by_sample():
    rule = jump()
    first(rule, noisy(noise_V=0.001, step_s=0.1))  # 10 mV/s
    assert after(rule, 3.9, from_s=4.9) is None  # 0.199 V in 1 s
    rule = jump()
    first(rule, noisy(noise_V=0.001, step_s=0.1))
    assert after(rule, 3.9, from_s=4.0, step_s=0.1) is not None


def test_two_samples_of_one_moment_are_not_divided_by_nothing():
    rule = jump()
    first(rule, noisy())
    assert rule.check(sample(39.0, voltage_V=3.9)) is None


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_an_invalid_sample_is_no_jump_and_hides_none(value):
    rule = jump()
    first(rule, noisy())
    assert rule.check(sample(40.0, voltage_V=value)) is None
    assert rule.check(sample(40.5, voltage_V=3.9)) is None
    assert rule.check(sample(40.6, voltage_V=value)) is None
    assert rule.check(sample(40.7, voltage_V=3.9)) is not None


@pytest.mark.parametrize(
    ("current_A", "trips"), [(0.0, True), (0.05, True), (0.0501, False), (-0.0501, False)]
)
def test_a_voltage_that_goes_with_its_current_is_no_jump(current_A, trips):
    rule = jump()
    first(rule, noisy())  # 0 A, and 50 mA of error
    assert rule.check(sample(40.0, voltage_V=3.9, current_A=current_A)) is None
    assert (rule.check(sample(41.0, voltage_V=3.9, current_A=current_A)) is not None) is trips


@pytest.mark.parametrize(("current_A", "trips"), [(1.826, True), (1.824, False), (2.176, False)])
def test_a_large_current_may_move_by_five_percent(current_A, trips):
    rule = jump()
    first(rule, [sample(n, voltage_V=3.7 + 0.001 * (n % 2), current_A=1.9737) for n in range(40)])
    rule.check(sample(40.0, voltage_V=3.9, current_A=current_A))
    found = rule.check(sample(41.0, voltage_V=3.9, current_A=current_A))
    assert (found is not None) is trips


def test_while_it_is_off_and_at_an_edge_the_voltage_may_jump():
    assert after(_seen(jump(None)), 3.9) is None
    out = output()
    rule = Jump(out)
    rule.factor = 20.0
    first(rule, noisy())
    out.command(Setpoint(4.21, 1.0, 0.0), 39.5)
    assert rule.check(sample(40.0, voltage_V=3.5)) is None
    assert rule.check(sample(40.49, voltage_V=3.5)) is None
    assert first(rule, noisy(volts=3.4, from_s=40.5)) is None  # what was before is forgotten


def _seen(rule):
    first(rule, noisy())
    return rule


def test_a_jump_just_before_an_edge_is_forgotten_with_it():
    out = output()
    rule = Jump(out)
    rule.factor = 20.0
    first(rule, noisy())
    assert rule.check(sample(40.0, voltage_V=3.9)) is None
    out.command(Setpoint(4.21, 1.0, 0.0), 40.1)
    assert first(rule, noisy(volts=3.9, from_s=40.5)) is None


def test_the_usual_rate_is_that_of_the_last_half_minute():
    rule = jump()
    assert first(rule, noisy(100, noise_V=0.010)) is None
    assert first(rule, noisy(100, noise_V=0.001, from_s=100.0)) is None
    assert after(rule, 3.801, from_s=200.0) is not None


def test_the_knee_of_a_discharge_is_no_jump():
    rule = jump(Setpoint(2.0, 0.0, 2.5))
    for second in range(3600):  # LFP at 1C: the slope grows by e in 24 s
        left_s = 3600 - second
        volts = 3.3 - 0.02 * second / 3600 - 1.3 * exp(-left_s / 24.0)
        assert rule.check(sample(second, voltage_V=volts)) is None, second


def test_switched_off_it_says_nothing():
    rule = jump(factor=inf)
    first(rule, noisy())
    assert after(rule, 9.9) is None


# P2.


def trails():
    return Trail("voltage"), Trail("current")


def test_a_trail_counts_repeats_and_knows_its_smallest_step():
    trail, _ = trails()
    assert isnan(trail._value)
    assert trail.see(3.7, 0.0)
    assert trail.stands_s(5.0) == 0.0
    for n in range(20):
        assert not trail.see(3.7, 1.0 + n)
    assert trail.repeats == 20
    assert trail.stands_s(20.0) == 20.0
    assert trail.see(3.71, 21.0)
    assert (trail.repeats, trail.since_s) == (0, 21.0)
    assert trail._least == pytest.approx(0.01)


def test_a_trail_moves_when_it_goes_more_than_five_steps():
    trail, _ = trails()
    for n, lsb in enumerate((0, 1, 2, 3, 4, 5, 6)):
        trail.see(lsb * 1.0, float(n))
    assert trail.moves == 2  # the first reading, and the sixth step away from it
    trail.see(11.0, 9.0)
    assert trail.moves == 2
    trail.see(12.0, 9.0)
    assert trail.moves == 3


def test_liveliness_comes_with_noise_and_goes_with_slow_steps():
    dice = random.Random(1)
    trail, _ = trails()
    for n in range(200):
        trail.see(round(dice.gauss(0.0, 10.0)) * 1.0, float(n))
    assert trail.lively
    for n in range(30):  # then it creeps by one step each ten samples
        for repeat in range(10):
            trail.see(1000.0 + n, 300.0 + 10 * n + repeat)
    assert not trail.lively


def stuck(patience_s=60.0):
    own, other = trails()
    rule = Stuck(own, [other])
    rule.patience_s = patience_s
    return rule, own, other


def warmed_up(noise_lsb=10.0, patience_s=60.0):
    """A rule that has seen a noisy voltage and current for two minutes."""
    dice = random.Random(2)
    rule, own, other = stuck(patience_s)
    for n in range(120):
        other.see(round(dice.gauss(0.0, 10.0)) * 1e-3, float(n))
        volts = 3.7 + round(dice.gauss(0.0, noise_lsb)) * 1e-4
        assert rule.judge(volts, float(n), expected_still=False) is None
    return rule, own, other


def freeze(rule, other, seconds, *, moves=True, still=False, from_s=120.0, value=3.7123):
    """The voltage stands from `from_s` on; when it trips, in seconds since."""
    dice = random.Random(3)
    for n in range(seconds + 1):
        if moves:
            other.see(round(dice.gauss(0.0, 10.0)) * 1e-3, from_s + n)
        if trip := rule.judge(value, from_s + n, expected_still=still):
            assert trip.check == "P2"
            assert trip.message == f"the voltage reads {value:g} since {n} s"
            return n
    return None


def test_a_lively_reading_that_stands_for_a_minute_while_another_moves_trips():
    rule, _, other = warmed_up()
    assert freeze(rule, other, 100) == 60


def test_a_patience_of_its_own():
    rule, _, other = warmed_up(patience_s=30.0)
    assert freeze(rule, other, 100) == 30
    rule, _, other = warmed_up(patience_s=inf)
    assert freeze(rule, other, 1000) is None


def test_a_reading_that_moves_in_time_is_not_stuck():
    rule, _, other = warmed_up()
    assert freeze(rule, other, 59) is None
    assert freeze(rule, other, 59, from_s=180.0, value=3.7124) is None


def test_a_minute_of_a_few_samples_says_nothing():
    rule, own, other = warmed_up()
    for n in range(20):
        other.see(5.0 * n, 120.0 + 10 * n)
        assert rule.judge(3.7123, 120.0 + 10 * n, expected_still=False) is None
    assert rule.judge(3.7123, 320.0, expected_still=False) is not None


def test_where_nothing_else_moves_a_cell_may_be_calm():
    rule, _, other = warmed_up()
    for n in range(10):  # the other one ends to be lively, and then stands
        for repeat in range(20):
            other.see(1.0 + 1e-3 * n, 100.0 + n + repeat / 20)
    rule.judge(3.7123, 119.9, expected_still=False)
    assert freeze(rule, other, 300, moves=False) is None


def test_two_lively_readings_that_stand_together_are_stuck():
    rule, _, other = warmed_up()
    for n in range(100):
        other.see(0.5, 120.0 + n)
        if rule.judge(3.7123, 120.0 + n, expected_still=False):
            assert n == 60
            return
    raise AssertionError("both stand")


@pytest.mark.parametrize("noise_lsb", [0.0, 0.3])
def test_a_coarse_reading_stands_still_in_good_health(noise_lsb):
    rule, _, other = warmed_up(noise_lsb)
    assert freeze(rule, other, 1000) is None


def test_a_voltage_that_is_held_is_expected_to_stand():
    rule, _, other = warmed_up()
    assert freeze(rule, other, 1000, still=True) is None
    seen = []
    for n in range(1, 61):  # and the minute begins when it is not held any more
        other.see(float(n), 1120.0 + n)
        seen.append(rule.judge(3.7123, 1120.0 + n, expected_still=False))
    assert seen[:-1] == [None] * 59
    assert seen[-1] is not None
    assert seen[-1].message == "the voltage reads 3.7123 since 60 s"


@pytest.mark.parametrize("value", NOT_NUMBERS)
def test_what_is_no_number_is_neither_stuck_nor_a_movement(value):
    rule, own, other = warmed_up()
    moves, since_s = own.moves, own.since_s
    assert all(rule.judge(value, 200.0 + n, expected_still=False) is None for n in range(100))
    assert (own.moves, own.since_s) == (moves, since_s)
