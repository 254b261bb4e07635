"""The scanner's driver against the simulated one in a process of its own, on real sockets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from math import isnan
from typing import Any

import pytest
import pyvisa
from pydantic import ValidationError

from daq.bus.resource import make_line, parse_resource
from daq.driver import find_driver
from daq.errors import BadReply, InstrumentRefused
from drivers.keysight_daq970a import KeysightDaq970a, KeysightDaq970aOptions
from simulators.client import RunningBench, running_bench

PATIENCE_S = 20.0
WIRED: dict[str, Any] = {
    "thermocouples": {"K": [101, 102], "T": [201]},
    "voltages": [103],
    "interval": "50 ms",
}
BENCH = {
    "cells": {"cell-1": {"model": "nmc", "capacity": 2.5, "soc": 0.5, "temperature": 25.0}},
    "instruments": {
        "logger": {
            "dialect": "keysight_daq970a",
            "listen": "tcp://127.0.0.1:0",
            "channels": {101: "cell-1", 103: "cell-1", 201: "cell-1"},  # 102 is an open one
            "options": {"serial": "MY1"},
        }
    },
}


@pytest.fixture(scope="module")
def bench() -> Iterator[RunningBench]:
    with running_bench(BENCH) as running:
        yield running


def resource(bench: RunningBench) -> str:
    host, port = bench.endpoint("logger")
    return f"TCPIP::{host}::{port}::SOCKET"


@pytest.fixture
def driver(bench: RunningBench) -> Iterator[KeysightDaq970a]:
    options = KeysightDaq970aOptions.model_validate(WIRED)
    line = make_line(parse_resource(resource(bench)), KeysightDaq970a.settings)
    line.open()
    made = KeysightDaq970a(line, options)
    made.identify()
    made.setup()
    yield made
    line.close()


def readings(driver: KeysightDaq970a) -> dict[int, Any]:
    """Read until something was scanned."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := driver.read()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return dict(found)


def test_the_entry_point_leads_to_the_driver() -> None:
    assert find_driver("keysight_daq970a") is KeysightDaq970a


def test_it_says_who_it_is(driver: KeysightDaq970a) -> None:
    identity = driver.identify()
    assert (identity.model, identity.serial) == ("DAQ970A", "MY1")


def test_what_is_wired_is_read_with_its_own_quantity(
    driver: KeysightDaq970a, bench: RunningBench
) -> None:
    found, truth = readings(driver), bench.state("cell-1")
    assert set(found) == {101, 102, 103, 201}
    assert found[101].temperature_degC == pytest.approx(truth["temperature_degC"], abs=0.4)
    assert found[201].temperature_degC == pytest.approx(truth["temperature_degC"], abs=0.4)
    assert found[103].voltage_V == pytest.approx(truth["voltage_V"], abs=0.005)
    assert isnan(found[101].voltage_V)
    assert isnan(found[103].temperature_degC)


def test_an_open_thermocouple_is_no_measurement(driver: KeysightDaq970a) -> None:
    assert isnan(readings(driver)[102].temperature_degC)


def test_what_was_read_is_not_given_out_again(driver: KeysightDaq970a) -> None:
    readings(driver)
    driver.line.tell("ABOR")
    driver.read()  # what came in between
    assert driver.read() == {}


def test_a_channel_that_does_not_exist_is_refused_in_the_instruments_words(
    bench: RunningBench,
) -> None:
    line = make_line(parse_resource(resource(bench)), KeysightDaq970a.settings)
    line.open()
    wrong = KeysightDaq970a(line, KeysightDaq970aOptions(voltages=(121,)))
    wrong.identify()
    with pytest.raises(InstrumentRefused, match=r"CONF:VOLT:DC .*-222"):
        wrong.setup()
    line.close()


def test_another_instrument_is_not_taken_for_one() -> None:
    cell = {"cell-1": {"model": "nmc", "capacity": 2.5}}
    aps = {"dialect": "keysight_aps", "listen": "tcp://127.0.0.1:0", "channels": {1: "cell-1"}}
    with running_bench({"cells": cell, "instruments": {"logger": aps}}) as bench:
        line = make_line(parse_resource(resource(bench)), KeysightDaq970a.settings)
        line.open()
        with pytest.raises(BadReply, match="not a DAQ970A"):
            KeysightDaq970a(line, KeysightDaq970aOptions(voltages=(101,))).identify()
        line.close()


def test_a_plain_visa_client_gets_a_block_of_definite_length(
    driver: KeysightDaq970a, bench: RunningBench
) -> None:
    readings(driver)
    with pyvisa.ResourceManager("@py").open_resource(resource(bench)) as plain:
        plain.read_termination = plain.write_termination = "\n"
        plain.timeout = 1000 * PATIENCE_S
        assert plain.query("ROUT:SCAN:SIZE?") == "+4"
        deadline = time.monotonic() + PATIENCE_S
        while (block := plain.query("R? 1")) == "#10":
            assert time.monotonic() < deadline
        length = int(block[2 : 2 + int(block[1])])
        assert len(block) == 2 + int(block[1]) + length


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "no channel is wired"),
        ({"voltages": [101], "rtds": [101]}, "101 is wired twice"),
        ({"thermocouples": {"X": [101]}}, "thermocouples"),
        ({"voltages": [3]}, "greater than or equal to 101"),
        ({"voltages": [101], "interval": 1}, "no unit"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        KeysightDaq970aOptions.model_validate(options)
