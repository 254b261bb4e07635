"""Words to the service manager: through a real datagram socket, and never in the loop's way."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from daq.control import notify

UNIT = Path(__file__).parents[2] / "docs/examples/battery-daq.service"


@pytest.fixture
def manager(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


def test_the_manager_hears_when_it_serves_lives_and_ends(manager):
    notify.ready()
    notify.alive()
    notify.stopping()
    assert [manager.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_an_abstract_address_is_understood(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0battery-daq-test-notify")
        manager.settimeout(5.0)
        monkeypatch.setenv("NOTIFY_SOCKET", "@battery-daq-test-notify")
        notify.ready()
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all"])
def test_without_a_manager_it_is_silent(address, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify.alive()
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify.alive()


def test_a_manager_that_does_not_read_holds_nothing_up(manager):
    for _ in range(10_000):  # far more than the socket takes
        notify.alive()


# The unit in the documentation.


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    daq = tmp_path / "daq"
    daq.write_text("#!/bin/sh\n")
    daq.chmod(0o755)
    unit = tmp_path / UNIT.name
    text = UNIT.read_text()
    unit.write_text(re.sub(r"ExecStart=\S+", f"ExecStart={daq}", text))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_sandbox_is_tight(tmp_path, figure):
    words = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    (level,) = re.findall(r"exposure level for \S+: ([\d.]+)", done.stdout)
    figure("exposure by systemd-analyze security (0 best, 10 worst)", float(level), "")
