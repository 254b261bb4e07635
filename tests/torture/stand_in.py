"""Control processes by the hundred: each energises one simulated cycler, and is then struck.

A whole daemon takes a second of a processor to come up, most of it imports. Here one process
imports everything once, and forks a control process for each line on its standard input:

    {"folder": "/tmp/1", "host": "127.0.0.1", "port": 15025, "driver": "ea_psb", "watchdog_s": 2}
    -> {"pid": 4711, "sentinel": 4712}    once the output is ON and the sentinel watches
    -> {"error": "..."}                   it did not come up, as may happen on a busy machine

Such a process is made of the daemon's own parts: `Heartbeat`, `Recipes`, `Child` (a real sentinel
of its own), `Bus`, `Instrument`, the real driver on a real socket, and an asyncio loop that beats
as the supervisor's does. What it lacks are runs, and whatever could make it end in good order. On
a signal it hangs:

| signal | what hangs |
|---|---|
| SIGUSR1 | the event loop, in a call that blocks |
| SIGUSR2 | the bus thread, in a loop without end |
| SIGALRM | everything: C code keeps the interpreter's lock |
| SIGHUP | the bus thread, for it has ended |
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daq.bus.bus import Bus
from daq.bus.heartbeat import FIRST_BUS_SLOT, LOOP_SLOT, SENTINEL_SLOT, Heartbeat
from daq.bus.resource import make_line, parse_resource
from daq.control.children import Child
from daq.control.instrument import Instrument, InstrumentSpec
from daq.control.recipes import Recipes
from daq.control.supervisor import BEAT_S
from daq.driver import Cycler, find_driver
from daq.model import Protection, Setpoint

PERIOD_S = 0.1
EVER_S = 600
VOLTS, AMPS = (2.0, 4.5), (-3.0, 3.0)


class Deaf:
    """Nobody wants to know of faults here."""

    def fault_began(self, instrument: Instrument, error: Exception) -> None:
        print(f"{instrument.name}: {error}", file=sys.stderr)

    def fault_ended(self, instrument: Instrument, lasted_s: float) -> None:
        return


class StandIn:
    """A control process of one instrument on one bus."""

    def __init__(self, order: dict[str, Any]) -> None:
        folder = Path(order["folder"])
        self.heartbeat = Heartbeat(folder / "heartbeat")
        self.recipes = Recipes(
            folder / "recipes.json", folder / "lab.yaml", {"aps1": FIRST_BUS_SLOT}
        )
        resource = parse_resource(f"TCPIP::{order['host']}::{order['port']}::SOCKET")
        found = find_driver(order["driver"])
        line = make_line(resource, found.settings)
        self.driver = found(line)
        self.watchdog_s = float(order["watchdog_s"])
        spec = InstrumentSpec("aps1", order["driver"], resource.text, PERIOD_S)
        self.instrument = Instrument(spec, line, self.driver, Deaf())
        self.bus = Bus(
            "aps1",
            PERIOD_S,
            tick=self._tick,
            beat=lambda: self.heartbeat.beat(FIRST_BUS_SLOT),
            crashed=lambda error: print(f"crashed: {error!r}", file=sys.stderr),
        )
        line.exchanged = self.bus.exchanged
        arguments = [self.heartbeat.path, self.recipes.path, str(os.getpid()), folder]
        self.sentinel = Child("sentinel", ["-m", "daq.sentinel", *map(str, arguments)])

    def _tick(self) -> None:
        if self.instrument.ready():
            self.instrument.read()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, time.sleep, EVER_S)
        loop.add_signal_handler(signal.SIGUSR2, self.bus.post, _without_end)
        loop.add_signal_handler(signal.SIGALRM, _keep_the_lock)
        loop.add_signal_handler(signal.SIGHUP, self.bus.finish)
        beating = loop.create_task(self._beat())
        self.heartbeat.beat(FIRST_BUS_SLOT)
        self.bus.start()
        await _until(lambda: self.instrument.online)
        self.recipes.connected(self.instrument)
        self.recipes.write()
        self.sentinel.tend()
        await _until(lambda: self.heartbeat.age_s(SENTINEL_SLOT) < 1.0)
        await asyncio.wrap_future(self.bus.call(self._energise))
        assert self.sentinel.process is not None
        pids = {"pid": os.getpid(), "sentinel": self.sentinel.process.pid}
        print(json.dumps(pids), flush=True)
        await beating

    async def _beat(self) -> None:
        while True:
            self.heartbeat.beat(LOOP_SLOT)
            await asyncio.sleep(BEAT_S)

    def _energise(self) -> None:
        assert isinstance(self.driver, Cycler)
        self.driver.clear(1)  # the trial before may have left its watchdog latched
        self.driver.protect(1, Protection(VOLTS, AMPS, self.watchdog_s))
        self.driver.apply(1, Setpoint(4.1, 1.0, 0.0))
        self.driver.on(1)


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - what it waits for is of another thread or process
        await asyncio.sleep(0.01)


def _without_end() -> None:
    while True:
        time.sleep(0.001)  # an endless loop; the rest of the machine is left to the other trials


def _keep_the_lock() -> None:
    ctypes.PyDLL(None).sleep(EVER_S)  # PyDLL, unlike CDLL, does not let go of the lock


def _stand_in(line: str, answer: int) -> None:
    """In the forked process: be a control process until struck."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.close(0)
    os.dup2(answer, 1)
    os.close(answer)
    try:
        asyncio.run(StandIn(json.loads(line)).run())
    except Exception as error:
        print(json.dumps({"error": repr(error)}), flush=True)
        raise


def _answer_of(line: str) -> str:
    """Fork one; what it says once it is up. One that ends before, whoever ends it, says nothing."""
    said, answer = os.pipe()
    if os.fork() == 0:
        os.close(said)
        _stand_in(line, answer)
        os._exit(0)
    os.close(answer)
    with os.fdopen(said) as lines:
        return lines.readline() or json.dumps({"error": "ended before it was up"}) + "\n"


def main() -> None:
    """Fork one for each line; they are reaped by nobody, and end when they are struck."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        sys.stdout.write(_answer_of(line))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
