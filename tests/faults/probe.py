"""A thermocouple and a voltmeter at a simulated cell, as a logger on a socket of its own.

It knows what is true from the bench's control socket, and shows what a test wants it to: that is
how a thermocouple opens or falls off, and how sense leads disagree.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from daq.bus.line import LineSettings, TextLine
from daq.driver import Logger
from daq.errors import BadReply
from daq.model import Identity, Reading
from simulators.client import BenchClient, RunningBench

Show = Callable[[float, float], tuple[float, float]]
"""True temperature and voltage -> what the logger reads."""


class ProbeDriver(Logger[TextLine]):
    """The driver: one channel, temperature and voltage."""

    settings = LineSettings(timeout_s=0.25)

    def identify(self) -> Identity:
        return Identity("Test", *self.line.ask("*IDN?").split(","))

    def read(self) -> Mapping[int, Reading]:
        try:
            degC, volts = (float(text) for text in self.line.ask("READ?").split(";"))
        except ValueError as error:
            raise BadReply("not two numbers") from error
        return {1: Reading(voltage_V=volts, temperature_degC=degC)}


class Probe(socketserver.ThreadingTCPServer):
    """The box."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, bench: BenchClient, cell: str) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.show: Show = lambda degC, volts: (degC, volts)
        self._bench, self._cell, self._one = bench, cell, threading.Lock()

    @property
    def lab_entry(self) -> dict[str, str]:
        """As an instrument of a lab file."""
        host, port = self.server_address[:2]
        return {
            "driver": "tests.faults.probe:ProbeDriver",
            "resource": f"TCPIP::{host!s}::{port}::SOCKET",
            "period": "50 ms",
        }

    def answer(self, question: str) -> str:
        if question == "*IDN?":
            return "probe,1"
        with self._one:  # one client for all connections
            true = self._bench.ask("state", position=self._cell)["state"]
        degC, volts = self.show(float(true["temperature_degC"]), float(true["voltage_V"]))
        return f"{degC:.4f};{volts:.5f}"


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        probe = self.server
        assert isinstance(probe, Probe)
        for line in self.rfile:
            try:
                self.wfile.write(probe.answer(line.decode().strip()).encode() + b"\n")
            except (OSError, ValueError):
                return


@contextmanager
def probe_at(bench: RunningBench, cell: str = "cell-1") -> Iterator[Probe]:
    """A probe for the length of a `with` block; it has a client of the bench of its own."""
    parts = urlsplit(bench.addresses["control"])
    own = BenchClient(parts.hostname or "", parts.port or 0)
    with Probe(own, cell) as probe:
        thread = threading.Thread(target=probe.serve_forever, daemon=True)
        thread.start()
        try:
            yield probe
        finally:
            probe.shutdown()
            own.close()
