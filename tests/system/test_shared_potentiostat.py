"""Two stations with one potentiostat: one sweep after the other, each on its own cell."""

from __future__ import annotations

import pytest

from daq.model import EventKind
from simulators.client import running_bench
from tests.system.daemon import Daemon, bench_file, lab_file, wait_until, write_lab

FACTOR = 200.0
EIS = """
protocol: eis
version: 1.0.0
safety: {voltage: [2.4 V, 4.25 V], temperature: [0 degC, 50 degC]}
steps:
  - eis: {from: 10 kHz, to: 100 mHz, per_decade: 5, amplitude: 5 mV}
  - rest: 1 min
"""
POINTS = 26


@pytest.fixture
def bench_and_daemon(tmp_path):
    document = bench_file(2, FACTOR)
    document["instruments"]["pico"] = {
        "dialect": "palmsens",
        "listen": "tcp://127.0.0.1:0",
        "channels": {1: "cell-1", 2: "cell-2"},
        "options": {"multiplexer": "mux8r2"},
    }
    with running_bench(document) as bench:
        lab = lab_file(bench, FACTOR)
        host, port = bench.endpoint("pico")
        lab["instruments"]["pico"] = {
            "driver": "palmsens",
            "resource": f"TCPIP::{host}::{port}::SOCKET",
            "period": "50 ms",
            "options": {"multiplexer": "mux8r2", "channels": 2},
        }
        for number in (1, 2):
            lab["stations"][f"A{number}"]["eis"] = f"pico.{number}"
        daemon = Daemon(write_lab(tmp_path, lab))
        daemon.start()
        yield bench, daemon
        daemon.stop()


def events(daemon, kind, station=""):
    return [event for event in daemon.events(kind) if station in ("", event.station)]


def test_the_second_station_waits_until_the_first_has_its_spectrum(bench_and_daemon):
    _, daemon = bench_and_daemon
    daemon.run(EIS, "A1", "c1")
    wait_until(lambda: events(daemon, EventKind.SPECTRUM_POINT, "A1"), "the first sweep runs")
    daemon.run(EIS, "A2", "c2")
    ended = wait_until(
        lambda: len(found := events(daemon, EventKind.RUN_ENDED)) == 2 and found,
        lambda: f"both end\n{daemon.log()}",
    )
    assert [event.station for event in ended] == ["A1", "A2"]
    assert {event.data["outcome"] for event in ended} == {"completed"}
    swept = [event.station for event in events(daemon, EventKind.SPECTRUM_POINT)]
    assert swept == ["A1"] * POINTS + ["A2"] * POINTS
    (waited,) = events(daemon, EventKind.NOTE, "A2")
    assert "pico is in use by A1" in waited.data["text"]


def test_a_stop_of_the_first_gives_the_potentiostat_to_the_second(bench_and_daemon):
    _, daemon = bench_and_daemon
    daemon.run(EIS.replace("100 mHz", "1 mHz"), "A1", "c1")
    wait_until(lambda: events(daemon, EventKind.SPECTRUM_POINT, "A1"), "the first sweep runs")
    daemon.run(EIS, "A2", "c2")
    daemon.wait_for("A2", mode="waiting")
    assert daemon.call("stop", "A1").state == "done"
    wait_until(
        lambda: len(events(daemon, EventKind.SPECTRUM_POINT, "A2")) == POINTS,
        lambda: f"the second has its spectrum\n{daemon.log()}",
    )
