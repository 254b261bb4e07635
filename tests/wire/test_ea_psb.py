"""The EA PSB driver against the simulated instrument, over real sockets.

What matters is read from the bench's own ledger, out of the driver's reach.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from math import isnan

import pytest

from daq.bus.line import LineSettings
from daq.bus.resource import make_line, parse_resource
from daq.bus.text import WireTextLine
from daq.errors import BadReply, InstrumentRefused, LinkDown, NoReply, ReadbackMismatch
from daq.model import Protection, Setpoint
from drivers.ea_psb import LOST, EaPsb
from simulators.client import RunningBench, running_bench

CELL = "cell-1"
BENCH = {
    "clock": {"factor": 10},
    "seed": 7,
    "cells": {CELL: {"model": "nmc", "capacity": 2.5, "soc": 0.5}},
    "instruments": {
        "psb": {
            "dialect": "ea_psb",
            "listen": "tcp://127.0.0.1:0",
            "channels": {1: CELL},
            "options": {"model": "PSB 10060-60 2U", "serial": "1234560001"},
        }
    },
}
WIDE = Protection((2.0, 4.5), (-3.0, 3.0), 60.0)
CHARGE = Setpoint(4.25, 0.5, 0.0)
DISCHARGE = Setpoint(2.45, 0.0, 0.5)
PATIENCE_S = 20.0
SETTINGS = replace(EaPsb.settings, timeout_s=5.0, gap_s=0.0)
"""Without the real unit's pause between messages, which would only make these tests slow."""

IMPATIENT = replace(SETTINGS, timeout_s=0.3)


@pytest.fixture(scope="module")
def bench() -> Iterator[RunningBench]:
    with running_bench(BENCH) as running:
        yield running


@pytest.fixture
def driver(bench: RunningBench) -> Iterator[EaPsb]:
    """Identified and set up; left off, without alarms and without faults."""
    made = connect(bench)
    yield made
    bench.clear_faults()
    bench.ask("touch", instrument="psb", panel_lock=False)
    reconnect(made, SETTINGS)
    made.off(1)
    made.protect(1, WIDE)
    made.clear(1)
    made.line.close()
    assert not is_on(bench)


def connect(bench: RunningBench, settings: LineSettings = SETTINGS) -> EaPsb:
    host, port = bench.endpoint("psb")
    line = make_line(parse_resource(f"TCPIP::{host}::{port}::SOCKET"), settings)
    assert isinstance(line, WireTextLine)
    line.open()
    driver = EaPsb(line)
    driver.identify()
    driver.setup()
    return driver


def reconnect(driver: EaPsb, settings: LineSettings) -> None:
    driver.line.close()
    driver.line.settings = settings
    driver.line.open()
    driver.identify()
    driver.setup()


def energise(driver: EaPsb, setpoint: Setpoint, protection: Protection = WIDE) -> None:
    driver.protect(1, protection)
    driver.apply(1, setpoint)
    driver.on(1)


def is_on(bench: RunningBench) -> bool:
    return bool(bench.ledger(CELL)["on"])


def switchings(bench: RunningBench) -> list[bool]:
    return [bool(edge["on"]) for edge in bench.ledger(CELL)["edges"]]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def raw(bench: RunningBench, *messages: bytes) -> bytes:
    """Messages on a connection of their own, as another program would send them."""
    with socket.create_connection(bench.endpoint("psb"), PATIENCE_S) as other:
        other.sendall(b"".join(messages))
        return other.makefile("rb").readline() if messages[-1].endswith(b"?\n") else b""


def test_the_instrument_is_who_it_says(driver: EaPsb) -> None:
    identity = driver.identify()
    assert (identity.model, identity.serial) == ("PSB 10060-60 2U", "1234560001")


def test_the_range_is_a_little_more_than_the_rating(driver: EaPsb) -> None:
    found = driver.range(1)
    assert found.voltage_V == pytest.approx((0.0, 61.2))
    assert found.current_A == pytest.approx((-61.2, 61.2))


def test_an_output_that_is_off_reads_the_cell(driver: EaPsb) -> None:
    reading = driver.read()[1]
    assert 3.0 < reading.voltage_V < 4.2
    assert (reading.output_on, reading.fault) == (False, "")
    assert abs(reading.current_A) < 0.05


@pytest.mark.parametrize(("setpoint", "sign"), [(CHARGE, 1), (DISCHARGE, -1)])
def test_a_step_moves_charge_in_the_right_direction_and_only_there(
    bench: RunningBench, driver: EaPsb, setpoint: Setpoint, sign: int
) -> None:
    before = bench.ledger(CELL)
    energise(driver, setpoint)
    until(lambda: abs(driver.read()[1].current_A - sign * 0.5) < 0.02)
    assert driver.read()[1].output_on
    driver.off(1)
    assert not is_on(bench)
    after = bench.ledger(CELL)
    moved = {key: after[key] - before[key] for key in ("charged_Ah", "discharged_Ah")}
    wanted, other = ("charged_Ah", "discharged_Ah")[::sign]
    assert moved[wanted] > 0
    assert moved[other] < 0.01 * moved[wanted]


def test_a_step_may_follow_a_step_without_an_off(bench: RunningBench, driver: EaPsb) -> None:
    energise(driver, CHARGE)
    before = switchings(bench)
    driver.apply(1, DISCHARGE)
    until(lambda: driver.read()[1].current_A < -0.45)
    driver.protect(1, WIDE)
    assert driver.read()[1].current_A == pytest.approx(-0.5, abs=0.02)
    assert switchings(bench) == before
    assert is_on(bench)


def test_a_setpoint_out_of_range_is_refused_in_the_instruments_words(driver: EaPsb) -> None:
    with pytest.raises(InstrumentRefused, match="-222"):
        driver.apply(1, Setpoint(9999.0, 0.1, 0.0))


def test_a_power_limit_that_somebody_left_is_lifted(bench: RunningBench, driver: EaPsb) -> None:
    raw(bench, b"POW 1\n", b"POW?\n")
    energise(driver, CHARGE)
    until(lambda: driver.read()[1].current_A > 0.48)


# Protections and the watchdog --------------------------------------------------------------------


def test_over_voltage_opens_the_output_and_clearing_never_closes_it(
    bench: RunningBench, driver: EaPsb
) -> None:
    now_V = driver.read()[1].voltage_V
    energise(driver, CHARGE)
    driver.protect(1, replace(WIDE, voltage_V=(2.0, now_V - 0.1)))
    until(lambda: not is_on(bench))
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, "over-voltage")
    with pytest.raises(ReadbackMismatch, match="over-voltage"):
        driver.on(1)
    driver.protect(1, WIDE)
    driver.clear(1)
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, "")
    assert not is_on(bench)


def test_under_voltage_opens_the_output(bench: RunningBench, driver: EaPsb) -> None:
    now_V = driver.read()[1].voltage_V
    energise(driver, DISCHARGE)
    driver.protect(1, replace(WIDE, voltage_V=(now_V + 0.1, 4.5)))
    until(lambda: not is_on(bench))
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, "under-voltage")


def _over_voltage(driver: EaPsb, volts: float) -> None:
    driver.protect(1, replace(WIDE, voltage_V=(2.0, volts - 0.1)))


def _under_voltage(driver: EaPsb, volts: float) -> None:
    driver.protect(1, replace(WIDE, voltage_V=(volts + 0.1, 4.5)))


def _over_current(driver: EaPsb, volts: float) -> None:
    driver.protect(1, replace(WIDE, current_A=(-3.0, 0.2)))


def _watchdog(driver: EaPsb, volts: float) -> None:
    driver.protect(1, replace(WIDE, watchdog_s=1.0))
    driver.line.close()


@pytest.mark.fault("F20", family="ea_psb")
@pytest.mark.parametrize("obeys", [True, False], ids=["OFF obeyed", "OFF ignored"])
@pytest.mark.parametrize(
    "protection",
    [_over_voltage, _under_voltage, _over_current, _watchdog],
    ids=lambda protection: protection.__name__.strip("_"),
)
def test_clearing_moves_no_charge_whatever_had_opened_the_output(
    bench: RunningBench,
    driver: EaPsb,
    protection: Callable[[EaPsb, float], None],
    obeys: bool,
) -> None:
    now_V = driver.read()[1].voltage_V
    energise(driver, CHARGE)
    protection(driver, now_V)
    until(lambda: not is_on(bench))
    reconnect(driver, SETTINGS)
    driver.protect(1, WIDE)
    before = bench.ledger(CELL)
    if not obeys:
        bench.fault("psb", "ignored_off")
    with suppress(ReadbackMismatch):  # the second OFF finds that the first was not obeyed
        driver.clear(1)
    bench.clear_faults()
    time.sleep(0.1)  # what clearing has restored would flow now
    after = bench.ledger(CELL)
    assert after["charged_Ah"] == before["charged_Ah"]
    assert after["discharged_Ah"] == before["discharged_Ah"]
    assert not obeys or len(after["edges"]) == len(before["edges"])


def test_the_simulated_unit_would_restore_its_output_if_it_were_let(
    bench: RunningBench, driver: EaPsb
) -> None:
    """Or the test above would prove nothing."""
    now_V = driver.read()[1].voltage_V
    energise(driver, CHARGE)
    _over_voltage(driver, now_V)
    until(lambda: not is_on(bench))
    driver.protect(1, WIDE)
    assert not is_on(bench)
    raw(bench, b"SYST:ERR?\n")
    until(lambda: is_on(bench))


@pytest.mark.fault("F19", family="ea_psb")
def test_the_watchdog_opens_the_output_when_nobody_talks_to_the_instrument(
    bench: RunningBench, driver: EaPsb, figure: Callable[[str, float, str], None]
) -> None:
    energise(driver, CHARGE, replace(WIDE, watchdog_s=1.0))
    driver.line.close()
    silent_s = time.monotonic()
    until(lambda: not is_on(bench))
    figure("silence to open output", bench.ledger(CELL)["edges"][-1]["real_s"] - silent_s, "s")
    driver.line.open()
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, LOST)
    with pytest.raises(InstrumentRefused, match="NONE"):
        driver.on(1)
    driver.clear(1)
    assert driver.read()[1].fault == ""
    assert not is_on(bench)


def test_a_unit_that_is_told_to_keep_its_output_is_told_otherwise(
    bench: RunningBench, driver: EaPsb
) -> None:
    raw(bench, b"POW:STAG:AFT:REM AUTO\n", b"POW:STAG:AFT:REM?\n")
    reconnect(driver, SETTINGS)
    energise(driver, CHARGE, replace(WIDE, watchdog_s=1.0))
    driver.line.close()
    until(lambda: not is_on(bench))


def test_talking_keeps_the_watchdog_quiet(bench: RunningBench, driver: EaPsb) -> None:
    energise(driver, CHARGE, replace(WIDE, watchdog_s=1.0))
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        assert driver.read()[1].output_on
    assert is_on(bench)


# The lock ----------------------------------------------------------------------------------------


@pytest.mark.fault("F17", family="ea_psb")
def test_a_panel_that_is_locked_is_a_fault_and_the_output_opens(
    bench: RunningBench, driver: EaPsb
) -> None:
    energise(driver, CHARGE)
    bench.ask("touch", instrument="psb", panel_lock=True)
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, LOST)
    with pytest.raises(InstrumentRefused, match="LOCAL"):
        driver.on(1)
    with pytest.raises(InstrumentRefused, match="-201"):
        driver.apply(1, DISCHARGE)
    driver.off(1)
    assert not is_on(bench)


def test_a_unit_that_is_locked_at_its_panel_cannot_be_set_up(
    bench: RunningBench, driver: EaPsb
) -> None:
    bench.ask("touch", instrument="psb", panel_lock=True)
    with pytest.raises(InstrumentRefused, match="LOCAL"):
        reconnect(driver, SETTINGS)


def test_off_takes_the_lock_when_it_has_been_lost_with_the_output_on(
    bench: RunningBench, driver: EaPsb
) -> None:
    energise(driver, CHARGE)
    raw(bench, b"POW:STAG:AFT:REM AUTO\n", b"SYST:LOCK OFF\n", b"OUTP?\n")
    assert is_on(bench)
    assert driver.read()[1].fault == LOST
    driver.off(1)
    assert not is_on(bench)


def test_the_sentinels_bytes_switch_off_and_prove_it_even_without_the_lock(
    bench: RunningBench, driver: EaPsb
) -> None:
    energise(driver, CHARGE)
    raw(bench, b"POW:STAG:AFT:REM AUTO\n", b"SYST:LOCK OFF\n", b"OUTP?\n")
    with socket.create_connection(bench.endpoint("psb"), PATIENCE_S) as other:
        replies = other.makefile("rb")
        for exchange in driver.off_exchanges(1):
            other.sendall(exchange.send)
            if exchange.expect:
                assert re.fullmatch(exchange.expect, replies.readline())
    assert not is_on(bench)


def test_setup_leaves_an_output_that_is_on_as_it_finds_it(
    bench: RunningBench, driver: EaPsb
) -> None:
    energise(driver, CHARGE)
    reconnect(driver, SETTINGS)
    assert driver.read()[1].output_on
    assert is_on(bench)


# A box that does not do what it says -------------------------------------------------------------


@pytest.mark.fault("F15", family="ea_psb")
def test_an_off_that_the_instrument_ignores_is_noticed(bench: RunningBench, driver: EaPsb) -> None:
    energise(driver, CHARGE)
    bench.fault("psb", "ignored_off")
    with pytest.raises(ReadbackMismatch, match="still on"):
        driver.off(1)
    assert is_on(bench)


@pytest.mark.fault("F14", family="ea_psb")
def test_a_setpoint_that_the_instrument_ignores_is_noticed_before_on(
    bench: RunningBench, driver: EaPsb
) -> None:
    before = switchings(bench)
    bench.fault("psb", "ignored_set")
    with pytest.raises(ReadbackMismatch, match="VOLT"):
        driver.apply(1, Setpoint(4.1, 0.3, 0.0))
    with pytest.raises(ReadbackMismatch, match="VOLT:PROT"):
        driver.protect(1, replace(WIDE, voltage_V=(2.0, 4.4)))
    assert switchings(bench) == before


@pytest.mark.fault("F21", family="ea_psb")
def test_amperes_that_are_taken_for_milliamperes_are_noticed_before_on(
    bench: RunningBench, driver: EaPsb
) -> None:
    before = switchings(bench)
    bench.fault("psb", "wrong_unit")
    with pytest.raises(ReadbackMismatch, match="VOLT:PROT"):
        driver.protect(1, replace(WIDE, voltage_V=(2.0, 4.4)))
    with pytest.raises(ReadbackMismatch, match="VOLT|CURR"):
        driver.apply(1, CHARGE)
    assert switchings(bench) == before


@pytest.mark.fault("F11", family="ea_psb")
def test_a_reading_that_is_not_a_number_is_nan(bench: RunningBench, driver: EaPsb) -> None:
    bench.fault("psb", "nan", quantity="voltage_V")
    assert isnan(driver.read()[1].voltage_V)


# The link ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "error"),
    [
        pytest.param("silence", {"count": 1}, NoReply),
        pytest.param(
            "unplugged", {"lasts": 0.6}, NoReply, marks=pytest.mark.fault("F02", family="ea_psb")
        ),
        pytest.param(
            "late",
            {"delay": 0.6, "count": 1},
            NoReply,
            marks=pytest.mark.fault("F09", family="ea_psb"),
        ),
        pytest.param(
            "half", {"count": 1}, BadReply, marks=pytest.mark.fault("F06", family="ea_psb")
        ),
        pytest.param(
            "garbage", {"count": 1}, BadReply, marks=pytest.mark.fault("F05", family="ea_psb")
        ),
        pytest.param(
            "slow",
            {"lasts": 0.6, "bytes_per_s": 20},
            BadReply,
            marks=pytest.mark.fault("F04", family="ea_psb"),
        ),
        pytest.param("close", {}, LinkDown),
        pytest.param("reset", {}, LinkDown, marks=pytest.mark.fault("F03", family="ea_psb")),
    ],
)
def test_a_bad_link_is_never_a_reading_and_heals_by_reopening(
    bench: RunningBench,
    driver: EaPsb,
    kind: str,
    options: dict[str, float],
    error: type[Exception],
) -> None:
    reconnect(driver, IMPATIENT)
    bench.fault("psb", kind, **options)
    with pytest.raises(error):
        for _ in range(100):
            driver.read()
    until(lambda: _heals(driver))
    assert 3.0 < driver.read()[1].voltage_V < 4.2


def _heals(driver: EaPsb) -> bool:
    try:
        reconnect(driver, IMPATIENT)
    except (NoReply, BadReply, LinkDown):
        return False
    return True


@pytest.mark.fault("F08", family="ea_psb")
def test_a_duplicated_reply_is_never_the_answer_to_another_question(
    bench: RunningBench, driver: EaPsb
) -> None:
    bench.fault("psb", "duplicate", count=40)
    for _ in range(20):
        with suppress(BadReply, LinkDown):  # refused, and the line is closed until reopened
            assert driver.identify().model == "PSB 10060-60 2U"
            assert 3.0 < driver.read()[1].voltage_V < 4.2
        driver.line.close()
        driver.line.open()


def test_a_unit_that_writes_its_numbers_without_a_space_is_understood() -> None:
    content = {**BENCH, "instruments": {"psb": {**BENCH["instruments"]["psb"]}}}
    content["instruments"]["psb"]["options"] = {"space": False}
    with running_bench(content) as other:
        driver = connect(other)
        energise(driver, CHARGE)
        until(lambda: driver.read()[1].current_A > 0.48)
        driver.off(1)
        driver.line.close()


@pytest.mark.fault("F18", family="ea_psb")
@pytest.mark.parametrize("foreign", [b"VOLT 4.0\n", b"CURR 0.4\n", b"VOLT:PROT 9\n"])
def test_what_somebody_else_has_changed_is_found_by_reading_it_back_in_turn(
    bench: RunningBench, driver: EaPsb, foreign: bytes
) -> None:
    energise(driver, CHARGE)
    turns = len(driver._standing)
    for _ in range(turns):
        driver.verify(1)
    raw(bench, foreign, b"OUTP?\n")
    with pytest.raises(ReadbackMismatch, match=foreign.split()[0].decode()):
        for _ in range(turns):
            driver.verify(1)


def test_its_counters_count_what_flows_through_the_cell(bench: RunningBench, driver: EaPsb) -> None:
    before, book = driver.counted(1), bench.ledger(CELL)
    for setpoint in (CHARGE, DISCHARGE, CHARGE):
        energise(driver, replace(setpoint, charge_A=3 * setpoint.charge_A))
        time.sleep(0.7)
        driver.off(1)
    after, now = driver.counted(1), bench.ledger(CELL)
    assert before is not None and after is not None
    charged, discharged = (now[key] - book[key] for key in ("charged_Ah", "discharged_Ah"))
    assert discharged > after.digit_Ah / 2
    assert after.net_Ah - before.net_Ah == pytest.approx(charged - discharged, abs=2e-3)
