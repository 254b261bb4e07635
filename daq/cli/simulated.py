"""A simulated bench and a daemon on it, as two processes: for `daq demo` and `daq gameday`.

The daemon is not told that the instruments are simulated. Whatever ends the program that started
them, the daemon ends first and leaves everything OFF.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from daq.cli.output import console
from daq.errors import DaqError

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Processes:
    """The bench and the daemon; both are ended when the block is left, the daemon first.

    Args:
        data: folder of their log and of the bench's ledger.
    """

    def __init__(self, data: Path) -> None:
        self._log = (data / "processes.log").open("ab")
        self._ledger = data / "ledger.json"
        self._bench: subprocess.Popen[bytes] | None = None
        self._daemon: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Processes:
        for number in ENDINGS:  # a closed terminal, or a kill, ends it as Ctrl-C does
            signal.signal(number, signal.default_int_handler)
        return self

    def __exit__(self, *_: object) -> None:
        for number in ENDINGS:  # an impatient second Ctrl-C must not leave half of it running
            signal.signal(number, signal.SIG_IGN)
        self._end(self._daemon, "the daemon")
        self._end(self._bench, "the bench")
        self._log.close()

    def start_bench(self, bench: Path) -> Mapping[str, str]:
        """Start it; instrument -> address, and "control" -> that of its control socket."""
        ledger = ("--ledger", str(self._ledger))
        self._bench = self._start("simulators", str(bench), *ledger, stdout=subprocess.PIPE)
        assert self._bench.stdout is not None  # noqa: S101 - we asked for a pipe
        addresses: dict[str, str] = {}
        for line in self._bench.stdout:
            entry = json.loads(line)
            if entry.get("ready"):
                return addresses
            addresses[entry.get("instrument", "control")] = entry.get("address") or entry["control"]
        raise DaqError("the simulated bench did not start", remedy=f"see {self._log.name}")

    def start_daemon(self, lab: Path) -> None:
        """Start `daq serve`."""
        self._daemon = self._start("daq.cli", "serve", str(lab), stdout=self._log)

    def kill_daemon(self) -> None:
        """Kill -9, which asks nobody."""
        if self._daemon:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def check(self) -> None:
        """Raise when one of them has ended."""
        for process, name in ((self._daemon, "the daemon"), (self._bench, "the bench")):
            if process and process.poll() is not None:
                raise DaqError(f"{name} ended", remedy=f"see {self._log.name}")

    def _start(self, module: str, *arguments: str, stdout: Any) -> subprocess.Popen[bytes]:
        # A session of their own: Ctrl-C ends this program, which then ends them in order. The
        # bench must not go before the daemon has switched everything off.
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", module, *arguments],
            stdout=stdout,
            stderr=self._log,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )

    def _end(self, process: subprocess.Popen[bytes] | None, name: str) -> None:
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if code:
            console().print(f"[red]{name} ended with code {code}: see {self._log.name}[/]")


class BenchSocket:
    """The bench's control socket: its ledger, and faults; see simulators/control.py."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._socket = socket.create_connection((parts.hostname or "", parts.port or 0), 10.0)
        self._lines = self._socket.makefile("rb")

    def ask(self, do: str, **request: Any) -> Mapping[str, Any]:
        """One request, and its answer.

        Raises:
            DaqError: the bench refuses it, or is gone.
        """
        self._socket.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
        answer = json.loads(self._lines.readline() or b'{"error": "the bench is gone"}')
        if not answer.get("ok"):
            raise DaqError(f"the simulated bench: {answer['error']}")
        return answer

    def close(self) -> None:
        """Leave it alone."""
        self._lines.close()
        self._socket.close()
