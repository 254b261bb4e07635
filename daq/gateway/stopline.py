"""Two more connections to the broker: one for `stop` alone, one for `pause` alone.

A broker keeps a queue for each connection. Under a flood of other commands a stop would wait in
that queue behind thousands of them, and be thrown away when it is full; here it is alone. The
gateway's first connection takes it too, so that the loss of one loses none; the desk drops the
second copy.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import OrderedDict
from collections.abc import Callable

import aiomqtt

from daq.clock import monotonic
from daq.gateway.batches import Outgoing
from daq.gateway.broker import Address, Broker
from daq.gateway.floodgate import FloodGate
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
        verb: what it is for.
        ending: of its client id.
        gated: whether a flood of the verb is left at the broker; then some of them are lost.
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
        verb: str,
        ending: str,
        gated: bool,
        wanted: asyncio.Event,
        stop: asyncio.Event,
    ) -> None:
        self._topic = topics.command(verb)
        self._ending = ending
        self._gated = gated
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
            try:
                await self._serve(await self._broker.address())
            except* (aiomqtt.MqttError, OSError):
                pass  # the first connection meets it too: it tells
            self._honour_stop()
            lasted = monotonic() - began_s > LONGEST_PAUSE_S
            pause_s = FIRST_PAUSE_S if lasted else min(2 * pause_s, LONGEST_PAUSE_S)
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311

    async def _serve(self, address: Address) -> None:
        async with self._connect(address, self._ending) as client:
            await client.subscribe(self._topic, 1)
            self._honour_stop()
            self._client = client
            try:
                await self._receive(client)
            finally:
                self._client = None

    async def _receive(self, client: aiomqtt.Client) -> None:
        gate = FloodGate(client, self._topic)
        async with asyncio.TaskGroup() as group:
            if self._gated:
                group.create_task(gate.run())
            async for message in client.messages:
                gate.note()
                self._take(message)

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
