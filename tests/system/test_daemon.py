"""The whole daemon against a simulated bench: what a technician, or a fire officer, would try."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import h5py
import psutil
import pytest

from daq.clock import monotonic
from daq.model import EventKind
from tests.system.daemon import (
    CHARGE,
    SHORT,
    Daemon,
    last_edge_s,
    on,
    running_daemon,
    wait_until,
)

SENTINEL_S = 3.0


@pytest.fixture
def bench_and_daemon(tmp_path):
    with running_daemon(tmp_path) as both:
        yield both


def test_a_program_runs_to_its_end_and_leaves_a_closed_file(tmp_path):
    with running_daemon(tmp_path, factor=500.0) as (bench, daemon):
        run = daemon.run(SHORT)
        daemon.wait_for(mode="idle", run=None)
        path = daemon.data / "runs" / f"{run}.h5"
        wait_until(path.exists, "the recorder closed the file")
        ended = daemon.events(EventKind.RUN_ENDED)[-1]
        assert ended.data["outcome"] == "completed"
        assert ended.data["discharge_Ah"] == pytest.approx(0.5, rel=0.05)
        truth = bench.ledger("cell-1")
        assert ended.data["discharge_Ah"] == pytest.approx(truth["discharged_Ah"], rel=0.02)
        with h5py.File(path) as file:
            table = file["raw_data"]
            assert set(table["cycle_number"]) == {0, 1, 2}
            assert (table["test_time"][1:] >= table["test_time"][:-1]).all()
        assert not on(bench)


def test_a_setpoint_that_the_instrument_ignores_trips_and_the_latch_survives_a_restart(
    bench_and_daemon,
):
    bench, daemon = bench_and_daemon
    bench.fault("aps1", "ignored_set")
    daemon.run(CHARGE)
    seen = daemon.wait_for(mode="tripped")
    assert seen["trip"]["check"] == "C2"
    assert bench.ledger("cell-1")["edges"] == []
    bench.clear_faults()
    daemon.stop()
    daemon.start()
    assert daemon.station()["mode"] == "tripped"
    assert daemon.call("start", text=CHARGE, name="t.yaml", cell="c1").state == "refused"


def test_a_trip_is_cleared_only_with_a_reason_and_clearing_energises_nothing(bench_and_daemon):
    bench, daemon = bench_and_daemon
    daemon.run(CHARGE)
    daemon.energised()
    bench.fault("aps1", "silence", lasts=3.5)
    daemon.wait_for(mode="tripped")
    assert daemon.station()["trip"]["check"] == "P1"
    wait_until(lambda: not on(bench), "OFF reached the instrument")
    wait_until(lambda: not daemon.station()["output_owed"], "OFF was verified")
    assert "reason" in daemon.call("clear").reason
    assert daemon.call("resume").state == "refused"
    edges = len(bench.ledger("cell-1")["edges"])
    reply = wait_until(
        lambda: (r := daemon.call("clear", reason="cable replaced")).state == "done" and r,
        "the trip could be cleared",
    )
    assert reply.state == "done"
    assert daemon.station()["mode"] == "paused"
    assert len(bench.ledger("cell-1")["edges"]) == edges
    assert "a moment ago" in daemon.call("resume").reason  # never in the same breath
    wait_until(lambda: daemon.call("resume").state == "done", "the run goes on")
    daemon.energised()
    cleared = daemon.events(EventKind.CLEARED)[-1]
    assert cleared.data["reason"] == "cable replaced"


def test_readings_that_are_not_numbers_are_never_trusted_while_energised(bench_and_daemon):
    bench, daemon = bench_and_daemon
    daemon.run(CHARGE)
    daemon.energised()
    bench.fault("aps1", "nan", quantity="voltage_V")
    assert daemon.wait_for(mode="tripped")["trip"]["check"] == "P1"
    wait_until(lambda: not on(bench), "OFF")


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGKILL, id="killed", marks=pytest.mark.fault("F41")),
        pytest.param(signal.SIGSTOP, id="stopped", marks=pytest.mark.fault("F42")),
    ],
)
def test_the_sentinel_switches_off_when_control_is(number, bench_and_daemon):
    bench, daemon = bench_and_daemon
    daemon.run(CHARGE)
    daemon.energised()
    assert on(bench)
    struck = monotonic()
    daemon.signal(number)
    wait_until(lambda: not on(bench), "the sentinel switched off")
    assert last_edge_s(bench) - struck < SENTINEL_S
    assert daemon.process is not None
    daemon.process.wait(10.0)  # the sentinel killed what was only stopped
    wait_until(lambda: list(daemon.data.glob("sentinel-*.jsonl")), "the sentinel said so")


def test_after_a_crash_the_run_waits_and_goes_on_where_it_was(tmp_path):
    with running_daemon(tmp_path, resume={"automatic": False}) as (bench, daemon):
        goes_on_where_it_was(bench, daemon)


def goes_on_where_it_was(bench, daemon):
    run = daemon.run(CHARGE)
    daemon.energised()
    wait_until(lambda: (daemon.station()["charge_Ah"] or 0) > 0.001, "some charge was counted")
    daemon.signal(signal.SIGKILL)
    assert daemon.process is not None
    daemon.process.wait(10.0)
    wait_until(lambda: not on(bench), "the sentinel switched off")
    daemon.start()
    seen = daemon.wait_for(mode="paused")
    assert (seen["run"], seen["step"]) == (run, 1)
    wait_until(lambda: "operator" in daemon.station()["why"], "it says why")
    before = seen["charge_Ah"]
    assert before > 0.0005
    assert not on(bench)
    assert daemon.call("resume").state == "done"
    daemon.energised()
    assert daemon.station()["charge_Ah"] >= before
    kinds = [event.kind for event in daemon.events() if event.run == run]
    assert EventKind.GAP in kinds
    assert any("sentinel" in event.data["message"] for event in daemon.events(EventKind.ALARM))


@pytest.mark.fault("F48")
def test_without_a_sentinel_nothing_is_energised_until_it_is_back(bench_and_daemon):
    _, daemon = bench_and_daemon
    os.kill(daemon.children()["daq.sentinel"], signal.SIGKILL)
    wait_until(lambda: daemon.events(EventKind.ALARM), "its death is an alarm")
    back = wait_until(lambda: daemon.children().get("daq.sentinel"), "it is started again")
    assert psutil.pid_exists(back)


def test_a_hung_bus_thread_costs_its_process_and_the_sentinel_switches_off(tmp_path):
    # A driver that blocks for ever: the process is taken away from it.
    with running_daemon(tmp_path) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        thread = _bus_thread(daemon)
        struck = monotonic()
        subprocess.run(["kill", "-STOP", str(thread)], check=True)  # stops the whole process
        wait_until(lambda: not on(bench), "OFF")
        assert last_edge_s(bench) - struck < SENTINEL_S


def _bus_thread(daemon: Daemon) -> int:
    assert daemon.process is not None
    return psutil.Process(daemon.process.pid).threads()[-1].id


@pytest.mark.fault("F40")
def test_sigterm_in_the_middle_of_a_step_leaves_everything_off_within_five_seconds(
    bench_and_daemon, figure
):
    bench, daemon = bench_and_daemon
    run = daemon.run(CHARGE)
    daemon.energised()
    began = time.monotonic()
    assert daemon.stop() == 0
    took_s = time.monotonic() - began
    figure("SIGTERM to gone", took_s, "s")
    assert took_s < 5.0
    assert not on(bench)
    assert not list(daemon.data.glob("sentinel-*.jsonl"))
    daemon.start()
    assert daemon.station()["run"] == run


def test_stop_all_is_off_at_every_station(tmp_path):
    with running_daemon(tmp_path, stations=2) as (bench, daemon):
        daemon.run(CHARGE, "A1", "c1")
        daemon.run(CHARGE, "A2", "c2")
        daemon.energised("A1")
        daemon.energised("A2")
        reply = daemon.call("stop", "*", reason="fire drill")
        assert reply.data["stopped"] == ["A1", "A2"]
        assert not on(bench, "cell-1")
        assert not on(bench, "cell-2")
        assert {event.data["outcome"] for event in daemon.events(EventKind.RUN_ENDED)} == {
            "stopped"
        }


def test_pause_and_resume_keep_the_step_and_its_clock(bench_and_daemon):
    bench, daemon = bench_and_daemon
    daemon.run(CHARGE)
    daemon.energised()
    assert daemon.call("pause", reason="lunch").state == "done"
    assert not on(bench)
    first = daemon.station()
    time.sleep(0.5)
    second = daemon.station()
    assert second["step_time_s"] == pytest.approx(first["step_time_s"], abs=0.1)
    assert second["test_time_s"] > first["test_time_s"]
    assert daemon.call("resume").state == "done"
    assert daemon.energised()["step_count"] == 1


def test_the_same_command_id_is_answered_once_and_carried_out_once(bench_and_daemon):
    from daq.control.client import new_command

    _, daemon = bench_and_daemon
    command = new_command("start", "A1", text=CHARGE, name="t.yaml", cell="c1")
    first = daemon.client.send(command)
    second = daemon.client.send(command)
    assert first == second
    assert len(daemon.events(EventKind.RUN_STARTED)) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"cell": "nobody"}, "knows no cell"),
        ({"text": CHARGE.replace("1C", "9C")}, "22.5 A"),
        ({"text": CHARGE.replace("4.2 V", "4.9 V")}, "4.9 V"),
        ({"text": CHARGE.replace("at_most: 2 h", "")}, "at_most"),
        ({"text": CHARGE + "  - eis: {from: 1 kHz, to: 1 Hz, per_decade: 5, amplitude: 5 mV}\n"},
         "no `eis`"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_energised(
    change, complaint, bench_and_daemon
):
    bench, daemon = bench_and_daemon
    arguments = {"text": CHARGE, "name": "t.yaml", "cell": "c1"} | change
    reply = daemon.call("start", **arguments)
    assert reply.state == "refused"
    assert complaint in reply.reason
    assert bench.ledger("cell-1")["edges"] == []


def test_a_second_daemon_on_the_same_lab_touches_nothing_and_says_who_is_there(bench_and_daemon):
    _, daemon = bench_and_daemon
    assert daemon.process is not None
    second = subprocess.run(
        [sys.executable, "-m", "daq.cli", "serve", str(daemon.lab)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 1
    assert str(daemon.process.pid) in second.stderr
    assert daemon.station()["mode"] == "idle"


def test_a_link_that_breaks_during_a_step_comes_back_and_the_step_goes_on(bench_and_daemon):
    bench, daemon = bench_and_daemon
    daemon.run(CHARGE)
    daemon.energised()
    bench.fault("aps1", "reset")
    wait_until(lambda: len(daemon.events(EventKind.FAULT_ENDED)) > 0, "the link came back")
    daemon.wait_for(mode="running", output_on=True)
    daemon.energised()
    assert len(daemon.events(EventKind.FAULT_BEGAN)) == 1


def test_an_off_that_the_instrument_ignores_is_repeated_and_paged(bench_and_daemon):
    bench, daemon = bench_and_daemon
    daemon.run(CHARGE)
    daemon.energised()
    bench.fault("aps1", "ignored_off")
    reply = daemon.call("stop")
    assert reply.state == "refused"
    assert "not verified" in reply.reason
    alarm = wait_until(lambda: daemon.events(EventKind.ALARM), "somebody is paged")[0]
    assert alarm.data["severity"] == "page"
    bench.clear_faults()
    wait_until(lambda: not on(bench), "it obeys at last")
    wait_until(lambda: not daemon.station()["output_owed"], "and that was verified")


def test_a_reading_over_the_limit_is_off_on_the_wire_and_latched(bench_and_daemon):
    bench, daemon = bench_and_daemon
    daemon.run(CHARGE)
    daemon.energised()
    bench.fault("aps1", "offset", quantity="voltage_V", by=1.0)
    seen = daemon.wait_for(mode="tripped")
    assert seen["trip"]["check"] == "V1"
    assert not on(bench)
    trip = wait_until(lambda: daemon.events(EventKind.TRIP), "the journal has it")[-1]
    assert trip.data["off_verified"]
    assert "above the limit of 4.25 V" in trip.data["message"]
    # It stays so when the reading is good again, and nothing but an operator ends it.
    bench.clear_faults()
    time.sleep(0.5)
    assert daemon.station()["mode"] == "tripped"
    assert len(bench.ledger("cell-1")["edges"]) == 2
