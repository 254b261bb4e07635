"""The two countings of a step, and what is said of how far they are apart."""

from __future__ import annotations

from math import isnan

import pytest

from daq.figures.counted import run_counted, step_counted


def data(count=1, net_Ah=1.0, by_cycler_Ah=1.0, moved_Ah=None, **changes):
    moved_Ah = abs(net_Ah) if moved_Ah is None else moved_Ah
    return {
        "step": count,
        "step_count": count,
        "cycle": 1,
        "energised": True,
        "net_Ah": net_Ah,
        "net_Wh": 3.7 * net_Ah,
        "moved_Ah": moved_Ah,
        "moved_Wh": 3.7 * moved_Ah,
        "instrument_net_Ah": by_cycler_Ah,
        "instrument_net_Wh": 3.7 * by_cycler_Ah,
        "instrument_digit_Ah": 1e-6,
        "instrument_digit_Wh": 1e-6,
        "missing": "",
    } | changes


def test_the_deviation_has_a_sign_and_is_of_what_was_moved():
    (step,) = step_counted([data(net_Ah=1.01, by_cycler_Ah=1.0)])
    assert step.charge_Ah.deviation_pct == pytest.approx(100 * 0.01 / 1.01)
    assert step.energy_Wh.deviation_pct == pytest.approx(100 * 0.01 / 1.01)


def test_a_profile_that_goes_both_ways_is_held_to_what_it_moved():
    (step,) = step_counted([data(net_Ah=0.0, by_cycler_Ah=-0.02, moved_Ah=2.0)])
    assert step.charge_Ah.deviation_pct == pytest.approx(1.0)


def test_what_the_counter_cannot_show_has_no_deviation():
    (step,) = step_counted([data(net_Ah=9e-5, by_cycler_Ah=0.0)])
    assert isnan(step.charge_Ah.deviation_pct)


def test_a_rest_has_no_deviation_and_the_run_forgets_nothing_of_it():
    steps = step_counted([data(1, 1.0, 1.0), data(2, 0.001, 0.003, energised=False)])
    assert isnan(steps[1].charge_Ah.deviation_pct)
    whole = run_counted(steps)
    assert whole is not None
    assert whole.charge_deviation_pct == pytest.approx(100 * 0.002 / 1.001)


def test_an_error_of_gain_does_not_cancel_between_charge_and_discharge():
    steps = step_counted([data(1, 1.01, 1.0), data(2, -1.01, -1.0)])
    whole = run_counted(steps)
    assert whole is not None
    assert whole.steps == 2
    assert whole.charge_deviation_pct == pytest.approx(100 * 0.01 / 1.01)


def test_a_step_that_was_not_counted_is_left_out_of_the_run():
    none = dict.fromkeys([k for k in data() if k.endswith(("Ah", "Wh"))])
    steps = step_counted([data(1, 1.0, 1.0), data(2) | none | {"missing": "the link was lost"}])
    whole = run_counted(steps)
    assert whole is not None
    assert (whole.steps, whole.charge_deviation_pct) == (1, 0.0)
    assert isnan(steps[1].charge_Ah.deviation_pct)


def test_a_cycler_that_counts_no_energy_has_no_deviation_of_it():
    steps = step_counted([data(1, 1.0, 1.0, instrument_net_Wh=None, instrument_digit_Wh=None)])
    whole = run_counted(steps)
    assert whole is not None
    assert isnan(whole.energy_deviation_pct)
    assert whole.charge_deviation_pct == 0.0


def test_a_run_on_a_cycler_without_counters_has_no_second_counting():
    assert run_counted(step_counted([])) is None
