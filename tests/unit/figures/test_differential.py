"""dQ/dV and dV/dQ, held against the slope of the equilibrium voltage that the cell is made of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.figures.differential import EMPTY, Smoothing, dqdv, dvdq
from simulators.chemistry import open_circuit

CAPACITY_AH = 2.5
OCV = open_circuit("nmc")
SOC = np.linspace(0.02, 0.98, 4000)
VOLTS = np.array([OCV.piece(soc)[0] for soc in SOC])
CHARGE = CAPACITY_AH * (SOC - SOC[0])


@given(
    st.lists(st.floats(3.0, 4.2), min_size=2, max_size=60),
    st.floats(0.001, 0.01),
    st.floats(0.002, 0.02),
)
def test_the_area_below_dqdv_is_the_charge_whatever_the_voltage_does(volts, bin_V, sigma_V):
    charge = np.linspace(0.0, 1.7, len(volts))
    curve = dqdv(charge, np.array(volts), Smoothing(bin_V=bin_V, sigma_V=sigma_V))
    if curve is not EMPTY:
        assert float(curve.y.sum() * bin_V) == pytest.approx(1.7, rel=1e-6)


def test_dqdv_is_the_inverse_slope_of_the_equilibrium_voltage() -> None:
    curve = dqdv(CHARGE, VOLTS, Smoothing(bin_V=0.002, sigma_V=0.002))
    inside = (curve.x > 3.5) & (curve.x < 4.0)
    soc = np.interp(curve.x[inside], VOLTS, SOC)
    true = CAPACITY_AH / np.array([OCV.piece(at)[1] for at in soc])
    assert curve.y[inside] == pytest.approx(true, rel=0.02)


def test_a_discharge_has_the_same_dqdv_as_the_charge_that_it_undoes() -> None:
    forward = dqdv(CHARGE, VOLTS)
    backward = dqdv(CHARGE[-1] - CHARGE[::-1], VOLTS[::-1])
    assert backward.x == pytest.approx(forward.x)
    assert backward.y == pytest.approx(forward.y, rel=1e-6, abs=1e-9)


def test_noise_of_a_meter_moves_the_peak_of_dqdv_little() -> None:
    dice = np.random.default_rng(1)
    clean = dqdv(CHARGE, VOLTS)
    noisy = dqdv(CHARGE, VOLTS + 5e-4 * dice.standard_normal(len(VOLTS)))
    assert noisy.x[noisy.y.argmax()] == pytest.approx(clean.x[clean.y.argmax()], abs=0.004)
    assert noisy.y.max() == pytest.approx(clean.y.max(), rel=0.03)


def test_dvdq_is_the_slope_of_the_equilibrium_voltage() -> None:
    curve = dvdq(CHARGE, VOLTS, Smoothing(sigma=0.004))
    soc = SOC[0] + curve.x / CAPACITY_AH
    inside = (soc > 0.15) & (soc < 0.9)
    true = np.array([OCV.piece(at)[1] for at in soc[inside]]) / CAPACITY_AH
    assert curve.y[inside] == pytest.approx(true, rel=0.05)


def test_a_straight_line_stays_one_up_to_its_ends() -> None:
    charge = np.linspace(0.0, 2.0, 300)
    assert dvdq(charge, 3.0 + 0.5 * charge).y == pytest.approx(0.5)
    assert dvdq(charge, 4.0 - 0.5 * charge).y == pytest.approx(-0.5)


def test_the_smoothing_is_told_with_the_curve() -> None:
    told = dqdv(CHARGE, VOLTS, Smoothing(bin_V=0.004, sigma_V=0.01)).smoothing
    assert told == "charge in bins of 4 mV, Gaussian of 10 mV standard deviation"
    assert "1 %" in dvdq(CHARGE, VOLTS).smoothing


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_has_no_curve(count) -> None:
    few = np.linspace(3, 4, count)
    assert dqdv(few, few) is EMPTY
    assert dvdq(few, few) is EMPTY
    rest = np.zeros(10)
    assert dqdv(rest, np.linspace(3, 4, 10)) is EMPTY  # voltage without charge
    assert dvdq(rest, np.linspace(3, 4, 10)) is EMPTY
    assert dqdv(np.linspace(0, 1, 10), np.full(10, 4.2)) is EMPTY  # a held voltage
