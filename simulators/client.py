"""Start a simulated bench from a test or a script, and reach behind the instruments' backs.

with running_bench("config/demo-bench.yaml") as bench:
    host, port = bench.endpoint("aps1")
    ...
    assert bench.ledger("cell-1")["on"] is False
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruamel.yaml import YAML

_STOP_S = 10.0


class BenchClient:
    """A blocking client of a bench's control socket.

    Args:
        host: Its address.
        port: Its port.
        timeout_s: For connecting and for each answer.
    """

    def __init__(self, host: str, port: int, timeout_s: float = 10.0) -> None:
        self._socket = socket.create_connection((host, port), timeout_s)
        self._lines = self._socket.makefile("rb")

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send one request, return its answer.

        Raises:
            ValueError: The bench refuses it.
            ConnectionError: The bench is gone.
        """
        self._socket.sendall(json.dumps({"do": do, **request}).encode() + b"\n")
        line = self._lines.readline()
        if not line:
            raise ConnectionError("the bench has gone")
        reply: dict[str, Any] = json.loads(line)
        if not reply.pop("ok"):
            raise ValueError(reply["error"])
        return reply

    def close(self) -> None:
        """Leave the bench alone."""
        self._lines.close()
        self._socket.close()


class RunningBench:
    """A bench in a process of its own.

    Attributes:
        process: That process.
        addresses: Instrument -> address, as the bench printed it.
    """

    def __init__(self, process: subprocess.Popen[str], addresses: dict[str, str]) -> None:
        self.process = process
        self.addresses = addresses
        parts = urlsplit(addresses["control"])
        self._client = BenchClient(parts.hostname or "", parts.port or 0)

    def endpoint(self, instrument: str) -> tuple[str, int]:
        """Host and port of an instrument on a socket."""
        parts = urlsplit(self.addresses[instrument])
        return parts.hostname or "", parts.port or 0

    def path(self, instrument: str) -> Path:
        """Device path of an instrument on a serial port."""
        return Path(self.addresses[instrument].partition(":")[2])

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Any request of `simulators.control`."""
        return self._client.ask(do, **request)

    def ledger(self, position: str) -> dict[str, Any]:
        """What really flowed through a cell."""
        return self.ask("ledger", position=position)["ledger"]

    def state(self, position: str) -> dict[str, Any]:
        """The cell as it truly is."""
        return self.ask("state", position=position)["state"]

    def tape(self, instrument: str, since: float = 0.0) -> list[tuple[float, str, str]]:
        """What passed on its line: (monotonic stamp, "heard" or "said", text)."""
        chunks = self.ask("tape", instrument=instrument, since=since)["tape"]
        return [(stamp, way, text) for stamp, way, text in chunks]

    def mark(self, position: str, name: str, quantity: str, **limit: float) -> None:
        """Watch a limit, `above=` or `below=`; see `marks` in the ledger."""
        self.ask("mark", position=position, name=name, quantity=quantity, **limit)

    def fault(self, instrument: str, kind: str, **options: Any) -> None:
        """Inject a fault; `lasts` stands for the bench file's `for`."""
        if "lasts" in options:
            options["for"] = options.pop("lasts")
        self.ask("fault", instrument=instrument, kind=kind, **options)

    def clear_faults(self) -> None:
        """End all faults."""
        self.ask("clear_faults")

    def stop(self) -> int:
        """Ask the process to end and return its exit code; kill it if it does not."""
        self._client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def running_bench(
    config: Mapping[str, Any] | str | Path, *options: str, python: Path | None = None
) -> Iterator[RunningBench]:
    """Run a bench for the length of a `with` block.

    Args:
        config: A bench file, or its content (a control socket is added if it has none).
        *options: Further command-line options.
        python: Another interpreter to run it with, which has what the bench's cells need.

    Raises:
        RuntimeError: The bench refuses to start, or found a bug in itself; its own words.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = config if isinstance(config, str | Path) else _write(Path(folder), config)
        command = [str(python or sys.executable), "-m", "simulators", str(path), *options]
        with subprocess.Popen(  # noqa: S603 - an interpreter of ours, our own module
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": _reachable()} if python else None,
            start_new_session=True,  # boxes on a bench: a program's Ctrl-C is nothing to them
        ) as process:
            bench = RunningBench(process, _addresses(process))
            try:
                yield bench
            finally:
                code = bench.stop()
            if code == 1:
                raise RuntimeError(process.communicate()[1])


def _reachable() -> str:
    """Where another interpreter finds this package, before whatever it was told."""
    own = str(Path(__file__).parents[1])
    return os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))


def _write(folder: Path, config: Mapping[str, Any]) -> Path:
    path = folder / "bench.yaml"
    content = {"control": "tcp://127.0.0.1:0"} | dict(config)
    YAML(typ="safe", pure=True).dump(content, path)
    return path


def _addresses(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read what the bench prints until it is ready."""
    addresses: dict[str, str] = {}
    for line in process.stdout or ():
        entry = json.loads(line)
        if "ready" in entry:
            if "control" in addresses:
                return addresses
            process.terminate()
            raise RuntimeError("the bench file has no `control:` address")
        addresses[entry.get("instrument", "control")] = entry.get("address") or entry["control"]
    raise RuntimeError(process.communicate()[1].strip() or "the bench ended at once")
