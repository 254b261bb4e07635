"""Which circuits can be fitted, and which texts never reach a fit."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from daq.errors import InputError
from daq.figures import circuits, spectra

HERTZ = np.logspace(4, -1, 41)
OMEGA = 2j * np.pi * HERTZ


@pytest.mark.parametrize(
    "text",
    [
        "",
        "R",
        "R0-",
        "R0--C1",
        "R0-p(R1,C1",
        "R0-p(C1,R1)",
        "R0-p(R1,C1)-R1",
        "R0-X1",
        "R0-p(R1,p(R2,C2))",
        "p(R1,C1)-p(R2,C2)-p(R3,C3)-p(R4,C4)",
        "R٣",
        "__import__('os').system('true')",
        "R0-p(R1,C1)];print(1)#",
    ],
)
def test_what_is_no_circuit_is_refused_and_says_how_to_write_one(text) -> None:
    with pytest.raises(InputError) as refused:
        spectra.fit(HERTZ, 1 / OMEGA, text)
    assert refused.value.message


def test_elements_come_in_the_order_of_the_text() -> None:
    parsed = circuits.parse("L1-R0-p(R1-W1,CPE1) - p(R2,C2)-Ws3")
    assert circuits.elements(parsed) == ["L1", "R0", "R1", "W1", "CPE1", "R2", "C2", "Ws3"]


TRUE = {
    "R0-p(R1,C1)": (0.01 + 0.02 / (1 + OMEGA * 0.02 * 5), {"R0": 0.01, "R1": 0.02, "C1": 5}),
    "L1-R0-p(R1,CPE1)": (
        1e-7 * OMEGA + 0.01 + 0.02 / (1 + 0.02 * 5 * OMEGA**0.8),
        {"L1": 1e-7, "R0": 0.01, "R1": 0.02, "CPE1_0": 5, "CPE1_1": 0.8},
    ),
    "R0-p(R1-W1,C1)": (
        0.01 + 1 / (OMEGA * 0.5 + 1 / (0.02 + 0.004 * (1 - 1j) / np.sqrt(2 * np.pi * HERTZ))),
        {"R0": 0.01, "R1": 0.02, "W1": 0.004, "C1": 0.5},
    ),
    "R0-p(R1,C1)-C2": (
        0.01 + 0.02 / (1 + OMEGA * 0.02 * 5) + 1 / (OMEGA * 900),
        {"R0": 0.01, "R1": 0.02, "C1": 5, "C2": 900},
    ),
}


@pytest.mark.parametrize("text", TRUE)
def test_a_circuit_is_found_again_from_its_own_spectrum(text) -> None:
    z_ohm, true = TRUE[text]
    fit = spectra.fit(HERTZ, z_ohm, text)
    assert {p.name for p in fit.parameters} == set(true)
    for name, value in true.items():
        assert fit[name].value == pytest.approx(value, rel=1e-3), (name, fit.parameters)
    assert fit.rms_pct < 0.01


def test_parameters_have_their_units() -> None:
    fit = spectra.fit(HERTZ, TRUE["L1-R0-p(R1,CPE1)"][0], "L1-R0-p(R1,CPE1)")
    assert [p.unit for p in fit.parameters] == ["H", "ohm", "ohm", "s^a/ohm", ""]


def test_too_few_points_give_no_fit_and_no_test() -> None:
    with pytest.raises(spectra.NoFit, match="2 points cannot tell 9 parameters"):
        spectra.fit(HERTZ[:2], 1 / OMEGA[:2])
    with pytest.raises(spectra.NoFit, match="too few"):
        spectra.consistency(HERTZ[:5], 1 / OMEGA[:5])


def test_points_that_were_not_measured_are_passed_over() -> None:
    z_ohm = TRUE["R0-p(R1,C1)"][0].copy()
    z_ohm[3] = np.nan
    fit = spectra.fit(HERTZ, z_ohm, "R0-p(R1,C1)")
    assert len(fit.fitted_ohm) == len(HERTZ) - 1
    assert fit["R1"].value == pytest.approx(0.02, rel=1e-3)


def test_without_the_library_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "impedance.models.circuits.fitting", None)
    with pytest.raises(spectra.NoLibrary, match=r"battery-daq\[eis\]"):
        spectra.fit(HERTZ, 1 / OMEGA)
