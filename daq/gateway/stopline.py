"""A second connection to the broker, for `stop` and `pause` alone.

A broker keeps a queue for each connection. Under a flood of other commands a stop would wait in
that queue behind thousands of them, and be thrown away when it is full; here it is alone. Both
connections take every stop, so that the loss of one loses none; the desk drops the second copy.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

import aiomqtt

from daq.access.roles import OFF_VERBS
from daq.clock import monotonic
from daq.gateway.batches import Outgoing
from daq.gateway.broker import Address, Broker
from daq.gateway.topics import Topics

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 8.0
ECHO_S = 10.0
REPLY_S = 3.0
MOST_REMEMBERED = 1000

Connect = Callable[[Address, str], aiomqtt.Client]
"""Makes a client for an address, under an id that is the gateway's with this ending."""


class StopLine:
    """Keeps the connection whenever the gateway's other one is up, which finds out about logins.

    Args:
        connect: makes a client, not connected yet.
        take: takes a message; must not block.
        wanted: set while the other connection is up.
        stop: set before `run` is cancelled.
    """

    def __init__(
        self,
        topics: Topics,
        broker: Broker,
        connect: Connect,
        take: Callable[[aiomqtt.Message], None],
        *,
        wanted: asyncio.Event,
        stop: asyncio.Event,
    ) -> None:
        self._topics = topics
        self._broker = broker
        self._connect = connect
        self._take = take
        self._wanted = wanted
        self._stop = stop
        self._client: aiomqtt.Client | None = None

    async def publish(self, message: Outgoing) -> None:
        """Publish a reply, past what floods the other connection.

        Raises:
            MqttError: there is no connection, or the broker does not take it.
        """
        if self._client is None:
            raise aiomqtt.MqttError("not connected")
        await self._client.publish(message.topic, message.payload, qos=1, timeout=REPLY_S)

    async def run(self) -> None:
        """Connect, and connect again, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            await self._wanted.wait()
            began_s = monotonic()
            with suppress(
                aiomqtt.MqttError, OSError
            ):  # the other connection meets it too: it tells
                await self._serve(await self._broker.address())
            self._honour_stop()
            lasted = monotonic() - began_s > LONGEST_PAUSE_S
            pause_s = FIRST_PAUSE_S if lasted else min(2 * pause_s, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311

    async def _serve(self, address: Address) -> None:
        async with self._connect(address, "-off") as client:
            await client.subscribe([(self._topics.command(verb), 1) for verb in sorted(OFF_VERBS)])
            self._honour_stop()
            self._client = client
            try:
                async for message in client.messages:
                    self._take(message)
            finally:
                self._client = None

    def _honour_stop(self) -> None:
        if self._stop.is_set():  # see Gateway: a cancellation may have been swallowed
            raise asyncio.CancelledError


class Echoes:
    """Tells the second copy of a message, which came over the other connection."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[bytes, bool], float] = OrderedDict()

    def is_echo(self, topic: str, payload: bytes, *, on_stop_line: bool) -> bool:
        """Whether the other connection has brought this already; each copy counts once."""
        name = hashlib.sha256(f"{topic}\n".encode() + payload).digest()
        now_s = monotonic()
        came_s = self._seen.pop((name, not on_stop_line), None)
        if came_s is not None and now_s - came_s < ECHO_S:
            return True
        self._seen[name, on_stop_line] = now_s
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return False
