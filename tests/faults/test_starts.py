"""Starts that must come to nothing: a second daemon on a lab, and one after too many crashes."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from daq.bus.heartbeat import LOOP_SLOT, Heartbeat
from daq.bus.resource import make_line, parse_resource
from daq.control.crashes import EXIT_CRASH_LOOP
from daq.control.lock import locked
from daq.driver import Cycler, find_driver
from daq.journal import Journal
from daq.model import Event, EventKind, Protection, Setpoint
from simulators.client import running_bench
from tests.system.daemon import bench_file, lab_file, on, write_lab


def serve(lab: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "daq.cli", "serve", str(lab)],
        capture_output=True,
        text=True,
        timeout=90,
    )


def fingerprint(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file with its length, the time of its last change, and its content."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class Deaf:
    """Stands in for a bench: listens where its instruments would, and must not be called."""

    def __init__(self) -> None:
        self.addresses = {name: socket.create_server(("127.0.0.1", 0)) for name in ("aps1", "mk56")}

    def endpoint(self, name: str) -> tuple[str, int]:
        host, port = self.addresses[name].getsockname()
        return str(host), int(port)

    def was_called(self) -> bool:
        return bool(select.select(list(self.addresses.values()), [], [], 0.1)[0])

    def close(self) -> None:
        for server in self.addresses.values():
            server.close()


@pytest.mark.fault("F50")
def test_a_second_daemon_touches_no_file_and_no_port(tmp_path):
    bench = Deaf()
    lab = write_lab(tmp_path, lab_file(bench))  # type: ignore[arg-type]
    data = tmp_path / "data"
    with locked(data):  # by this process, in place of the first daemon
        journal = Journal(data / "journal.sqlite")
        journal.append(Event(EventKind.NOTE, time.time(), data={"text": "the first daemon's"}))
        journal.close()
        Heartbeat(data / "heartbeat").beat(LOOP_SLOT)
        (data / "recipes.json").write_text("{}")
        before = fingerprint(data)
        second = serve(lab)
        assert second.returncode == 1, second.stderr
        assert str(os.getpid()) in second.stderr
        assert fingerprint(data) == before
    assert not bench.was_called()
    bench.close()


@pytest.mark.fault("F51")
def test_after_two_crashes_in_a_minute_it_stays_down_with_every_output_off(tmp_path):
    with running_bench(bench_file()) as bench:
        document = lab_file(bench) | {"restarts": {"crashes": 2, "within": "10 min"}}
        lab = write_lab(tmp_path, document)
        _energise(bench.endpoint("aps1"))  # as two daemons that crashed, and no sentinel, left it
        assert on(bench)
        for _ in range(2):
            heartbeat = Heartbeat(tmp_path / "data" / "heartbeat")
            heartbeat.beat(LOOP_SLOT)
            began_s = time.monotonic()
            _count_it(tmp_path / "data")
        third = serve(lab)
        assert third.returncode == EXIT_CRASH_LOOP
        assert "stays down" in third.stderr
        assert not on(bench)
        heard = [text for _, way, text in bench.tape("aps1", since=began_s) if way == "heard"]
        assert any("OUTP 0" in text for text in heard)
        assert not any("OUTP 1" in text for text in heard)
        assert not (tmp_path / "data" / "journal.sqlite").exists()  # it did not come up at all


def _energise(endpoint: tuple[str, int]) -> None:
    found = find_driver("keysight_aps")
    line = make_line(parse_resource("TCPIP::{}::{}::SOCKET".format(*endpoint)), found.settings)
    driver = found(line)
    assert isinstance(driver, Cycler)
    line.open()
    driver.identify()
    driver.setup()
    driver.protect(1, Protection((2.0, 4.5), (-3.0, 3.0), 3600.0))
    driver.apply(1, Setpoint(4.1, 1.0, 0.0))
    driver.on(1)
    line.close()


def _count_it(data: Path) -> None:
    """What a start does first with what the session before it left."""
    from daq.clock import monotonic
    from daq.control.crashes import recent_crashes

    recent_crashes(data, 600.0, monotonic())


def test_the_unit_of_the_service_manager_knows_the_exit_code_of_a_crash_loop():
    unit = Path(__file__).parents[2] / "docs" / "examples" / "battery-daq.service"
    assert f"RestartPreventExitStatus={EXIT_CRASH_LOOP}\n" in unit.read_text()
