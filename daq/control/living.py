"""Who must live: the sentinel, the recorder and gateway, the bus threads.

A child that ends is started again (daq/control/children.py), a sentinel that hangs is ended first.
A bus thread that ends cannot be: the sentinel takes over, and here is said why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daq.bus.bus import Bus
from daq.bus.heartbeat import SENTINEL_SLOT, Heartbeat
from daq.clock import monotonic
from daq.control.alarms import Alarms, Cause
from daq.control.children import Child

SILENCE_S = 1.5
HUNG_S = 5.0
"""A sentinel that lives and has not beaten for so long hangs."""
GONE_S = 10.0
"""Nothing that is energised stays so without a sentinel for longer."""


class Living:
    """On the event loop.

    Args:
        sentinel: its child process.
        others: the other ones.
        buses: by name.
        alarms: told of the sentinel and of the buses; of the others by alarms/watch.py.
    """

    def __init__(
        self,
        sentinel: Child,
        others: Sequence[Child],
        buses: Mapping[str, Bus],
        heartbeat: Heartbeat,
        alarms: Alarms,
    ) -> None:
        self._sentinel = sentinel
        self._others = others
        self._buses = buses
        self._heartbeat = heartbeat
        self._alarms = alarms
        self._began_s = monotonic()
        self._dead: set[str] = set()

    def tend(self) -> None:
        """Start again what has ended, and tell."""
        self._tend_sentinel()
        for child in self._others:
            child.tend()
        for name, bus in self._buses.items():
            if not bus.alive and name not in self._dead:
                self._dead.add(name)
                message = f"the thread of bus {name} has ended; the sentinel takes over"
                self._alarms.raise_(Cause.BUS_THREAD_DIED, message, instrument=name)

    def sentinel_gone(self) -> str:
        """What is wrong when there has been no sentinel for long."""
        silent_s = min(self._heartbeat.age_s(SENTINEL_SLOT), monotonic() - self._began_s)
        return f"there has been no sentinel for {GONE_S:g} s" if silent_s > GONE_S else ""

    def _tend_sentinel(self) -> None:
        silent_s = self._heartbeat.age_s(SENTINEL_SLOT)
        if silent_s > HUNG_S and self._sentinel.lived_s > HUNG_S:
            self._sentinel.kill()
        if self._sentinel.tend():
            message = "the sentinel ended; nothing is energised until it is back"
            self._alarms.raise_(Cause.SENTINEL_DIED, message)
        elif silent_s < SILENCE_S:
            self._alarms.end(Cause.SENTINEL_DIED)
