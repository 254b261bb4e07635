"""A reply that belongs to another question is never the value of this one.

The client changes what the instrument measures before every question; a value that comes back must
be that one. An exception is always allowed: the loop closes the line, opens it, identifies anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from daq.bus.resource import make_line, parse_resource
from daq.driver import AnyDriver
from daq.errors import InstrumentError
from daq.model import Reading
from drivers import binder, keysight_aps, palmsens
from tests.torture.desync_peers import (
    FAULTS,
    LATE_S,
    AnyPeer,
    Binder,
    BinderTcp,
    Keysight,
    PalmSens,
)

EXCHANGES = 100  # in a trial
SHORT = 50
FEWEST_VALUES = 0.1  # of the exchanges: a test that only sees exceptions shows nothing


def line_to(resource: str, settings):
    return make_line(parse_resource(resource), replace(settings, timeout_s=LATE_S / 2, gap_s=0.0))


def keysight(peer: Keysight) -> AnyDriver:
    return keysight_aps.KeysightAps(line_to(peer.visa, keysight_aps.KeysightAps.settings))


def potentiostat(peer: PalmSens) -> AnyDriver:
    line = line_to(f"ASRL{peer.device}::INSTR", palmsens.PalmSens.settings)
    return palmsens.PalmSens(line, palmsens.Options(read_voltage=True))


def chamber(peer: Binder) -> AnyDriver:
    kind = {"rtu": "modbus+rtu+tcp", "tcp": "modbus+tcp"}[peer.framing]
    line = line_to(f"{kind}://127.0.0.1:{peer.port}", binder.Binder.settings)
    return binder.Binder(line, binder.BinderOptions(humidity=True))


def wrong_volts(peer: Keysight, reading: Reading) -> bool:
    amps = -1e-6 * (peer.truth % 997)
    return (
        abs(reading.voltage_V - peer.volts(peer.truth)) > 1e-5
        or abs(reading.current_A - amps) > 1e-9
        or reading.output_on is not False
    )


def wrong_cell(peer: PalmSens, reading: Reading) -> bool:
    return abs(reading.voltage_V - 1e-6 * peer.microvolts(peer.truth)) > 1e-7


def wrong_climate(peer: Binder, reading: Reading) -> bool:
    return (
        abs(reading.temperature_degC - peer.degC(peer.truth)) > 1e-3
        or abs(reading.humidity_pct - peer.percent(peer.truth)) > 1e-3
        or reading.output_on is not False
    )


Case = tuple[str, type[AnyPeer], Callable[..., AnyDriver], Callable[..., bool]]
CASES: Mapping[str, Case] = {
    "keysight_aps": ("keysight_aps", Keysight, keysight, wrong_volts),
    "palmsens": ("palmsens", PalmSens, potentiostat, wrong_cell),
    "binder-rtu": ("binder", Binder, chamber, wrong_climate),
    "binder-tcp": ("binder", BinderTcp, chamber, wrong_climate),
}


def cases() -> list[object]:
    """Each with the marks of what it shows about its family."""
    shown = ("F05", "F06", "F08", "F09")
    return [
        pytest.param(name, marks=pytest.mark.fault(*shown, family=case[0]))
        if not name.startswith("binder")
        else pytest.param(name, marks=pytest.mark.fault(*shown, "F10", family="binder"))
        for name, case in CASES.items()
    ]


@pytest.mark.parametrize("name", cases())
def test_no_answer_is_ever_that_to_another_question(name, trials, figure, monkeypatch):
    monkeypatch.setattr(palmsens, "_DEAF_S", 0.0)  # this one is never deaf
    _, make_peer, make_driver, is_wrong = CASES[name]
    wanted = EXCHANGES * trials(SHORT)
    began = time.monotonic()
    with make_peer() as peer:
        peer.prepare(seed=1)
        values, wrong = converse(peer, make_driver(peer), is_wrong, wanted)
    took_s = time.monotonic() - began
    spoilt = sum(count for fault, count in peer.happened.items() if fault)
    figure(f"{name}: exchanges", peer.exchanges, "exchanges")
    figure(f"{name}: spoilt", spoilt, "answers")
    figure(f"{name}: values", values, "readings")
    figure(f"{name}: wrong values", len(wrong), "readings")
    figure(f"{name}: rate", peer.exchanges / took_s, "1/s")
    assert not wrong, wrong[:5]
    assert values > FEWEST_VALUES * wanted
    assert all(peer.happened[fault] for fault in FAULTS)


def converse(peer, driver, is_wrong, wanted: int) -> tuple[int, list[object]]:
    """Ask until so many exchanges have been had. How many values came, and which were wrong."""
    values, wrong, online = 0, [], False
    while peer.exchanges < wanted:
        peer.truth += 1
        try:
            if not online:
                driver.line.open()
                driver.identify()
                driver.setup()
                online = True
            reading = driver.read()[1]
        except InstrumentError:
            driver.line.close()
            online = False
            continue
        values += 1
        if is_wrong(peer, reading):
            wrong.append((peer.truth, reading))
    driver.line.close()
    return values, wrong
