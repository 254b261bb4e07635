"""What happens to the daemon's own processes and threads; OFF is read in the cell's ledger."""

from __future__ import annotations

import os
import random
import resource
import signal
import time

import psutil
import pytest

from daq.bus.heartbeat import Heartbeat
from daq.clock import monotonic
from daq.model import EventKind
from simulators.client import running_bench
from tests.system.daemon import (
    CHARGE,
    FAMILIES,
    Daemon,
    bench_file,
    lab_file,
    last_edge_s,
    on,
    running_daemon,
    wait_until,
    write_lab,
)

TAKEOVER_S = 3.0


@pytest.fixture
def ill(tmp_path):
    """A bench, a daemon whose cycler's driver obeys orders, and the way to give one."""
    with running_bench(bench_file()) as bench:
        lab = lab_file(bench)
        orders = tmp_path / "orders"
        lab["instruments"]["aps1"]["driver"] = "tests.faults.ill_driver:Ill"
        lab["instruments"]["aps1"]["options"] = {"orders": str(orders)}
        daemon = Daemon(write_lab(tmp_path, lab))
        daemon.start()

        def order(text: str) -> None:
            temporary = orders.with_suffix(".tmp")
            temporary.write_text(text)
            temporary.rename(orders)

        yield bench, daemon, order
        daemon.stop()


def log(daemon: Daemon) -> str:
    return (daemon.data / "logs" / "control.jsonl").read_text()


def named(daemon: Daemon, function: str) -> str:
    """The line of the log that names a function as what holds a thread up."""
    lines = log(daemon).splitlines()
    return next((line for line in lines if "held up" in line and function in line), "")


def end(daemon: Daemon) -> None:
    assert daemon.process is not None
    daemon.process.wait(20.0)


@pytest.mark.fault("F43")
def test_a_driver_that_blocks_is_named_and_if_it_does_not_come_back_the_sentinel_acts(ill, figure):
    bench, daemon, order = ill
    daemon.run(CHARGE)
    daemon.energised()
    edges = len(bench.ledger("cell-1")["edges"])
    order("block_briefly 0.3")
    wait_until(lambda: named(daemon, "_block_briefly"), "0.3 s are named")
    order("block_longer 1.0")
    wait_until(lambda: named(daemon, "_block_longer"), "1 s is named")
    time.sleep(1.2)
    assert daemon.station()["mode"] == "running"
    assert len(bench.ledger("cell-1")["edges"]) == edges  # neither has cost anything
    struck = monotonic()
    order("block_for_good 10")
    wait_until(lambda: not on(bench), "the sentinel switched off")
    figure("driver blocks for 10 s, to OFF", last_edge_s(bench) - struck, "s")
    assert last_edge_s(bench) - struck < TAKEOVER_S + 0.3  # it blocks at its next reading
    end(daemon)
    assert named(daemon, "_block_for_good")


@pytest.mark.fault("F43")
def test_c_code_that_keeps_the_interpreters_lock_is_the_sentinels_business(ill, figure):
    bench, daemon, order = ill
    daemon.run(CHARGE)
    daemon.energised()
    struck = monotonic()
    order("hold_the_interpreter 60")
    wait_until(lambda: not on(bench), "the sentinel switched off")
    figure("interpreter's lock held, to OFF", last_edge_s(bench) - struck, "s")
    assert last_edge_s(bench) - struck < TAKEOVER_S + 0.3
    end(daemon)


@pytest.mark.fault("F44")
@pytest.mark.fault("F46")
def test_what_would_end_a_bus_thread_is_a_trip_and_the_thread_lives(ill):
    bench, daemon, order = ill
    daemon.run(CHARGE)
    for error in ("SystemExit", "MemoryError"):
        daemon.energised()
        order(f"raise {error}")
        assert daemon.wait_for(mode="tripped")["trip"]["check"] == "X1"
        wait_until(lambda: not on(bench), "OFF")
        wait_until(
            lambda e=error: any(e in t.data["message"] for t in daemon.events(EventKind.TRIP)),
            "the trip is in the journal",
        )
        wait_until(
            lambda: daemon.call("clear", reason="a driver's bug").state == "done", "it is cleared"
        )
        wait_until(lambda: daemon.call("resume").state == "done", "it goes on after a look")
    daemon.energised()


@pytest.mark.fault("F41")
def test_any_process_may_be_killed_at_any_moment(tmp_path, trials, figure):
    with running_daemon(tmp_path, mqtt={"broker": "embedded"}) as (bench, daemon):
        run = daemon.run(CHARGE)
        daemon.energised()
        for number in range(trials(4)):
            victim = ("daq.recorder", "daq.gateway", "daq.sentinel", "control")[number % 4]
            time.sleep(random.uniform(0.0, 0.5))
            if victim == "control":
                _kill_control(bench, daemon, run)
            else:
                _kill_child(bench, daemon, victim)
        figure("processes killed", trials(4), "")


def _kill_child(bench, daemon, victim):
    edges = len(bench.ledger("cell-1")["edges"])
    pid = wait_until(lambda: daemon.children().get(victim), f"{victim} runs")
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: daemon.children().get(victim, pid) != pid, f"{victim} is started again")
    wait_until(lambda: daemon.station()["mode"] == "running", "the run goes on")
    assert len(bench.ledger("cell-1")["edges"]) == edges


def _kill_control(bench, daemon, run):
    before = daemon.station()["charge_Ah"]
    struck = monotonic()
    daemon.signal(signal.SIGKILL)
    wait_until(lambda: not on(bench), "the sentinel switched off")
    assert last_edge_s(bench) - struck < TAKEOVER_S
    end(daemon)
    daemon.start()
    seen = daemon.station()
    assert seen["run"] == run
    assert seen["charge_Ah"] == pytest.approx(before, abs=0.002)
    if seen["mode"] == "paused":
        assert daemon.call("resume").state == "done"
    daemon.energised()


@pytest.mark.fault("F47")
def test_with_no_descriptor_left_what_runs_goes_on_and_a_lost_link_is_safe(tmp_path):
    with running_daemon(tmp_path) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        assert daemon.process is not None
        process = psutil.Process(daemon.process.pid)
        hard = process.rlimit(psutil.RLIMIT_NOFILE)[1]
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), hard))
        charged = bench.ledger("cell-1")["charged_Ah"]
        time.sleep(1.0)
        assert on(bench)
        assert bench.ledger("cell-1")["charged_Ah"] > charged
        bench.fault("aps1", "reset")  # it cannot be opened again
        wait_until(lambda: not on(bench), "the instrument's own watchdog, or OFF")
        process.rlimit(psutil.RLIMIT_NOFILE, (min(1024, hard), hard))
        seen = wait_until(lambda: daemon.station(), "it answers again")
        assert seen["mode"] in ("tripped", "running", "waiting")
        wait_until(lambda: daemon.events(EventKind.FAULT_BEGAN), "it was told")


@pytest.mark.fault("F48")
def test_a_sentinel_that_hangs_is_replaced_and_nothing_is_energised_meanwhile(tmp_path):
    with running_daemon(tmp_path) as (bench, daemon):
        hung = daemon.children()["daq.sentinel"]
        os.kill(hung, signal.SIGSTOP)
        time.sleep(2.0)
        reply = daemon.call("start", text=CHARGE, name="t.yaml", cell="c1")
        if reply.state == "refused":  # else it was replaced within the time that a start waits
            assert "sentinel" in reply.reason
        wait_until(lambda: daemon.children().get("daq.sentinel", hung) != hung, "a new one")
        if reply.state == "refused":
            assert bench.ledger("cell-1")["edges"] == []
            daemon.run(CHARGE)
        daemon.energised()


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=pytest.mark.fault("F49", family=name)) for name in FAMILIES],
)
def test_when_control_and_sentinel_die_the_instruments_own_watchdog_opens_the_output(
    family, tmp_path, figure
):
    with running_daemon(tmp_path, dialect=family) as (bench, daemon):
        daemon.run(CHARGE)
        daemon.energised()
        os.kill(daemon.children()["daq.sentinel"], signal.SIGKILL)
        daemon.signal(signal.SIGKILL)
        struck = monotonic()
        wait_until(lambda: not on(bench), "the watchdog opened the output")
        took_s = last_edge_s(bench) - struck
        figure(f"both dead to OFF by the watchdog of 2 s, {family}", took_s, "s")
        assert took_s < 5.0


def test_the_heartbeat_needs_no_descriptor_once_it_is_there(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    heartbeat = Heartbeat(tmp_path / "heartbeat")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        heartbeat.beat(1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert heartbeat.age_s(1) < 10.0
