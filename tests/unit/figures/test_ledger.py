"""Every figure of a run, held against what the simulated cell itself knows."""

from __future__ import annotations

from math import exp, isnan

import numpy as np
import pytest

from daq.figures import pulses, scopes, soc, spectra
from daq.figures.moved import COUNTERS
from daq.report.summary import Choices, summarise
from simulators.chemistry import open_circuit
from tests.unit.figures.conftest import Made
from tests.virtual import Books, Elements

CAPACITY = 5e-4
EFFICIENCY_PCT = 0.02
RESISTANCE = 0.01
ELEMENT = 0.02


def truth(made: Made, first: int, last: int) -> Books:
    """What the ledger booked from the start of one pass of a step to the end of another."""
    books = made.bench.books
    return books[last][-1].since(books[first][0])


def test_each_step_has_moved_what_the_ledger_says(made: Made) -> None:
    steps = scopes.step_figures(made.rows)
    assert [step.step_count for step in steps] == sorted(made.bench.books)
    for step in steps:
        true = truth(made, step.step_count, step.step_count)
        for name in COUNTERS:
            found, expected = getattr(step.whole.moved, name), getattr(true, name)
            assert found == pytest.approx(expected, rel=CAPACITY, abs=1e-4), (step, name)


def test_the_run_as_a_whole_has_moved_what_the_ledger_says(made: Made) -> None:
    whole, true = scopes.run_scope(made.rows).moved, truth(made, 1, max(made.bench.books))
    for name in COUNTERS:
        assert getattr(whole, name) == pytest.approx(getattr(true, name), rel=CAPACITY)
    assert whole.net_Ah == pytest.approx(true.charge_Ah - true.discharge_Ah, abs=1e-3)
    assert whole.cumulative_Wh == pytest.approx(true.charge_Wh + true.discharge_Wh, rel=CAPACITY)


def test_efficiencies_and_retention_of_a_cycle_are_those_of_the_ledger(made: Made) -> None:
    cycles = scopes.cycle_figures(made.rows)
    assert [cycle.cycle for cycle in cycles] == [1, 2]
    first, second = truth(made, 2, 5), truth(made, 6, max(made.bench.books))
    for cycle, true in zip(cycles, (first, second), strict=True):
        coulombic = 100 * true.discharge_Ah / true.charge_Ah
        energy = 100 * true.discharge_Wh / true.charge_Wh
        assert cycle.coulombic_efficiency_pct == pytest.approx(coulombic, abs=EFFICIENCY_PCT)
        assert cycle.energy_efficiency_pct == pytest.approx(energy, abs=EFFICIENCY_PCT)
        mean_V = true.discharge_Wh / true.discharge_Ah
        assert cycle.whole.moved.discharge_mean_V == pytest.approx(mean_V, rel=CAPACITY)
    assert first.discharge_Ah / first.charge_Ah < 0.93  # the cell forms its SEI: not all comes back
    kept = 100 * second.discharge_Ah / first.discharge_Ah
    assert cycles[1].retention_pct == pytest.approx(kept, abs=EFFICIENCY_PCT)
    assert {cycle.reference_cycle for cycle in cycles} == {1}


def test_retention_refers_to_the_cycle_that_was_named(made: Made) -> None:
    first, second = scopes.cycle_figures(made.rows, reference=2)
    assert (first.reference_cycle, second.retention_pct) == (2, 100.0)
    share = first.whole.moved.discharge_Ah / second.whole.moved.discharge_Ah
    assert first.retention_pct == pytest.approx(100 * share)


def test_the_records_alone_give_the_same_capacity_as_every_sample(made: Made) -> None:
    for step in scopes.step_figures(made.rows):
        if step.whole.moved.cumulative_Ah > 0.01:
            assert step.whole.deviation_pct < 0.05, step
    assert scopes.run_scope(made.rows).deviation_pct < 0.05


def true_resistance(cell: Elements, current_A: float, after_s: float) -> float:
    """Of the cell's own elements: series, arcs, and the charge slope of the equilibrium voltage."""
    relaxed = cell.series_ohm + sum(r * (1 - exp(-after_s / tau)) for r, tau in cell.arcs)
    ocv = open_circuit("nmc")
    soc = cell.soc + current_A * after_s / 3600 / cell.capacity_Ah
    return relaxed + (ocv.piece(soc)[0] - ocv.piece(cell.soc)[0]) / current_A


def test_resistances_of_pulses_are_those_of_the_cells_elements(made: Made) -> None:
    found = pulses.find_pulses(made.rows, 2.5)
    by_pass = {pulse.step_count: pulse for pulse in found}
    last = max(made.bench.books)
    for number, current_A, times in (
        (last - 2, -2.5, (0.1, 1.0, 10.0, 18.0, 30.0)),
        (last, 2.5, (0.1, 1.0, 10.0)),
    ):
        pulse = by_pass[number]
        assert pulse.edge == "on"
        assert pulse.step_A == pytest.approx(current_A, rel=1e-3)
        assert pulse.temperature_degC == pytest.approx(23.0, abs=0.5)
        assert tuple(at.after_s for at in pulse.resistances) == times
        for at in pulse.resistances:
            true = true_resistance(made.bench.elements[number], pulse.step_A, at.after_s)
            assert at.ohm == pytest.approx(true, rel=RESISTANCE), (number, at)
            assert at.from_s <= at.after_s <= at.to_s


def test_the_state_of_charge_before_a_pulse_is_that_of_the_cell(made: Made) -> None:
    full, empty = made.bench.elements[8].soc, made.bench.elements[9].soc  # the last whole discharge
    found = {pulse.step_count: pulse for pulse in pulses.find_pulses(made.rows, 2.5)}
    for number in (13, 15):
        true = 100 * (made.bench.elements[number].soc - empty) / (full - empty)
        assert found[number].soc_pct == pytest.approx(true, abs=0.3)
        assert found[number].net_Ah == pytest.approx(net(made.bench.books[number][0]), abs=1e-3)


def net(books: Books) -> float:
    return books.charge_Ah - books.discharge_Ah


def test_a_run_through_a_part_of_the_cell_tells_no_state_of_charge(made: Made) -> None:
    assert np.isnan(soc.soc_pct(made.rows, 10.0)).all()
    assert isnan(pulses.find_pulses(made.rows, 10.0, least_step=0.01)[0].soc_pct)


def test_a_fitted_circuit_has_the_elements_of_the_cell(made: Made) -> None:
    choices = Choices(circuit="R0-p(R1,C1)-p(R2,C2)-CPE3")
    (found,) = summarise(made.data, choices).spectra
    assert found.fit and found.consistency
    cell = made.bench.elements[found.test_id]
    (film_ohm, film_s), (transfer_ohm, transfer_s) = cell.arcs[:2]
    fit = found.fit
    assert fit["R0"].value == pytest.approx(cell.series_ohm, rel=RESISTANCE)
    assert fit["R1"].value == pytest.approx(film_ohm, rel=ELEMENT)
    assert fit["C1"].value == pytest.approx(film_s / film_ohm, rel=ELEMENT)
    assert fit["R2"].value == pytest.approx(transfer_ohm, rel=ELEMENT)
    assert fit["C2"].value == pytest.approx(transfer_s / transfer_ohm, rel=ELEMENT)
    assert fit.rms_pct < 0.2
    assert found.consistency.sound


def noisy(cell: Elements, seed: int, made: Made) -> tuple[np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    hertz = np.array([f for f, _ in made.bench.sweeps])
    true = np.array([z for _, z in made.bench.sweeps])
    size = 1 + 1e-3 * dice.standard_normal(len(true))
    return hertz, true * size * np.exp(1j * np.radians(0.05) * dice.standard_normal(len(true)))


def test_the_default_circuit_finds_the_resistances_in_a_noisy_spectrum(made: Made) -> None:
    cell = made.bench.elements[12]
    hertz, z_ohm = noisy(cell, 3, made)
    fit = spectra.fit(hertz, z_ohm)
    assert fit["R0"].value == pytest.approx(cell.series_ohm, rel=RESISTANCE)
    assert fit["R1"].value == pytest.approx(cell.arcs[0][0], rel=ELEMENT)
    assert fit["R2"].value == pytest.approx(cell.arcs[1][0], rel=0.05)  # beside a free diffusion
    assert fit["CPE1_1"].value == pytest.approx(1.0, abs=0.01)  # the cell's arcs are ideal
    for name in ("R0", "R1", "R2"):
        assert 0 < fit[name].std_error < 0.05 * fit[name].value


def test_the_standard_errors_are_as_large_as_repeated_measurements_scatter(made: Made) -> None:
    cell = made.bench.elements[12]
    fits = [spectra.fit(*noisy(cell, seed, made), "R0-p(R1,C1)-p(R2,C2)-CPE3") for seed in range(8)]
    values = np.array([fit["R1"].value for fit in fits])
    told = np.mean([fit["R1"].std_error for fit in fits])
    assert 0.4 < values.std(ddof=1) / told < 2.5


def test_a_spectrum_that_drifts_while_it_is_measured_is_told_apart(made: Made) -> None:
    hertz, z_ohm = noisy(made.bench.elements[12], 5, made)
    assert spectra.consistency(hertz, z_ohm).sound
    drifting = z_ohm * np.linspace(1.0, 1.1, len(z_ohm))
    assert not spectra.consistency(hertz, drifting).sound
