"""The Keysight driver against the simulated instrument, over real sockets.

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
from drivers.keysight_aps import KeysightAps
from simulators.client import RunningBench, running_bench

MODELS = {"n6900": "N6974A", "rp7900": "RP7935A"}
CELLS = {"n6900": "cell-1", "rp7900": "cell-2"}
BENCH = {
    "clock": {"factor": 10},
    "seed": 7,
    "cells": {cell: {"model": "nmc", "capacity": 2.5, "soc": 0.5} for cell in CELLS.values()},
    "instruments": {
        name: {
            "dialect": "keysight_aps",
            "listen": "tcp://127.0.0.1:0",
            "channels": {1: CELLS[name]},
            "options": {"model": model, "serial": "MY00000001"},
        }
        for name, model in MODELS.items()
    },
}
WIDE = Protection((2.0, 4.5), (-3.0, 3.0), 60.0)
CHARGE = Setpoint(4.25, 0.5, 0.0)
DISCHARGE = Setpoint(2.45, 0.0, 0.5)
PATIENCE_S = 20.0
SETTINGS = replace(KeysightAps.settings, timeout_s=5.0)
IMPATIENT = replace(SETTINGS, timeout_s=0.3)


@pytest.fixture(scope="module")
def bench() -> Iterator[RunningBench]:
    with running_bench(BENCH) as running:
        yield running


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def driver(bench: RunningBench, name: str) -> Iterator[KeysightAps]:
    """Identified and set up; left off, without protections latched and without faults."""
    made = connect(bench, name)
    yield made
    bench.clear_faults()
    reconnect(made, SETTINGS)
    made.clear(1)
    made.line.close()
    assert not is_on(bench, name)


def connect(bench: RunningBench, name: str, settings: LineSettings = SETTINGS) -> KeysightAps:
    host, port = bench.endpoint(name)
    line = make_line(parse_resource(f"TCPIP::{host}::{port}::SOCKET"), settings)
    assert isinstance(line, WireTextLine)
    line.open()
    driver = KeysightAps(line)
    driver.identify()
    driver.setup()
    return driver


def reconnect(driver: KeysightAps, settings: LineSettings) -> None:
    driver.line.close()
    driver.line.settings = settings
    driver.line.open()
    driver.identify()
    driver.setup()


def energise(driver: KeysightAps, setpoint: Setpoint, protection: Protection = WIDE) -> None:
    driver.protect(1, protection)
    driver.apply(1, setpoint)
    driver.on(1)


def is_on(bench: RunningBench, name: str) -> bool:
    return bool(bench.ledger(CELLS[name])["on"])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def raw(bench: RunningBench, name: str, message: bytes) -> bytes:
    """One message on a connection of its own, as another program would send it."""
    with socket.create_connection(bench.endpoint(name), PATIENCE_S) as other:
        other.sendall(message)
        return other.makefile("rb").readline() if b"?" in message else b""


def test_the_instrument_is_who_it_says(driver: KeysightAps, name: str) -> None:
    identity = driver.identify()
    assert (identity.model, identity.serial) == (MODELS[name], "MY00000001")


def test_the_range_is_the_models(driver: KeysightAps, name: str) -> None:
    rated_V, rated_A, sink = (80.0, 12.5, 0.1) if name == "n6900" else (20.0, 800.0, 1.0)
    found = driver.range(1)
    assert found.voltage_V == pytest.approx((0.0, 1.02 * rated_V))
    assert found.current_A == pytest.approx((-1.02 * rated_A * sink, 1.02 * rated_A))


def test_an_output_that_is_off_reads_the_cell(driver: KeysightAps) -> None:
    reading = driver.read()[1]
    assert 3.0 < reading.voltage_V < 4.2
    assert (reading.output_on, reading.fault) == (False, "")
    assert abs(reading.current_A) < 0.05


@pytest.mark.parametrize(("setpoint", "sign"), [(CHARGE, 1), (DISCHARGE, -1)])
def test_a_step_moves_charge_in_the_right_direction_and_only_there(
    bench: RunningBench, driver: KeysightAps, name: str, setpoint: Setpoint, sign: int
) -> None:
    before = bench.ledger(CELLS[name])
    energise(driver, setpoint)
    until(lambda: abs(driver.read()[1].current_A - sign * 0.5) < 0.02)
    assert driver.read()[1].output_on
    driver.off(1)
    assert not is_on(bench, name)
    after = bench.ledger(CELLS[name])
    moved = {key: after[key] - before[key] for key in ("charged_Ah", "discharged_Ah")}
    wanted, other = ("charged_Ah", "discharged_Ah")[::sign]
    assert moved[wanted] > 0
    assert moved[other] < 0.01 * moved[wanted]


def test_a_step_may_follow_a_step_without_an_off(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    energise(driver, CHARGE)
    driver.apply(1, DISCHARGE)
    until(lambda: driver.read()[1].current_A < -0.45)
    driver.protect(1, WIDE)
    assert driver.read()[1].current_A == pytest.approx(-0.5, abs=0.02)
    assert is_on(bench, name)


def test_a_setpoint_out_of_range_is_refused_in_the_instruments_words(driver: KeysightAps) -> None:
    with pytest.raises(InstrumentRefused, match="-222"):
        driver.apply(1, Setpoint(9999.0, 0.1, 0.0))


@pytest.mark.fault("F20", family="keysight_aps")
def test_over_voltage_opens_the_output_and_clearing_never_closes_it(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    now_V = driver.read()[1].voltage_V
    energise(driver, CHARGE)
    driver.protect(1, replace(WIDE, voltage_V=(2.0, now_V - 0.1)))
    until(lambda: not is_on(bench, name))
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, "over-voltage")
    with pytest.raises(ReadbackMismatch, match="over-voltage"):
        driver.on(1)
    driver.protect(1, WIDE)
    driver.clear(1)
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, "")
    assert not is_on(bench, name)


def _over_voltage(driver: KeysightAps, volts: float) -> None:
    driver.protect(1, replace(WIDE, voltage_V=(2.0, volts - 0.1)))


def _under_voltage(driver: KeysightAps, volts: float) -> None:
    driver.protect(1, replace(WIDE, voltage_V=(volts + 0.1, 4.5)))


def _over_current(driver: KeysightAps, volts: float) -> None:
    driver.line.tell("CURR:PROT:STAT 1")  # the driver keeps it off; somebody else might not


def _watchdog(driver: KeysightAps, volts: float) -> None:
    driver.protect(1, replace(WIDE, watchdog_s=1.0))
    driver.line.close()


@pytest.mark.fault("F20", family="keysight_aps")
@pytest.mark.parametrize("obeys", [True, False], ids=["OFF obeyed", "OFF ignored"])
@pytest.mark.parametrize(
    ("name", "protection"),
    [
        (name, protection)
        for name in MODELS
        for protection in (_over_voltage, _under_voltage, _over_current, _watchdog)
        if (name, protection) != ("n6900", _under_voltage)  # it has none
    ],
    indirect=["name"],
)
def test_clearing_switches_nothing_whatever_had_opened_the_output(
    bench: RunningBench,
    driver: KeysightAps,
    name: str,
    protection: Callable[[KeysightAps, float], None],
    obeys: bool,
) -> None:
    now_V = driver.read()[1].voltage_V
    energise(driver, CHARGE)
    protection(driver, now_V)
    until(lambda: not is_on(bench, name))
    reconnect(driver, SETTINGS)
    driver.protect(1, WIDE)  # the cause is gone: clearing would restore the output
    before = bench.ledger(CELLS[name])
    if obeys:
        driver.clear(1)
    else:
        bench.fault(name, "ignored_off")
        with pytest.raises(ReadbackMismatch):
            driver.clear(1)
    time.sleep(0.1)  # what clearing has restored would flow now
    assert bench.ledger(CELLS[name])["edges"] == before["edges"]


@pytest.mark.parametrize("name", ["rp7900"], indirect=True)
def test_under_voltage_opens_the_output_of_an_rp7900(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    now_V = driver.read()[1].voltage_V
    energise(driver, DISCHARGE)
    driver.protect(1, replace(WIDE, voltage_V=(now_V + 0.1, 4.5)))
    until(lambda: not is_on(bench, name))
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, "under-voltage")


@pytest.mark.fault("F19", family="keysight_aps")
def test_the_watchdog_opens_the_output_when_nobody_talks_to_the_instrument(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    energise(driver, CHARGE, replace(WIDE, watchdog_s=1.0))
    driver.line.close()
    until(lambda: not is_on(bench, name))
    assert raw(bench, name, b"OUTP?\n") == b"1\n"
    driver.line.open()
    reading = driver.read()[1]
    assert (reading.output_on, reading.fault) == (False, "watchdog")
    driver.clear(1)
    assert driver.read()[1].fault == ""
    assert not is_on(bench, name)


def test_the_watchdog_rests_while_the_output_is_off(
    driver: KeysightAps,
) -> None:
    energise(driver, CHARGE, replace(WIDE, watchdog_s=1.0))
    driver.off(1)
    driver.line.close()
    time.sleep(1.3)  # nothing must happen: there is no event to wait for
    driver.line.open()
    assert driver.read()[1].fault == ""


def test_talking_keeps_the_watchdog_quiet(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    energise(driver, CHARGE, replace(WIDE, watchdog_s=1.0))
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        assert driver.read()[1].output_on
    assert is_on(bench, name)


def test_the_sentinels_bytes_switch_off_and_prove_it(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    energise(driver, CHARGE)
    with socket.create_connection(bench.endpoint(name), PATIENCE_S) as other:
        replies = other.makefile("rb")
        for exchange in driver.off_exchanges(1):
            other.sendall(exchange.send)
            if exchange.expect:
                assert re.fullmatch(exchange.expect, replies.readline())
    assert not is_on(bench, name)
    assert raw(bench, name, b"OUTP:PROT:WDOG?\n") == b"0\n"  # it would latch a fault later


def test_a_priority_that_somebody_changed_is_changed_back_with_the_output_off(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    energise(driver, CHARGE)
    raw(bench, name, b"FUNC CURR;:OUTP 1;:FUNC?\n")
    reconnect(driver, SETTINGS)
    assert raw(bench, name, b"FUNC?\n") == b"VOLT\n"
    assert not is_on(bench, name)


def test_setup_leaves_an_output_that_is_on_as_it_finds_it(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    energise(driver, CHARGE)
    reconnect(driver, SETTINGS)
    assert driver.read()[1].output_on
    assert is_on(bench, name)


@pytest.mark.fault("F15", family="keysight_aps")
def test_an_off_that_the_instrument_ignores_is_noticed(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    energise(driver, CHARGE)
    bench.fault(name, "ignored_off")
    with pytest.raises(ReadbackMismatch, match="still on"):
        driver.off(1)
    assert is_on(bench, name)


@pytest.mark.fault("F14", family="keysight_aps")
def test_a_setpoint_that_the_instrument_ignores_is_noticed_before_on(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    before = bench.ledger(CELLS[name])["edges"]
    bench.fault(name, "ignored_set")
    with pytest.raises(ReadbackMismatch):
        driver.apply(1, Setpoint(4.1, 0.3, 0.0))
    with pytest.raises(ReadbackMismatch, match="VOLT:PROT"):
        driver.protect(1, replace(WIDE, voltage_V=(2.0, 4.4)))
    assert bench.ledger(CELLS[name])["edges"] == before


@pytest.mark.fault("F21", family="keysight_aps")
def test_amperes_that_are_taken_for_milliamperes_are_noticed_before_on(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    before = bench.ledger(CELLS[name])["edges"]
    bench.fault(name, "wrong_unit")
    with pytest.raises(ReadbackMismatch, match="VOLT:PROT"):
        driver.protect(1, replace(WIDE, voltage_V=(2.0, 4.4)))
    with pytest.raises(ReadbackMismatch, match="VOLT|CURR"):
        driver.apply(1, Setpoint(4.1, 2.0, 0.0))
    assert bench.ledger(CELLS[name])["edges"] == before


def test_a_reading_that_is_not_a_number_is_nan(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    bench.fault(name, "nan", quantity="voltage_V")
    assert isnan(driver.read()[1].voltage_V)


@pytest.mark.parametrize(
    ("kind", "options", "error"),
    [
        ("silence", {"count": 1}, NoReply),
        ("unplugged", {"lasts": 0.6}, NoReply),
        ("late", {"delay": 0.6, "count": 1}, NoReply),
        ("half", {"count": 1}, BadReply),
        ("garbage", {"count": 1}, BadReply),
        ("slow", {"lasts": 0.6, "bytes_per_s": 20}, BadReply),
        ("close", {}, LinkDown),
        ("reset", {}, LinkDown),
    ],
)
def test_a_bad_link_is_never_a_reading_and_heals_by_reopening(
    bench: RunningBench,
    driver: KeysightAps,
    name: str,
    kind: str,
    options: dict[str, float],
    error: type[Exception],
) -> None:
    reconnect(driver, IMPATIENT)
    bench.fault(name, kind, **options)
    with pytest.raises(error):
        for _ in range(100):
            driver.read()
    until(lambda: _heals(driver))
    assert 3.0 < driver.read()[1].voltage_V < 4.2


def _heals(driver: KeysightAps) -> bool:
    try:
        reconnect(driver, IMPATIENT)
    except (NoReply, BadReply, LinkDown):
        return False
    return True


def test_a_duplicated_reply_is_never_the_answer_to_another_question(
    bench: RunningBench, driver: KeysightAps, name: str
) -> None:
    bench.fault(name, "duplicate", count=40)
    for _ in range(20):
        with suppress(BadReply, LinkDown):  # refused, and the line is closed until reopened
            assert driver.identify().model == MODELS[name]
            assert 3.0 < driver.read()[1].voltage_V < 4.2
        driver.line.close()
        driver.line.open()


@pytest.mark.fault("F17", family="keysight_aps")
@pytest.mark.fault("F18", family="keysight_aps")
@pytest.mark.parametrize("foreign", [b"VOLT 4.0\n", b"CURR:LIM 0.4\n", b"OUTP:PROT:WDOG 0\n"])
def test_what_somebody_else_has_changed_is_found_by_reading_it_back(
    bench: RunningBench, driver: KeysightAps, name: str, foreign: bytes
) -> None:
    energise(driver, CHARGE)
    driver.verify(1)
    raw(bench, name, foreign.rstrip() + b";:OUTP?\n")  # its answer: it was obeyed
    with pytest.raises(ReadbackMismatch, match=foreign.split()[0].decode()):
        driver.verify(1)
    driver.off(1)
    driver.verify(1)  # nothing is expected of what is off


# What it counts itself.


def test_its_counters_count_what_flows_through_the_cell(
    bench: RunningBench, name: str, driver: KeysightAps
) -> None:
    before, book = driver.counted(1), bench.ledger(CELLS[name])
    for setpoint in (CHARGE, DISCHARGE, CHARGE):
        energise(driver, setpoint)
        time.sleep(0.5)
        driver.off(1)
    after, now = driver.counted(1), bench.ledger(CELLS[name])
    assert before is not None and after is not None
    net_Ah = after.net_Ah - before.net_Ah
    net_Wh = after.net_Wh - before.net_Wh
    flowed = {key: now[key] - book[key] for key in ("charged_Ah", "discharged_Ah")}
    assert flowed["discharged_Ah"] > 1e-4, "there was something to count both ways"
    assert net_Ah == pytest.approx(
        flowed["charged_Ah"] - flowed["discharged_Ah"], abs=before.digit_Ah + after.digit_Ah
    )
    true_Wh = (now["charged_Wh"] - book["charged_Wh"]) - (
        now["discharged_Wh"] - book["discharged_Wh"]
    )
    assert net_Wh == pytest.approx(true_Wh, abs=before.digit_Wh + after.digit_Wh)


def test_a_counter_that_somebody_resets_begins_anew(
    bench: RunningBench, name: str, driver: KeysightAps
) -> None:
    energise(driver, CHARGE)
    time.sleep(0.2)
    driver.off(1)
    driver.line.tell("SENS:AHO:RES")
    found = driver.counted(1)
    assert found is not None
    assert found.net_Ah == pytest.approx(0.0, abs=1e-9)
    assert found.net_Wh > 0.0, "each is reset for itself"
