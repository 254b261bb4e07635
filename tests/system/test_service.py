"""The daemon as a service manager sees it."""

from __future__ import annotations

import socket

from tests.system.daemon import running_daemon


def test_the_manager_hears_that_the_daemon_serves_lives_and_ends(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running_daemon(tmp_path) as (_, daemon):
            assert manager.recv(100) == b"READY=1"
            assert {manager.recv(100) for _ in range(5)} == {b"WATCHDOG=1"}
            assert daemon.process is not None
            daemon.process.terminate()
            while (said := manager.recv(100)) == b"WATCHDOG=1":
                pass
            assert said == b"STOPPING=1"
