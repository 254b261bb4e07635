"""Charge and energy by trapezoids: worked out by hand, and against the daemon's own meter."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.figures.moved import Moved, deviation_pct, trapezoids
from daq.protocol.meter import Meter
from daq.protocol.program import Observation

MAYBE = st.floats(-5, 5) | st.just(float("nan")) | st.just(0.0)
SAMPLES = st.lists(st.tuples(st.floats(0, 100), st.floats(2, 4.5), MAYBE), min_size=1, max_size=30)


def moved(time_s, voltage_V, current_A, **options) -> Moved:
    arrays = (np.array(values, float) for values in (time_s, voltage_V, current_A))
    return Moved(*trapezoids(*arrays, **options)[:, -1].tolist())


@given(SAMPLES)
def test_the_records_are_integrated_as_the_daemon_integrates_its_samples(samples) -> None:
    time_s = np.cumsum([step for step, _, _ in samples])
    meter = Meter()
    for at, (_, volts, amps) in zip(time_s.tolist(), samples, strict=True):
        seen = Observation(at, volts, amps, 25.0, 25.0)
        meter.start(seen) if meter.start_s != meter.start_s else meter.observe(seen)
    found = moved(time_s, [v for _, v, _ in samples], [a for _, _, a in samples])
    assert astuple(found) == pytest.approx(astuple(meter.counters), rel=1e-9, abs=1e-12)


def test_an_hour_at_one_ampere_is_one_ampere_hour() -> None:
    found = moved([0, 100, 3600], [4, 4, 4], [1, 1, 1])
    assert found == Moved(pytest.approx(1.0), 0.0, pytest.approx(4.0), 0.0)
    assert (found.net_Ah, found.cumulative_Wh) == (pytest.approx(1.0), pytest.approx(4.0))


def test_each_side_of_a_crossing_is_counted_for_itself() -> None:
    # From 1 A to -3 A in an hour: a quarter of it charging, three quarters discharging.
    found = moved([0, 3600], [4, 4], [1, -3])
    assert found.charge_Ah == pytest.approx(0.125)
    assert found.discharge_Ah == pytest.approx(1.125)
    assert found.net_Ah == pytest.approx(-1.0)
    assert found.cumulative_Ah == pytest.approx(1.25)


def test_a_record_without_a_value_is_bridged_and_a_stretch_that_nobody_saw_is_not() -> None:
    time_s, volts = [0, 1800, 3600], [4, np.nan, 4]
    assert moved(time_s, volts, [1, 1, 1]).charge_Ah == pytest.approx(1.0)
    unseen = np.array([False, True, False])
    assert moved(time_s, [4, 4, 4], [1, 1, 1], unseen=unseen).charge_Ah == pytest.approx(0.5)
    assert moved(time_s, volts, [1, 1, 1], unseen=unseen).charge_Ah == 0.0
    assert moved([0], [4], [1]) == Moved()


def test_efficiency_and_mean_voltage_of_nothing_are_not_known() -> None:
    nothing = Moved()
    for value in (nothing.coulombic_efficiency_pct, nothing.energy_efficiency_pct,
                  nothing.charge_mean_V, nothing.discharge_mean_V):  # fmt: skip
        assert np.isnan(value)
    some = Moved(2.0, 1.9, 8.0, 6.84)
    assert some.coulombic_efficiency_pct == pytest.approx(95.0)
    assert some.energy_efficiency_pct == pytest.approx(85.5)
    assert (some.charge_mean_V, some.discharge_mean_V) == (4.0, pytest.approx(3.6))


def test_a_deviation_is_the_worst_of_the_four_relative_to_the_larger_direction() -> None:
    true = Moved(2.0, 0.0, 8.0, 0.0)
    assert deviation_pct(Moved(2.0, 0.001, 8.0, 0.0), true) == pytest.approx(0.05)
    assert deviation_pct(Moved(2.0, 0.0, 8.08, 0.0), true) == pytest.approx(1.0)
    assert np.isnan(deviation_pct(Moved(), Moved()))
