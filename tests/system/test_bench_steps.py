"""Steps that need more of the bench than its cycler, in a whole daemon: outputs, sensors, chambers,
spectra during charge, and somebody who does something."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import pytest

from daq.model import EventKind
from simulators.client import RunningBench, running_bench
from tests.system.daemon import Daemon, bench_file, lab_file, on, wait_until, write_lab
from tests.system.test_fast_steps import over, records

HEAD = """
protocol: bench
version: 1.0.0
record: {every: 1 s}
safety: {voltage: [2.6 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}
steps:
"""
STIRRED = (
    HEAD
    + """
  - set: {stirrer: on}
  - discharge: C/2
    until: voltage <= 2.7 V
    at_most: 3 h
"""
)


def full_bench(factor: float = 1.0, soc: float = 0.5, stations: int = 1) -> dict[str, Any]:
    """The usual bench, and: a module with outputs, a scanner, a potentiostat, a humid chamber."""
    document = bench_file(stations, factor, soc)
    cells = list(document["cells"])
    document["instruments"] |= {
        "io": {
            "dialect": "modbus_io",
            "listen": "modbus+tcp://127.0.0.1:0",
            "options": {"relays": 4, "closed": False},
        },
        "logger": {
            "dialect": "keysight_daq970a",
            "listen": "tcp://127.0.0.1:0",
            "channels": {101: cells[0], 103: cells[0]},
        },
        "pico": {
            "dialect": "palmsens",
            "listen": "tcp://127.0.0.1:0",
            "channels": {1: cells[0]},
        },
    }
    document["instruments"]["mk56"]["options"]["humidity"] = True
    return document


def full_lab(bench: RunningBench, factor: float = 1.0, **changes: Any) -> dict[str, Any]:
    lab = lab_file(bench, factor, **changes)

    def at(name: str) -> str:
        host, port = bench.endpoint(name)
        return f"TCPIP::{host}::{port}::SOCKET"

    host, port = bench.endpoint("io")
    lab["instruments"] |= {
        "io": {
            "driver": "modbus_outputs",
            "resource": f"modbus+tcp://{host}:{port}",
            "period": "100 ms",
            "options": {"outputs": 4},
        },
        "logger": {
            "driver": "keysight_daq970a",
            "resource": at("logger"),
            "period": "100 ms",
            "options": {
                "thermocouples": {"K": [101, 102]},
                "voltages": [103],
                "interval": "100 ms",
            },
        },
        "pico": {"driver": "palmsens", "resource": at("pico"), "period": "50 ms"},
    }
    lab["instruments"]["mk56"]["options"] = {"humidity": True}
    lab["stations"]["A1"] |= {
        "eis": "pico",
        "sensors": {"top": "logger.101", "open": "logger.102", "leads": "logger.103"},
        "outputs": {"stirrer": "io.1", "fan": {"channel": "io.2", "safe": "on"}},
    }
    return lab


@contextmanager
def running(
    folder: Path, factor: float = 1.0, soc: float = 0.5, stations: int = 1
) -> Iterator[tuple[RunningBench, Daemon]]:
    with running_bench(full_bench(factor, soc, stations)) as bench:
        daemon = Daemon(write_lab(folder, full_lab(bench, factor)))
        daemon.start()
        try:
            yield bench, daemon
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.stop()


def run_once_online(daemon: Daemon, text: str) -> str:
    """Start as soon as the potentiostat, which nobody else waits for, has been found."""

    def started() -> str:
        reply = daemon.call("start", "A1", text=text, name="t.yaml", cell="c1")
        assert reply.state == "done" or "pico is offline" in reply.reason, reply.reason
        return str(reply.data.get("run", ""))

    return wait_until(started, daemon.log)


class Coils:
    """The module's outputs, as a second client of it sees them."""

    def __init__(self, bench: RunningBench) -> None:
        self._address = bench.endpoint("io")

    def __call__(self) -> list[bool]:
        from pymodbus.client import ModbusTcpClient

        client = ModbusTcpClient(self._address[0], port=self._address[1])
        assert client.connect()
        try:
            return list(client.read_coils(0, count=4).bits[:4])
        finally:
            client.close()

    def wait_for(self, *states: bool) -> None:
        wait_until(lambda: self()[: len(states)] == list(states), lambda: f"{states}: {self()}")


# Digital outputs.


def test_an_output_is_on_while_the_program_wants_it_and_safe_before_and_after(tmp_path):
    with running(tmp_path) as (bench, daemon):
        coils = Coils(bench)
        coils.wait_for(False, True)  # the fan is safe when it is on
        daemon.run(STIRRED)
        daemon.energised(at_least_A=1.0)
        coils.wait_for(True, True)
        daemon.call("stop", reason="enough")
        coils.wait_for(False, True)
        assert not on(bench)


def test_an_output_that_does_not_obey_holds_the_run_off_with_a_reason_and_an_alarm(tmp_path):
    with running(tmp_path) as (bench, daemon):
        coils = Coils(bench)
        coils.wait_for(False, True)
        bench.fault("io", "unplugged")
        wait_until(lambda: daemon.events(EventKind.FAULT_BEGAN), "the fault is noticed")
        daemon.run(STIRRED)
        seen = daemon.wait_for(mode="waiting")
        assert "output stirrer" in seen["why"]
        assert not on(bench)
        causes = wait_until(
            lambda: {e.data["cause"] for e in daemon.events(EventKind.ALARM)}, daemon.log
        )
        assert "instrument-silent" in causes
        bench.clear_faults()
        daemon.energised(at_least_A=1.0)  # it goes on by itself
        coils.wait_for(True, True)


def test_an_output_that_acknowledges_and_stays_is_an_alarm(tmp_path):
    with running(tmp_path) as (bench, daemon):
        coils = Coils(bench)
        daemon.run(STIRRED)
        daemon.energised(at_least_A=1.0)
        bench.fault("io", "ignored_off")
        daemon.call("stop", reason="enough")

        def failed() -> list[str]:
            alarms = [event.data for event in daemon.events(EventKind.ALARM)]
            return [one["message"] for one in alarms if one["cause"] == "output-failed"]

        messages = wait_until(failed, daemon.log)
        assert "io.1" in messages[0]
        bench.clear_faults()
        coils.wait_for(False, True)


def test_a_trip_makes_outputs_safe_and_the_resumed_run_has_them_again(tmp_path):
    with running(tmp_path) as (bench, daemon):
        coils = Coils(bench)
        daemon.run(STIRRED)
        daemon.energised(at_least_A=1.0)
        coils.wait_for(True, True)
        bench.ask("set", chamber="room", over_temperature=True)
        bench.fault("aps1", "offset", quantity="voltage_V", by=0.8)  # V1 by what it reads
        daemon.wait_for(mode="tripped")
        coils.wait_for(False, True)
        bench.clear_faults()
        bench.ask("set", chamber="room", over_temperature=False)

        def cleared() -> bool:
            return daemon.call("clear", reason="test").state == "done"

        wait_until(cleared, daemon.log)
        coils.wait_for(False, True)
        wait_until(lambda: daemon.call("resume").state == "done", daemon.log)
        daemon.energised(at_least_A=1.0)
        coils.wait_for(True, True)


def test_outputs_of_a_run_come_back_after_a_restart_and_are_safe_in_between(tmp_path):
    with running(tmp_path) as (bench, daemon):
        coils = Coils(bench)
        daemon.run(STIRRED)
        daemon.energised(at_least_A=1.0)
        coils.wait_for(True, True)
        daemon.stop()
        assert coils()[:2] == [False, True]
        daemon.start()
        daemon.energised(at_least_A=1.0)  # by policy: the cell is as it was left
        coils.wait_for(True, True)


def test_the_sentinel_makes_outputs_safe_where_the_daemon_is_killed_and_touches_no_others(tmp_path):
    with running(tmp_path) as (bench, daemon):
        coils = Coils(bench)
        bench.ask("touch", instrument="io", relay_4=True)  # somebody else's
        daemon.run(STIRRED)
        daemon.energised(at_least_A=1.0)
        coils.wait_for(True, True)
        daemon.signal(signal.SIGKILL)
        wait_until(lambda: not on(bench), "the cycler is OFF")
        coils.wait_for(False, True, False, True)


def test_a_program_that_switches_what_the_station_has_not_is_refused(tmp_path):
    with running(tmp_path) as (_, daemon):
        text = HEAD + "  - set: {lamp: on}\n"
        reply = daemon.call("start", "A1", text=text, name="t.yaml", cell="c1")
        assert reply.state == "refused"
        assert "'lamp'" in reply.reason and "fan, stirrer" in reply.reason


# Sensors.


def test_a_condition_on_a_sensor_ends_a_step_and_its_readings_are_in_the_file(tmp_path):
    text = HEAD + (
        "  - rest: 10 min\n"
        "    until: sensor.top >= 27 degC\n"
        "  - rest: 3 s\n"
        "    until: sensor.open >= -200 degC\n"  # an open thermocouple measures nothing
    )
    with running(tmp_path) as (bench, daemon):
        run = daemon.run(text)
        daemon.wait_for(step=1)
        bench.ask("set", position="cell-1", temperature_degC=30.0)
        assert over(daemon) == "completed"
        ended = daemon.events(EventKind.STEP_ENDED)
        assert [event.data["reason"] for event in ended] == [
            "sensor.top >= 27 degC",
            "time >= 3 s",
        ]
        shown = daemon.station()["sensors"]
        assert set(shown) == {"top_degC", "leads_V", "humidity_pct"}
        path = daemon.data / "runs" / f"{run}.h5"
        path = wait_until(lambda: next(daemon.data.rglob(f"{run}.h5"), None), "the file is closed")
        with h5py.File(path) as file:
            rows = file["sensors"][:]
        assert {"top_degC", "leads_V", "humidity_pct"} <= set(rows.dtype.names)
        assert rows["top_degC"].max() > 27.0
        assert rows["leads_V"] == pytest.approx(bench.state("cell-1")["voltage_V"], abs=0.02)


@pytest.mark.parametrize(
    ("condition", "said"),
    [("sensor.side >= 45 degC", "has no sensor 'side'"), ("sensor.top >= 3 V", "measures degC")],
)
def test_a_sensor_that_is_not_there_or_measures_something_else_is_refused(
    condition, said, tmp_path
):
    with running(tmp_path) as (_, daemon):
        daemon.wait_for(sensors=daemon.station()["sensors"])
        wait_until(lambda: "top_degC" in daemon.station()["sensors"], daemon.log)
        text = HEAD + f"  - rest: 1 min\n    until: {condition}\n"
        reply = daemon.call("start", "A1", text=text, name="t.yaml", cell="c1")
        assert reply.state == "refused"
        assert said in reply.reason


# Chambers.


def test_a_chamber_ramps_and_regulates_its_humidity(tmp_path):
    text = HEAD.replace("1 s", "1 min") + (
        "  - chamber: 35 degC\n"
        "    rate: 1 K/min\n"
        "    humidity: 60 %\n"
        "    soak: {within: 1 K, for: 5 min, at_most: 4 h}\n"
    )
    with running(tmp_path, factor=300.0) as (_, daemon):
        daemon.run(text)
        assert over(daemon) == "completed"
        seen = daemon.station()
        assert seen["chamber_degC"] == pytest.approx(35.0, abs=1.5)
        assert seen["sensors"]["humidity_pct"] == pytest.approx(60.0, abs=3.0)


def test_two_stations_ramp_one_chamber_to_one_target_and_neither_waits(tmp_path):
    text = HEAD.replace("1 s", "1 min") + (
        "  - chamber: 35 degC\n"
        "    rate: 0.5 K/min\n"
        "    soak: {within: 1 K, for: 5 min, at_most: 6 h}\n"
    )
    with running(tmp_path, factor=300.0, stations=2) as (_, daemon):
        first = daemon.run(text, "A1", "c1")
        second = daemon.run(text, "A2", "c2")
        assert over(daemon, "A1") == over(daemon, "A2") == "completed"
        waits = [e for e in daemon.events(EventKind.NOTE) if "waits" in e.data["text"]]
        assert not waits, (first, second, waits)


def test_a_humidity_of_a_chamber_without_one_is_refused_at_the_start(tmp_path):
    text = HEAD + "  - chamber: 30 degC\n    humidity: 60 %\n"
    with running_bench(bench_file()) as bench:
        daemon = Daemon(write_lab(tmp_path, lab_file(bench)))
        daemon.start()
        reply = daemon.call("start", "A1", text=text, name="t.yaml", cell="c1")
        daemon.stop()
    assert reply.state == "refused"
    assert "mk56 regulates none" in reply.reason


# Spectra during charge.

CHARGED = HEAD.replace("1 s", "10 s") + (
    "  - eis: {from: 1 kHz, to: 10 mHz, per_decade: 5, amplitude: 20 mA, charge: 0.5 A}\n"
)


def test_the_charge_of_a_spectrum_during_charge_is_counted_as_it_flowed(tmp_path):
    with running(tmp_path, factor=100.0) as (bench, daemon):
        before = bench.ledger("cell-1")
        run = run_once_online(daemon, CHARGED)
        assert over(daemon) == "completed"
        moved_Ah = bench.ledger("cell-1")["charged_Ah"] - before["charged_Ah"]
        ended = daemon.events(EventKind.RUN_ENDED)[-1].data
        assert moved_Ah > 0.05
        assert ended["charge_Ah"] == pytest.approx(moved_Ah, rel=0.05)
        assert len(daemon.events(EventKind.SPECTRUM_POINT)) == 26
        assert max(record.current_A for record in records(daemon, run)) == pytest.approx(
            0.5, abs=0.01
        )
        noted = [event.data["text"] for event in daemon.events(EventKind.NOTE)]
        assert any("counted as commanded" in text for text in noted)


def test_while_a_potentiostat_charges_the_guard_cuts_off_by_what_the_cycler_reads(tmp_path):
    with running(tmp_path, factor=100.0, soc=0.97) as (bench, daemon):
        text = CHARGED.replace(
            "safety: {voltage: [2.6 V, 4.25 V]", "safety: {voltage: [2.6 V, 4.15 V]"
        )
        bench.mark("cell-1", "high", "voltage_V", above=4.15)
        run_once_online(daemon, text.replace("charge: 115 %", "charge: 300 %"))
        seen = daemon.wait_for(mode="tripped")
        assert seen["trip"]["check"] == "V1"
        wait_until(lambda: not on(bench), "the potentiostat has let go")
        assert bench.ledger("cell-1")["marks"]["high"]["charged_Ah"] < 0.02


def test_a_potentiostat_that_cannot_is_refused_at_the_start(tmp_path):
    with running(tmp_path) as (_, daemon):
        text = CHARGED.replace("charge: 0.5 A", "charge: 1.5 A")  # a Nexus: 1 A

        def answered() -> Any:
            reply = daemon.call("start", "A1", text=text, name="t.yaml", cell="c1")
            return None if "is offline" in reply.reason else reply

        reply = wait_until(answered, daemon.log)
        assert reply.state == "refused"
        assert "step 1, line 7" in reply.reason and "up to 1 A" in reply.reason


# Somebody who does something.


def test_an_operator_step_waits_off_says_for_what_and_survives_a_restart(tmp_path):
    text = HEAD + (
        "  - discharge: 1C\n    until: time >= 2 s\n    at_most: 1 min\n"
        "  - operator: turn the lamp on\n    at_most: 1 h\n"
        "  - discharge: 1C\n    until: time >= 2 s\n    at_most: 1 min\n"
    )
    with running(tmp_path) as (bench, daemon):
        daemon.run(text)
        seen = daemon.wait_for(mode="waiting", step=2)
        assert "turn the lamp on" in seen["why"]
        assert not on(bench)
        daemon.signal(signal.SIGKILL)
        assert daemon.process is not None
        daemon.process.wait(20.0)
        daemon.start()

        def asks() -> bool:  # for a moment after the restart it waits for its next sample
            return "turn the lamp on" in daemon.station().get("why", "")

        wait_until(asks, daemon.log)
        assert daemon.station()["mode"] == "waiting"
        assert not on(bench)
        assert daemon.call("resume").state == "done"
        assert over(daemon) == "completed"
        texts = [event.data["text"] for event in daemon.events(EventKind.NOTE)]
        assert any("confirmed by" in text for text in texts)
