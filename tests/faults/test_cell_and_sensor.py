"""F12, F13, F24-F34: cells and sensors that fail, on the simulated bench, with the whole daemon.

What counts is the ledger of the cell, which the daemon cannot touch.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import nan
from pathlib import Path
from typing import Any

import pytest

from daq.model import EventKind
from simulators.client import RunningBench, running_bench
from tests.faults.probe import Probe, probe_at
from tests.system.daemon import (
    CHARGE,
    FAMILIES,
    SHORT,
    Daemon,
    bench_file,
    lab_file,
    on,
    running_daemon,
    wait_until,
    write_lab,
)

NOMINAL_AH = 2.5
HEAD = """
protocol: faults
version: 1.0.0
record: {every: 10 s}
safety: {voltage: [2.4 V, 4.25 V], temperature: [5 degC, 60 degC]}
steps:
"""
EVDL = (
    HEAD
    + """
  - discharge: 1C
    until: voltage <= 2.5 V
    at_most: 2 h
  - charge: 1C
    until: voltage >= 4.2 V
    at_most: 2 h
"""
)


def families(*faults: str, names: Iterable[str] = FAMILIES) -> Any:
    """Run a test over these families of cyclers."""
    return pytest.mark.parametrize(
        "family",
        [
            pytest.param(name, marks=[pytest.mark.fault(fault, family=name) for fault in faults])
            for name in names
        ],
    )


KEYSIGHT, EA = ("keysight_aps",), ("ea_psb",)


def tripped(daemon: Daemon, check: str, station: str = "A1") -> dict[str, Any]:
    """Wait for a trip, and see that it is this one."""
    seen = daemon.wait_for(station, mode="tripped")
    assert seen["trip"]["check"] == check, seen["trip"]
    return seen


def safe(bench: RunningBench, daemon: Daemon, check: str) -> None:
    """SAFE: OFF as the cell knows, latched, and in the journal."""
    tripped(daemon, check)
    wait_until(lambda: not on(bench), "the cell is OFF")
    wait_until(lambda: daemon.events(EventKind.TRIP), "the trip is in the journal")
    assert daemon.events(EventKind.TRIP)[-1].data["check"] == check


@contextmanager
def with_probe(
    folder: Path, factor: float = 1.0, **station: Any
) -> Iterator[tuple[RunningBench, Daemon, Probe]]:
    """A bench whose cell has a sensor of its own."""
    with running_bench(bench_file(1, factor)) as bench, probe_at(bench) as probe:
        document = lab_file(bench, factor)
        document["instruments"]["probe"] = probe.lab_entry
        document["stations"]["A1"] |= {"temperature": "probe"} | station
        daemon = Daemon(write_lab(folder, document))
        daemon.start()
        try:
            yield bench, daemon, probe
        finally:
            daemon.stop()


@families("F24", names=KEYSIGHT)
def test_a_voltage_that_ramps_past_its_limit(family, tmp_path, figure):
    with running_daemon(tmp_path, soc=0.9, dialect=family) as (bench, daemon):
        bench.mark("cell-1", "over", "voltage_V", above=4.25)
        daemon.run(CHARGE.replace("voltage >= 4.2 V", "charge >= 90 %"))
        daemon.energised()
        soc = 0.9
        while daemon.station()["mode"] == "running" and soc < 1.2:
            soc += 0.02
            bench.ask("set", position="cell-1", soc=soc)
            time.sleep(0.1)
        safe(bench, daemon, "V1")
        past_Ah = bench.ledger("cell-1")["marks"]["over"]["charged_Ah"]
        figure(f"{family}: charge past the limit", 100 * past_Ah / NOMINAL_AH, "% of nominal")
        assert past_Ah <= 0.001 * NOMINAL_AH


@families("F25")
def test_a_contact_that_is_lost_while_charging(family, tmp_path):
    with running_daemon(tmp_path, dialect=family) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        time.sleep(2.0)
        bench.ask("set", position="cell-1", contact=False)
        safe(bench, daemon, "I2")
        bench.ask("set", position="cell-1", contact=True)  # and no current when it is back
        time.sleep(0.5)
        assert not on(bench)
        assert abs(bench.state("cell-1")["current_A"]) < 1e-6


@families("F26", names=EA)
def test_a_cell_that_is_shorted(family, tmp_path):
    with running_daemon(tmp_path, dialect=family) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        before_Ah = bench.ledger("cell-1")["charged_Ah"]
        bench.fault("aps1", "offset", quantity="voltage_V", by=-3.5)
        safe(bench, daemon, "V2")
        assert bench.ledger("cell-1")["charged_Ah"] - before_Ah < 0.01 * NOMINAL_AH


@pytest.mark.fault("F27")
@pytest.mark.parametrize("reads", [nan, 1372.0], ids=["nan", "end of scale"])
def test_a_thermocouple_that_opens(reads, tmp_path):
    with with_probe(tmp_path) as (bench, daemon, probe):
        daemon.run(CHARGE)
        daemon.energised()
        probe.show = lambda degC, volts: (reads, volts)
        safe(bench, daemon, "P1")
        assert "probe" in daemon.station()["trip"]["message"]


@pytest.mark.fault("F28")
def test_a_thermocouple_that_falls_off_reads_ambient(tmp_path):
    with with_probe(tmp_path, factor=60.0) as (bench, daemon, probe):
        daemon.run(CHARGE)
        daemon.energised()
        wait_until(lambda: bench.state("cell-1")["temperature_degC"] > 27.0, "the cell is warm")
        assert daemon.station()["mode"] == "running"
        probe.show = lambda degC, volts: (25.0, volts)
        safe(bench, daemon, "P4")


@pytest.mark.fault("F29")
def test_a_temperature_that_runs_away_is_seen_long_before_its_limit(tmp_path, figure):
    with with_probe(tmp_path, factor=10.0) as (bench, daemon, _):
        daemon.run(CHARGE)
        daemon.energised()
        time.sleep(4.0)  # forty seconds of a healthy cell
        assert daemon.station()["mode"] == "running"
        bench.ask("set", position="cell-1", heat_W=5.0)  # 7 K/min
        safe(bench, daemon, "T3")
        peak_degC = bench.ledger("cell-1")["peak_degC"]
        figure("temperature at OFF, limit 50", peak_degC, "degC")
        assert peak_degC < 45.0


@families("F30", names=KEYSIGHT)
def test_a_step_that_ends_after_three_seconds_is_held_for_an_operator(family, tmp_path):
    with running_daemon(tmp_path, dialect=family) as (bench, daemon):
        daemon.run(EVDL)
        daemon.energised()
        time.sleep(2.0)
        volts = daemon.station()["voltage_V"]
        bench.fault("aps1", "offset", quantity="voltage_V", by=2.46 - volts)  # a bad contact
        daemon.wait_for(mode="paused", step=2)
        wait_until(lambda: not on(bench), "OFF")
        bench.clear_faults()
        paused = wait_until(lambda: daemon.events(EventKind.PAUSED), "it is in the journal")[-1]
        assert paused.data["reason"].startswith("S2: 'voltage <= 2.5 V' was reached in ")
        charged_Ah = bench.ledger("cell-1")["charged_Ah"]
        time.sleep(1.0)
        assert bench.ledger("cell-1")["charged_Ah"] == charged_Ah < 1e-4
        assert daemon.station()["trip"] is None
        assert daemon.call("resume").state == "done"
        daemon.energised()
        assert daemon.station()["current_A"] > 2.0


@families("F31", names=EA)
def test_a_cell_that_takes_more_charge_than_it_can_hold(family, tmp_path, figure):
    protocol = CHARGE.replace("charge: 115 %", "charge: 4 %")
    with running_daemon(tmp_path, factor=20.0, dialect=family) as (bench, daemon):
        daemon.run(protocol)
        safe(bench, daemon, "Q1")
        charged_Ah = bench.ledger("cell-1")["charged_Ah"]
        beyond = 100 * charged_Ah / NOMINAL_AH - 4.0
        figure(f"{family}: charge past the limit, 20 x as fast", beyond, "% of nominal")
        assert -0.5 < beyond < 5.0  # a second of a busy machine is half a percent here


@families("F32", names=KEYSIGHT)
def test_swapped_sense_leads_are_refused_before_anything_is_energised(family, tmp_path):
    with running_daemon(tmp_path, dialect=family) as (bench, daemon):
        volts = wait_until(lambda: daemon.station().get("voltage_V"), "a voltage is there")
        bench.fault("aps1", "offset", quantity="voltage_V", by=-2.0 * volts)
        time.sleep(0.5)
        daemon.run(CHARGE)
        ended = wait_until(lambda: daemon.events(EventKind.RUN_ENDED), "the run is refused")[-1]
        assert ended.data["outcome"] == "failed"
        assert "not started: voltage -3." in ended.data["reason"]
        assert bench.ledger("cell-1")["edges"] == []


@pytest.mark.fault("F32")
def test_sense_leads_on_another_cell_are_seen_by_the_independent_channel(tmp_path):
    with with_probe(tmp_path, voltage_check="probe") as (bench, daemon, probe):
        daemon.run(CHARGE)
        daemon.energised()
        time.sleep(1.0)
        assert daemon.station()["mode"] == "running"
        probe.show = lambda degC, volts: (degC, volts - 0.2)
        safe(bench, daemon, "V3")


@pytest.mark.fault("F33")
def test_a_chambers_alarm_is_off_at_every_station_in_it(tmp_path):
    content = bench_file(2)
    content["instruments"]["mk56"]["options"] = {"controller": "mb1"}
    with running_bench(content) as bench:
        document = lab_file(bench)
        document["instruments"]["mk56"]["options"] = {"controller": "mb1"}
        daemon = Daemon(write_lab(tmp_path, document))
        daemon.start()
        try:
            daemon.run(CHARGE, "A1", "c1")
            daemon.run(CHARGE, "A2", "c2")
            daemon.energised("A1")
            daemon.energised("A2")
            bench.ask("set", chamber="room", over_temperature=True)
            tripped(daemon, "K1", "A1")
            tripped(daemon, "K1", "A2")
            for cell in ("cell-1", "cell-2"):
                wait_until(lambda cell=cell: not on(bench, cell), "OFF")
            assert "mk56" in daemon.call("clear", reason="hopeful").reason  # it still stands
            assert daemon.station()["mode"] == "tripped"
        finally:
            daemon.stop()


@pytest.mark.fault("F33")
def test_a_door_and_an_emergency_stop_trip_the_group_and_their_silence_as_well(tmp_path):
    content = bench_file(2)
    content["instruments"]["di1"] = {
        "dialect": "modbus_io",
        "listen": "modbus+tcp://127.0.0.1:0",
        "channels": {},
    }
    with running_bench(content) as bench:
        document = lab_file(bench)
        host, port = bench.endpoint("di1")
        document["instruments"]["di1"] = {
            "driver": "drivers.modbus_inputs:ModbusInputs",
            "resource": f"modbus+tcp://{host}:{port}",
            "period": "50 ms",
        }
        for station in document["stations"].values():
            station["group"] = "bench"
        document["stations"]["A1"]["interlocks"] = ["di1.1", "di1.2"]
        document["stations"]["A2"]["interlocks"] = []
        daemon = Daemon(write_lab(tmp_path, document))
        daemon.start()
        try:
            daemon.run(CHARGE, "A1", "c1")
            daemon.run(CHARGE, "A2", "c2")
            daemon.energised("A1")
            daemon.energised("A2")
            bench.ask("touch", instrument="di1", input_2=False)
            assert "di1.2" in tripped(daemon, "K1", "A1")["trip"]["message"]
            assert "together with A1" in tripped(daemon, "K1", "A2")["trip"]["message"]
            for cell in ("cell-1", "cell-2"):
                wait_until(lambda cell=cell: not on(bench, cell), "OFF")
            assert daemon.call("clear", reason="hopeful").state == "refused"
            bench.ask("touch", instrument="di1", input_2=True)
            wait_until(
                lambda: daemon.call("clear", reason="the button was pulled out").state == "done",
                "it is closed again",
            )
            assert daemon.station("A2")["mode"] == "tripped"  # each is cleared by itself
        finally:
            daemon.stop()


@pytest.mark.parametrize(
    ("family", "what"),
    [
        pytest.param(name, what, marks=pytest.mark.fault(fault, family=name))
        for name in FAMILIES
        for fault, what in (("F12", "voltage_V"), ("F13", "*"))
    ],
)
def test_a_reading_that_is_stuck_while_samples_keep_arriving(family, what, tmp_path):
    # A reading can only be seen to be stuck where it moves by more than it is rounded. With the
    # noise that the simulator has otherwise a PSB would stand still in good health.
    options = {"noise": 80} if family == "ea_psb" else {}
    lab = {"factor": 10.0, "soc": 0.3, "dialect": family, "options": options}
    with running_daemon(tmp_path, **lab) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        time.sleep(6.0)  # a hundred samples tell that it is lively
        bench.fault("aps1", "stuck", quantity=what)
        safe(bench, daemon, "P2")


@pytest.mark.fault("F34")
def test_hours_of_data_sheet_noise_and_a_burst_of_it_trip_nothing(tmp_path, figure):
    with with_probe(tmp_path, factor=300.0) as (bench, daemon, probe):
        run = daemon.run(SHORT)
        burst = iter(range(10_000))
        probe.show = lambda degC, volts: (degC + 0.2 * (-1) ** next(burst), volts)
        daemon.wait_for(mode="idle", run=None)
        ended = wait_until(lambda: daemon.events(EventKind.RUN_ENDED), "it has ended")[-1]
        assert ended.data["outcome"] == "completed", ended.data
        assert daemon.events(EventKind.TRIP) == []
        assert [event for event in daemon.events(EventKind.PAUSED) if event.run == run] == []
        figure("lab time at data sheet noise without a trip", ended.test_time_s / 3600.0, "h")


@families("F16")
def test_an_instrument_that_reboots_in_the_middle_of_a_step(family, tmp_path):
    with running_daemon(tmp_path, dialect=family) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        since = time.monotonic()
        if family == "ea_psb":
            bench.ask("touch", instrument="aps1", power_cycle=True)
        else:
            with socket.create_connection(bench.endpoint("aps1")) as panel:
                panel.sendall(b"*RST\n")
                time.sleep(0.2)
        wait_until(lambda: not on(bench), "its output has fallen OFF")

        def goes_on() -> bool:
            if daemon.station().get("mode") == "tripped":  # C2: it is OFF and should be ON
                daemon.call("clear", reason="it has rebooted")
            if daemon.station().get("mode") == "paused":
                daemon.call("resume")
            return on(bench)

        wait_until(goes_on, daemon.log)
        heard = [text for _, way, text in bench.tape("aps1", since) if way == "heard"]
        switched = next(
            number
            for number, text in enumerate(heard)
            if re.search(r"OUTP(UT)?(:STAT\w*)? (1|ON)", text, re.IGNORECASE)
        )
        assert any("PROT" in text and "?" not in text.split(";")[0] for text in heard[:switched])
        assert any("PROT" in text and "?" in text for text in heard[:switched])  # read back
