"""The recording rule: which samples of a cell's day are worth keeping."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.protocol.program import RecordRule
from daq.protocol.recording import Keeper

TIME_ONLY = RecordRule(every_s=10.0)
BY_CHANGE = RecordRule(every_s=1e6, voltage_V=0.005, current_A=0.01, temperature_K=0.2)


def keep(
    keeper: Keeper,
    rule: RecordRule,
    time_s: float,
    volts: float = 3.7,
    amps: float = 1.0,
    celsius: float = 25.0,
    edge: bool = False,
) -> bool:
    return keeper.keep(rule, time_s, volts, amps, celsius, edge)


def test_the_first_and_the_last_sample_of_a_step_are_kept_whatever_the_rule():
    keeper, never = Keeper(), RecordRule(every_s=inf)
    assert keep(keeper, never, 0.0, edge=True)
    assert not keep(keeper, never, 1.0, 9.0, 9.0, 99.0)
    assert keep(keeper, never, 1.0, edge=True)
    assert keep(keeper, never, 1.0, edge=True)  # last of one step and first of the next
    assert keep(keeper, never, 2.0, nan, nan, nan, edge=True)


def test_the_very_first_sample_is_kept():
    assert keep(Keeper(), TIME_ONLY, 0.0)


def test_a_sample_is_kept_when_the_longest_time_has_passed_since_the_last_kept_one():
    keeper = Keeper()
    kept = [tick / 10 for tick in range(401) if keep(keeper, TIME_ONLY, tick / 10)]
    assert kept == [0.0, 10.0, 20.0, 30.0, 40.0]


def test_stamps_that_were_added_up_do_not_lose_a_sample_to_rounding():
    keeper, time_s, kept = Keeper(), 0.0, []
    for tick in range(10_000):
        if keep(keeper, TIME_ONLY, time_s):
            kept.append(tick)
        time_s += 0.1
    assert kept == list(range(0, 10_000, 100))


@pytest.mark.parametrize(
    ("short", "enough"),
    [
        ({"volts": 3.7049}, {"volts": 3.7051}),
        ({"volts": 3.6951}, {"volts": 3.6949}),
        ({"amps": 1.0099}, {"amps": 1.0101}),
        ({"celsius": 25.19}, {"celsius": 24.79}),
    ],
)
def test_a_change_of_any_quantity_keeps_a_sample(short: dict, enough: dict):
    keeper = Keeper()
    keep(keeper, BY_CHANGE, 0.0)
    assert not keep(keeper, BY_CHANGE, 1.0, **short)
    assert keep(keeper, BY_CHANGE, 2.0, **enough)


def test_a_slow_drift_is_measured_from_the_last_kept_sample():
    keeper = Keeper()
    kept = [tick for tick in range(100) if keep(keeper, BY_CHANGE, tick, 3.7 + 0.00101 * tick)]
    assert kept == list(range(0, 100, 5))


def test_a_change_restarts_the_time():
    keeper, rule = Keeper(), RecordRule(every_s=10.0, voltage_V=0.005)
    keep(keeper, rule, 0.0)
    assert keep(keeper, rule, 7.0, 3.71)
    assert not keep(keeper, rule, 10.0, 3.71)
    assert keep(keeper, rule, 17.0, 3.71)


def test_what_is_not_measured_is_no_change_and_its_return_is_judged_by_the_last_value():
    keeper = Keeper()
    keep(keeper, BY_CHANGE, 0.0)
    assert not keep(keeper, BY_CHANGE, 1.0, nan, nan, nan)
    assert keep(keeper, BY_CHANGE, 2.0, nan, 2.0)  # kept by its current
    assert not keep(keeper, BY_CHANGE, 3.0, 3.701, 2.0)
    assert keep(keeper, BY_CHANGE, 4.0, 3.706, 2.0)


def test_the_first_measured_value_of_a_quantity_is_a_change_if_the_rule_asks_for_it():
    keeper = Keeper()
    keep(keeper, BY_CHANGE, 0.0, celsius=nan)
    assert keep(keeper, BY_CHANGE, 1.0, celsius=25.0)
    keeper = Keeper()
    keep(keeper, TIME_ONLY, 0.0, celsius=nan)
    assert not keep(keeper, TIME_ONLY, 1.0, celsius=25.0)


def test_a_rule_that_does_not_look_at_a_quantity_keeps_nothing_for_it():
    keeper = Keeper()
    keep(keeper, TIME_ONLY, 0.0)
    assert not keep(keeper, TIME_ONLY, 1.0, inf, -inf, inf)


def test_each_step_brings_its_own_rule():
    keeper = Keeper()
    keep(keeper, TIME_ONLY, 0.0)
    assert not keep(keeper, TIME_ONLY, 1.0)
    assert keep(keeper, RecordRule(every_s=0.5), 1.0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(3.0, 4.0) | st.just(nan)), min_size=1),
    st.floats(0.1, 20.0),
    st.floats(0.001, 0.5),
)
def test_no_left_out_sample_is_late_or_far_from_the_last_kept_one(
    feed: list[tuple[float, float]], every_s: float, step_V: float
):
    keeper, rule = Keeper(), RecordRule(every_s=every_s, voltage_V=step_V)
    time_s, kept_s, kept_V = 0.0, -inf, nan
    for elapsed_s, volts in feed:
        time_s += elapsed_s
        if keep(keeper, rule, time_s, volts):
            kept_s, kept_V = time_s, volts if volts == volts else kept_V
        else:
            assert time_s - kept_s < every_s
            assert not abs(volts - kept_V) >= step_V


def test_replies_that_come_a_little_early_do_not_cost_every_second_record():
    keeper, rule = Keeper(), RecordRule(every_s=0.02)
    times = [0.02 * tick + (0.0015 if tick % 2 else -0.0015) for tick in range(1, 200)]
    kept = [time_s for time_s in times if keep(keeper, rule, time_s)]
    assert len(kept) == len(times)


def test_a_record_is_never_much_too_early():
    keeper, rule = Keeper(), RecordRule(every_s=10.0)
    kept = [tick * 0.6 for tick in range(1000) if keep(keeper, rule, tick * 0.6)]
    spacings = {round(after - before, 6) for before, after in zip(kept, kept[1:], strict=False)}
    assert spacings <= {9.6 + 0.6, 9.6 + 0.0, 10.2}
    assert min(spacings) >= 9.0
