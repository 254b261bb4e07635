"""Leaves a flood of commands at the broker, which can throw away faster than we can read.

Reading a message costs the gateway about 0.2 ms, read or refused. At 10,000 a second it would do
nothing else, take the processor from control, and answer a stop late. So when more come than are
looked at, the subscription is given back for a moment; what was on its way is still read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiomqtt

from daq.clock import monotonic
from daq.gateway.throttle import READ_RATE_HZ, Bucket
from daq.logs import get_logger

log = get_logger()

BURST = 500.0
CLOSED_S = 1.0
CALM_S = 10.0
UNSUBSCRIBE_S = 10.0  # the answer comes behind what the flood has left on the way


class FloodGate:
    """Watches what comes over one connection, and shuts it out when it is too much.

    Args:
        client: a connection, subscribed to `topic`.
        topic: what a flood may come on.
        instead: what stays subscribed meanwhile.
    """

    def __init__(self, client: aiomqtt.Client, topic: str, instead: Sequence[str] = ()) -> None:
        self._client = client
        self._topic = topic
        self._instead = [(name, 1) for name in instead]
        self._bucket = Bucket(READ_RATE_HZ, BURST)
        self._flooded = asyncio.Event()
        self._told_s: float | None = None

    def note(self) -> None:
        """One more message has come."""
        if not self._bucket.take(monotonic()):
            self._flooded.set()

    async def run(self) -> None:
        """Close and open, until cancelled.

        Raises:
            MqttError: the broker does not answer. Who knows then what is subscribed: connect anew.
        """
        while True:
            await self._flooded.wait()
            self._tell()
            await self._close()
            _honour_cancellation()
            await asyncio.sleep(CLOSED_S)
            await self._open()
            _honour_cancellation()
            self._flooded.clear()

    def _tell(self) -> None:
        now_s = monotonic()
        if self._told_s is None or now_s - self._told_s > CALM_S:
            log.warning("flood_of_commands", topic=self._topic)
        self._told_s = now_s

    async def _close(self) -> None:
        if self._instead:
            await self._client.subscribe(self._instead, timeout=UNSUBSCRIBE_S)
        await self._client.unsubscribe(self._topic, timeout=UNSUBSCRIBE_S)

    async def _open(self) -> None:
        await self._client.subscribe(self._topic, 1)
        if self._instead:
            await self._client.unsubscribe([name for name, _ in self._instead])


def _honour_cancellation() -> None:
    # The client waits with asyncio.wait_for, which until Python 3.12 may swallow one.
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError
