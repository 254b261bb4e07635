"""The PalmSens driver against simulated potentiostats in a process of their own, on real ptys.

Every test runs through pyvisa and through pyserial. What flowed is read from the bench's ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import serial

from daq.bus.serial_wire import SerialWire
from daq.bus.session import Session
from daq.bus.text import WireTextLine
from daq.bus.visa import VisaWire
from daq.errors import BadReply, InstrumentError, InstrumentRefused, LinkDown, NoReply
from daq.model import Identity, MeasurementState, Spectrum, SpectrumPoint
from daq.sentinel import switch_off
from drivers.palmsens import Options, PalmSens
from simulators.cell import Cell
from simulators.client import RunningBench, running_bench

FACTOR = 200
SEED = 7
PATIENCE_S = 20.0
SOC = 0.5
CELLS = {"alone": 2.5, "near": 2.5, "far": 1.0, "small": 2.5}
BOXES: dict[str, dict[str, Any]] = {
    "nexus": {"channels": {1: "alone"}, "options": {"serial": "NEXUS26A0042"}},
    "mux": {"channels": {1: "near", 2: "far"}, "options": {"multiplexer": "mux8r2"}},
    "hr": {"channels": {1: "small"}, "options": {"model": "es4_hr"}},
}
SETTINGS = replace(PalmSens.settings, timeout_s=5.0)
IMPATIENT = replace(SETTINGS, timeout_s=0.3)
QUICK = Spectrum(1e4, 1e-1, 5, 5e-3)
LONG = Spectrum(1e3, 1e-3, 5, 5e-3, at_most_s=86400.0)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBench]:
    folder = tmp_path_factory.mktemp("palmsens")
    cells = {n: {"model": "nmc", "capacity": ah, "soc": SOC} for n, ah in CELLS.items()}
    config = {
        "clock": {"factor": FACTOR},
        "seed": SEED,
        "cells": cells,
        "instruments": {
            name: {"dialect": "palmsens", "listen": f"pty:{folder / name}.pty", **box}
            for name, box in BOXES.items()
        },
    }
    with running_bench(config) as running:
        yield running


@pytest.fixture(params=["pyvisa", "pyserial"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Connect = Callable[..., PalmSens]


@pytest.fixture
def connect(bench: RunningBench, transport: str) -> Iterator[Connect]:
    """Opens a driver, identified and set up; afterwards nothing runs and no line is open."""
    made: list[PalmSens] = []

    def build(name: str, options: Options | None = None) -> PalmSens:
        device = str(bench.path(name))
        if transport == "pyvisa":
            wire = VisaWire(f"ASRL{device}::INSTR", SETTINGS)
        else:
            wire = SerialWire(device, SETTINGS)
        driver = PalmSens(WireTextLine(Session(wire), SETTINGS), options)
        made.append(driver)
        reopen(driver)
        return driver

    yield build
    bench.clear_faults()
    for driver in made:
        driver.line.close()
    until(lambda: _reopened(made[-1]))
    made[-1].line.close()


def reopen(driver: PalmSens) -> None:
    driver.line.close()
    driver.line.open()
    driver.identify()
    driver.setup()


def _reopened(driver: PalmSens) -> bool:
    with suppress(InstrumentError):
        reopen(driver)
        return True
    return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def sweep(driver: PalmSens) -> tuple[MeasurementState, list[SpectrumPoint], str]:
    """Poll to the end: its state, all points, its message."""
    points: list[SpectrumPoint] = []
    last = driver.poll()

    def over() -> bool:
        nonlocal last
        last = driver.poll()
        points.extend(last.points)
        return last.state is not MeasurementState.RUNNING

    points.extend(last.points)
    if last.state is MeasurementState.RUNNING:  # on a busy machine it may be over already
        until(over)
    return last.state, points, last.message


def first_point(driver: PalmSens) -> None:
    until(lambda: len(driver.poll().points) > 0)


def is_on(bench: RunningBench, cell: str) -> bool:
    return bool(bench.ledger(cell)["on"])


def assert_is_the_cells(points: list[SpectrumPoint], cell: str) -> None:
    """Every point lies where the cell's own model has it, within the noise of the instrument."""
    twin = Cell("nmc", CELLS[cell], SOC, seed=f"{SEED} {cell}")
    for point in points:
        true = twin.impedance(point.frequency_Hz)
        assert abs(complex(point.z_real_ohm, point.z_imag_ohm) - true) < 0.01 * abs(true)


def test_the_potentiostat_is_who_it_says(connect: Connect) -> None:
    driver = connect("nexus")
    expected = Identity("PalmSens", "Nexus", "NEXUS26A0042", "1500 MethodSCRIPT 01.09.00")
    assert driver.identify() == expected
    assert driver.range(1).current_A == (-1.0, 1.0)
    assert driver.read() == {}


def test_a_spectrum_is_the_cells_own_impedance(bench: RunningBench, connect: Connect) -> None:
    driver = connect("nexus")
    driver.start(1, QUICK)
    state, points, message = sweep(driver)
    assert (state, message) == (MeasurementState.DONE, "")
    assert [round(p.frequency_Hz, 3) for p in points[::5]] == [1e4, 1e3, 100, 10, 1, 0.1]
    assert len(points) == 26
    assert_is_the_cells(points, "alone")
    assert not is_on(bench, "alone")
    assert driver.poll().state is MeasurementState.IDLE


def test_a_sweep_about_the_open_circuit_voltage_moves_hardly_any_charge(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    before = bench.ledger("alone")
    driver.start(1, QUICK)
    sweep(driver)
    after = bench.ledger("alone")
    for way in ("charged_Ah", "discharged_Ah"):
        assert after[way] - before[way] < 1e-3


def test_a_bias_is_held_against_the_open_circuit_voltage(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    before = bench.ledger("alone")["charged_Ah"]
    driver.start(1, replace(QUICK, to_Hz=10.0, bias_V=5e-3))
    state, _, _ = sweep(driver)
    assert state is MeasurementState.DONE
    assert bench.ledger("alone")["charged_Ah"] - before > 1e-5


@pytest.mark.parametrize("bias_A", [0.0, 0.4, -0.4])
def test_a_galvanostatic_spectrum_is_the_cells_own_and_its_direct_current_moves_charge(
    bench: RunningBench, connect: Connect, bias_A: float
) -> None:
    driver = connect("nexus")
    before = bench.ledger("alone")
    sweep_ = Spectrum(1e4, 1e-1, 5, 0.0, amplitude_A=0.05, bias_A=bias_A, at_most_s=600)
    driver.start(1, sweep_)
    first_point(driver)
    assert bench.state("alone")["current_A"] == pytest.approx(bias_A, abs=1e-6)
    state, points, message = sweep(driver)
    assert (state, message) == (MeasurementState.DONE, "")
    assert not is_on(bench, "alone")
    twin = Cell("nmc", CELLS["alone"], SOC, seed=f"{SEED} alone")
    for point in points:
        true = twin.impedance(point.frequency_Hz)
        assert abs(complex(point.z_real_ohm, point.z_imag_ohm) - true) < 0.03 * abs(true)
    after = bench.ledger("alone")
    moved_As = 3600.0 * (
        after["charged_Ah"]
        - before["charged_Ah"]
        - after["discharged_Ah"]
        + before["discharged_Ah"]
    )
    at_0_1_Hz_s = 5 * 3 / 0.25  # the last points alone take about so long
    assert moved_As * bias_A >= 0.0
    assert abs(moved_As) >= abs(bias_A) * at_0_1_Hz_s


def test_abort_in_the_middle_of_a_direct_current_opens_the_cell_at_once(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    driver.start(1, replace(LONG, amplitude_V=0.0, amplitude_A=0.05, bias_A=0.3))
    first_point(driver)
    driver.abort()
    assert not is_on(bench, "alone")
    moved = bench.ledger("alone")["charged_Ah"]
    time.sleep(0.1)
    assert bench.ledger("alone")["charged_Ah"] == moved


def test_points_are_there_before_the_sweep_ends_and_nothing_is_sent_meanwhile(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    driver.start(1, LONG)
    first_point(driver)
    assert driver.read() == {}
    assert is_on(bench, "alone")
    with pytest.raises(InstrumentRefused, match="runs on channel 1"):
        driver.start(1, QUICK)


def test_abort_in_the_middle_opens_the_cell_at_once(bench: RunningBench, connect: Connect) -> None:
    driver = connect("nexus")
    driver.start(1, LONG)
    first_point(driver)
    driver.abort()
    assert not is_on(bench, "alone")
    assert driver.poll().state is MeasurementState.IDLE
    driver.start(1, replace(QUICK, to_Hz=100.0))
    assert sweep(driver)[0] is MeasurementState.DONE


def test_off_may_come_at_any_time_and_any_number_of_times(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    driver.off(1)
    driver.start(1, LONG)
    first_point(driver)
    for _ in range(3):
        driver.off(1)
        assert not is_on(bench, "alone")


def test_the_instrument_itself_ends_a_sweep_that_takes_too_long(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    driver.start(1, replace(LONG, at_most_s=60.0))
    state, points, message = sweep(driver)
    assert state is MeasurementState.FAILED
    assert message.startswith("time limit; ended after")
    assert points
    assert not is_on(bench, "alone")


def test_a_plug_pulled_in_the_middle_is_noticed_and_the_next_connection_ends_the_sweep(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    driver.start(1, LONG)
    first_point(driver)
    bench.fault("nexus", "close")
    with pytest.raises(LinkDown):
        until(lambda: driver.poll().state is not MeasurementState.RUNNING)
    assert is_on(bench, "alone"), "the script runs on without its host"
    until(lambda: _reopened(driver))
    assert not is_on(bench, "alone")
    progress = driver.poll()
    assert progress.state is MeasurementState.FAILED
    assert "line was lost" in progress.message


def test_another_daemon_finds_out_who_is_there_though_a_dead_ones_sweep_still_streams(
    bench: RunningBench, connect: Connect
) -> None:
    dead = connect("nexus")
    dead.start(1, LONG)
    first_point(dead)
    dead.line.close()
    heir = connect("nexus")
    assert heir.read() == {}
    assert not is_on(bench, "alone")


def test_off_to_a_silent_instrument_fails_within_the_timeout(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    driver.start(1, LONG)
    first_point(driver)
    bench.fault("nexus", "silence")
    driver.line.settings = IMPATIENT
    with pytest.raises(NoReply):
        driver.off(1)
    driver.line.settings = SETTINGS


def test_garbage_in_the_stream_is_not_taken_for_a_point(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("nexus")
    driver.start(1, LONG)
    first_point(driver)
    bench.fault("nexus", "garbage")
    with pytest.raises(BadReply):
        until(lambda: driver.poll().state is not MeasurementState.RUNNING)


def test_a_critical_overload_is_a_failed_sweep_and_an_open_cell(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("hr")
    driver.start(1, replace(QUICK, amplitude_V=50e-3))
    state, points, message = sweep(driver)
    assert state is MeasurementState.FAILED
    assert points == []
    assert "critical cell overload" in message
    assert not is_on(bench, "small")


def test_clipped_points_are_left_out_and_said_so(bench: RunningBench, connect: Connect) -> None:
    """2.5 mV drive 0.2 A peak through 18 mohm at 1 kHz: over the 100 mA of an HR, not twice."""
    driver = connect("hr")
    driver.start(1, Spectrum(1e3, 1e-1, 5, 2.2e-3))
    state, points, message = sweep(driver)
    assert state is MeasurementState.DONE
    assert "left out: overloaded" in message
    assert 0 < len(points) < 21
    assert_is_the_cells(points, "small")


def test_each_channel_of_a_multiplexer_is_its_own_cell(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("mux", Options(multiplexer="mux8r2", channels=2, read_voltage=True))
    voltages = {n: reading.voltage_V for n, reading in driver.read().items()}
    for channel, cell in ((1, "near"), (2, "far")):
        assert voltages[channel] == pytest.approx(bench.state(cell)["voltage_V"], abs=1e-3)
    for channel, cell in ((2, "far"), (1, "near")):
        driver.start(channel, replace(QUICK, to_Hz=1.0))
        state, points, _ = sweep(driver)
        assert state is MeasurementState.DONE
        assert_is_the_cells(points, cell)


def test_off_of_one_channel_does_not_end_anothers_sweep(
    bench: RunningBench, connect: Connect
) -> None:
    driver = connect("mux", Options(multiplexer="mux8r2", channels=2))
    driver.start(2, LONG)
    first_point(driver)
    driver.off(1)
    assert is_on(bench, "far")
    driver.off(2)
    assert not is_on(bench, "far")


def test_the_sentinels_recipe_alone_ends_a_sweep(bench: RunningBench, connect: Connect) -> None:
    driver = connect("nexus")
    exchanges = [[e.send.hex(), e.expect.hex()] for e in driver.off_exchanges(1)]
    endpoint = driver.line.endpoint()
    assert endpoint is not None
    driver.start(1, LONG)
    first_point(driver)
    driver.line.close()
    recipe = {
        "kind": endpoint.kind,
        "address": endpoint.address,
        "port": endpoint.port,
        "frame": endpoint.frame,
        "exchanges": [exchanges],
        "command": [],
    }
    for _ in range(2):
        until(lambda: switch_off(recipe) == "")
        assert not is_on(bench, "alone")
    driver.line.settings = IMPATIENT  # the box is deaf after the second, and loses the next "t"


def test_plain_pyserial_is_answered(bench: RunningBench) -> None:
    with serial.Serial(str(bench.path("nexus")), 230400, timeout=PATIENCE_S) as port:
        port.write(b't\ni\ne\nsend_string "hello"\n\n')
        answers = [port.read_until(b"\n") for _ in range(6)]
    firmware = b"tnexus11500#Mar 12 2026 14:28:01\n"
    assert answers == [firmware, b"R*\n", b"iNEXUS26A0042\n", b"e\n", b"Thello\n", b"\n"]
