"""A daemon on a simulated bench, each in processes of its own, for the length of a `with`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import files
from bench.processes import family
from daq.control.client import ControlClient
from daq.errors import DaqError
from simulators.client import RunningBench, running_bench

PATIENCE_S = 60.0
END_S = 30.0
LOG = "daemon.log"


@dataclass(slots=True)
class Daemon:
    """A daemon, the bench that it runs on, and how to talk to both."""

    folder: Path
    process: subprocess.Popen[bytes]
    bench: RunningBench
    cyclers: list[str]

    @property
    def data(self) -> Path:
        """The lab's data folder."""
        return self.folder / "data"

    def pids(self) -> dict[str, int]:
        """Every process of the daemon, and the bench's as `simulator`."""
        return family(self.process.pid) | {"simulator": self.bench.process.pid}

    def call(self, verb: str, station: str = "", **arguments: Any) -> dict[str, Any]:
        """Send a command.

        Raises:
            DaqError: it was refused.
        """
        reply = ControlClient(self.data, PATIENCE_S).call(verb, station, **arguments)
        if reply.state != "done":
            raise DaqError(f"{verb} {station}: {reply.reason}")
        return dict(reply.data)

    def start_all(self) -> None:
        """Start a run at every station, and wait until all of them regulate."""
        for cycler in self.cyclers:
            self.call(
                "start", files.station(cycler), protocol="hold-still.yaml", cell=files.cell(cycler)
            )
        self.wait_until(lambda: set(self.modes().values()) == {"running"}, "every run runs")

    def modes(self) -> dict[str, str]:
        """Station -> what it does."""
        stations = self.call("status")["stations"]
        return {name: station["mode"] for name, station in stations.items()}

    def broker(self) -> str:
        """The URL of the broker that the gateway has started."""
        note = self.data / "broker.json"
        self.wait_until(note.exists, "there is a broker")
        return str(json.loads(note.read_text())["url"])

    def wait_until(self, true: Callable[[], bool], what: str) -> None:
        """Poll.

        Raises:
            DaqError: it has not come true, or the daemon has ended.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            if self.process.poll() is not None:
                raise DaqError(f"the daemon ended: {(self.folder / LOG).read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise DaqError(f"not within {PATIENCE_S:g} s: {what}")
            time.sleep(0.2)


@contextmanager
def running_daemon(
    channels: int, broker: str = "auto", *, niceness: int = 0, **options: Any
) -> Iterator[Daemon]:
    """A bench of `channels` cyclers (with these options) and a daemon on them, as nice as that."""
    with (
        tempfile.TemporaryDirectory(prefix="daq-bench-") as name,
        running_bench(files.bench(channels, **options)) as bench,
    ):
        folder, cyclers = Path(name), files.names(channels)
        files.write(folder, {cycler: bench.endpoint(cycler) for cycler in cyclers}, broker)
        with serving(folder, bench, cyclers, niceness) as daemon:
            yield daemon


@contextmanager
def serving(
    folder: Path, bench: RunningBench, cyclers: list[str], niceness: int = 0
) -> Iterator[Daemon]:
    """A daemon on the `lab.yaml` of a folder."""
    daemon = Daemon(folder, _serve(folder / "lab.yaml", niceness), bench, cyclers)
    try:
        daemon.wait_until((daemon.data / "control.sock").exists, "the daemon serves")
        yield daemon
    finally:
        _end(daemon.process)


def _serve(lab: Path, niceness: int) -> subprocess.Popen[bytes]:
    with (lab.parent / LOG).open("wb") as log:
        command = ["nice", "-n", str(niceness)] if niceness else []
        command += [sys.executable, "-m", "daq.cli", "serve", str(lab)]
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
