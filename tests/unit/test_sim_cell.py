"""The cell model: one set of parameters in time and in frequency."""

import cmath
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.cell import Cell
from simulators.chemistry import CHEMISTRIES, open_circuit
from simulators.clock import ManualClock
from simulators.rig import Position

LIMITS_V = {"nmc": (2.5, 4.2), "lfp": (2.0, 3.65)}


def still(soc: float = 0.5, **options) -> Cell:
    """A cell so large that a pulse neither empties nor warms it."""
    return Cell("nmc", 2500.0, soc, temperature_degC=25.0, **options)


def cycle(position: Position, clock: ManualClock, limits_V: tuple[float, float]) -> float:
    """Charge C/5 with a hold to C/50, discharge C/5; return the coulombic efficiency."""
    ledger = position.ledger
    charged, discharged = ledger.charged_Ah, ledger.discharged_Ah
    position.drive(limits_V[1], 0.5, 0.0)
    run(position, clock, until=lambda: position.regulation == "cv" and position.current_A < 0.05)
    position.drive(limits_V[0], 0.0, 0.5)
    run(position, clock, until=lambda: position.regulation == "cv")
    position.open()
    return (ledger.discharged_Ah - discharged) / (ledger.charged_Ah - charged)


def run(position: Position, clock: ManualClock, until) -> None:
    for _ in range(20_000):
        clock.advance(20.0)
        position.advance()
        if until():
            return
    raise AssertionError("the step never ended")


@pytest.mark.parametrize("chemistry", CHEMISTRIES)
def test_the_first_cycle_of_an_unformed_cell_loses_lithium_and_the_third_hardly_any(chemistry):
    clock = ManualClock()
    position = Position(Cell(chemistry, 2.5, 0.02, formed=False), clock)
    first, second, third, fourth = (cycle(position, clock, LIMITS_V[chemistry]) for _ in range(4))
    assert 0.85 < first < 0.90
    assert 0.98 < second < 0.99
    assert third > 0.995
    assert fourth > third


def test_a_formed_cell_gives_back_what_it_took():
    clock = ManualClock()
    position = Position(Cell("nmc", 2.5, 0.0), clock)
    cycle(position, clock, LIMITS_V["nmc"])
    assert 0.999 < cycle(position, clock, LIMITS_V["nmc"]) < 1.0


@pytest.mark.parametrize("chemistry", CHEMISTRIES)
def test_the_first_charge_stays_within_the_usual_charge_limit_of_115_percent(chemistry):
    for seed in range(20):
        clock = ManualClock()
        position = Position(Cell(chemistry, 2.5, 0.02, formed=False, seed=seed), clock)
        cycle(position, clock, LIMITS_V[chemistry])
        assert position.ledger.charged_Ah < 1.145 * 2.5


def test_capacity_fades_slowly_and_for_good():
    cell = Cell("nmc", 2.5, 0.5, fade_per_cycle=1e-3)
    for _ in range(100):
        for current_A in (2.5, -2.5):
            for _ in range(36):
                cell.step(20.0, current_A)
    assert cell.throughput_Ah == pytest.approx(100.0)
    assert cell.capacity_Ah == pytest.approx(2.5 * math.exp(-20e-3), rel=1e-4)


def test_a_pulse_and_the_spectrum_give_the_same_resistances():
    cell = still()
    taus = [tau for _, tau in cell.arcs]
    times = np.geomspace(1e-4, 5000.0, 400)
    pulse = resistances_from_pulse(still(), times, taus)
    spectrum = resistances_from_spectrum(cell, np.geomspace(1e-5, 1e4, 200), taus)
    assert pulse == pytest.approx(spectrum, rel=1e-4)
    assert pulse[0] == pytest.approx(cell.series_ohm, rel=1e-6)


def resistances_from_pulse(cell: Cell, times, taus) -> np.ndarray:
    """Least squares of a discharge pulse on R0, the arcs, and charge storage."""
    start_V, ohms, past = cell.voltage_V(0.0), [], 0.0
    for at in times:
        ohms.append((start_V - cell.step(at - past, -0.1).end_V) / 0.1)
        past = at
    columns = [np.ones_like(times), *(1.0 - np.exp(-times / tau) for tau in taus), times]
    return np.linalg.lstsq(np.column_stack(columns), np.array(ohms), rcond=None)[0][:-1]


def resistances_from_spectrum(cell: Cell, frequencies, taus) -> np.ndarray:
    s = 2j * np.pi * frequencies
    columns = np.column_stack([np.ones_like(s), *(1.0 / (1.0 + s * tau) for tau in taus), 1.0 / s])
    z = np.array([cell.impedance(f) for f in frequencies])
    stacked = np.vstack([columns.real, columns.imag])
    return np.linalg.lstsq(stacked, np.concatenate([z.real, z.imag]), rcond=None)[0][:-1]


@pytest.mark.parametrize("frequency_Hz", [0.01, 0.1, 1.0, 50.0, 1000.0])
def test_a_sine_in_the_time_domain_sees_the_impedance_of_the_frequency_domain(frequency_Hz):
    cell, points, periods = still(), 200, 30
    dt, volts, amps = 1.0 / frequency_Hz / points, [], []
    for n in range(periods * points):
        current_A = math.sin(2.0 * math.pi * (n + 0.5) / points)
        piece = cell.step(dt, current_A)
        volts.append((piece.start_V + piece.end_V) / 2.0)
        amps.append(current_A)
    seen = fundamental(volts[-points:]) / fundamental(amps[-points:])
    truth = cell.impedance(frequency_Hz)
    assert abs(seen - truth) < 0.01 * abs(truth)


def fundamental(values: list[float]) -> complex:
    mean = sum(values) / len(values)
    turn = -2j * math.pi / len(values)
    return sum((v - mean) * cmath.exp(turn * n) for n, v in enumerate(values))


def test_the_spectrum_has_a_series_resistance_arcs_and_a_45_degree_tail():
    cell = Cell("lfp", 2.5, 0.5, temperature_degC=25.0)
    assert cell.impedance(1e6).real == pytest.approx(cell.series_ohm, rel=1e-3)
    assert cell.impedance(80.0).imag < -0.1 * cell.arcs[0][0]
    tail = [cell.impedance(f) for f in np.geomspace(0.003, 0.03, 10)]
    slope = -np.polyfit([z.real for z in tail], [z.imag for z in tail], 1)[0]
    assert 0.7 < slope < 1.4


def test_cold_cells_resist_more():
    cold = Cell("nmc", 2.5, 0.5, temperature_degC=0.0)
    warm = Cell("nmc", 2.5, 0.5, temperature_degC=45.0)
    assert cold.series_ohm > 1.3 * warm.series_ohm
    assert cold.arcs[1][0] > 5.0 * warm.arcs[1][0]


@pytest.mark.parametrize("chemistry", CHEMISTRIES)
def test_the_open_circuit_voltage_rises_with_charge_and_is_never_far_from_the_fit(chemistry):
    table, fit = open_circuit(chemistry), CHEMISTRIES[chemistry]
    socs = np.linspace(0.0, 1.0, 777)
    volts = [table.piece(soc)[0] for soc in socs]
    assert all(b > a for a, b in zip(volts, volts[1:], strict=False))
    assert volts == pytest.approx([fit.open_circuit_V(soc) for soc in socs], abs=5e-4)
    low_V, high_V = LIMITS_V[chemistry]
    assert table.soc_at(low_V) == pytest.approx(0.0, abs=0.01)
    assert table.soc_at(high_V) == pytest.approx(1.0, abs=0.01)


@settings(max_examples=200, deadline=None)
@given(
    chemistry=st.sampled_from(sorted(CHEMISTRIES)),
    soc=st.floats(0.0, 1.0),
    before_A=st.floats(-3.0, 3.0),
    seconds=st.sampled_from([0.0, 1e-3, 0.05, 1.0, 20.0]),
    share=st.floats(0.0, 1.0),
)
def test_the_current_for_a_voltage_ends_the_step_at_that_voltage(
    chemistry, soc, before_A, seconds, share
):
    cell = Cell(chemistry, 2.5, soc, formed=False)
    cell.step(30.0, before_A)
    low_V, high_V = LIMITS_V[chemistry]
    target_V = low_V + share * (high_V - low_V)
    current_A = cell.current_for(target_V, seconds, -1e6, 1e6)
    step_V = cell.step(seconds, current_A).end_V if seconds else cell.voltage_V(current_A)
    assert step_V == pytest.approx(target_V, abs=1e-5)


@settings(max_examples=100, deadline=None)
@given(low_A=st.floats(-5.0, 0.0), high_A=st.floats(0.0, 5.0), volts=st.floats(-5.0, 9.0))
def test_the_current_for_a_voltage_never_leaves_its_limits(low_A, high_A, volts):
    cell = Cell("nmc", 2.5, 0.5)
    assert low_A <= cell.current_for(volts, 5.0, low_A, high_A, guess_A=99.0) <= high_A


def test_two_cells_of_one_seed_are_twins_and_of_two_seeds_are_not():
    def fate(seed: str) -> tuple[float, float]:
        cell = Cell("nmc", 2.5, 0.3, seed=seed, formed=False)
        return cell.step(600.0, 1.0).end_V, cell.capacity_Ah

    assert fate("7 cell-1") == fate("7 cell-1")
    assert fate("7 cell-1") != fate("7 cell-2")


def test_current_warms_a_cell_and_its_surroundings_cool_it_again():
    cell = Cell("nmc", 2.5, 0.9, temperature_degC=25.0)
    for _ in range(60):
        cell.step(20.0, -5.0)
    hot_degC = cell.temperature_degC
    assert 30.0 < hot_degC < 60.0
    cell.step(4000.0, 0.0)
    assert cell.temperature_degC == pytest.approx(25.0, abs=0.01)


def test_one_long_step_moves_the_arcs_as_many_short_ones_do():
    long, short = still(), still()
    end_V = long.step(1000.0, 5.0).end_V
    pieces = [short.step(1.0, 5.0) for _ in range(1000)]
    assert pieces[-1].end_V == pytest.approx(end_V, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"capacity_Ah": 0.0}, {"soc": 1.1}])
def test_a_cell_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="capacity must be"):
        Cell(**({"chemistry": "nmc", "capacity_Ah": 2.5, "soc": 0.5} | wrong))
