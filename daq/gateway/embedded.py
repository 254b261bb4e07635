"""`python -m daq.gateway.embedded PORT`: an MQTT broker on loopback, for want of a better one.

It forgets everything when it ends, which the journal makes harmless. It ends when its standard
input ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from time import monotonic
from typing import Any

from amqtt.adapters import (  # pyright: ignore[reportMissingTypeStubs]
    ReaderAdapter,
    StreamWriterAdapter,
    WriterAdapter,
)
from amqtt.broker import Broker  # pyright: ignore[reportMissingTypeStubs]
from amqtt.contexts import ListenerConfig  # pyright: ignore[reportMissingTypeStubs]
from amqtt.errors import BrokerError  # pyright: ignore[reportMissingTypeStubs]
from amqtt.mqtt.protocol.broker_handler import (  # pyright: ignore[reportMissingTypeStubs]
    BrokerProtocolHandler,
)
from amqtt.session import (  # pyright: ignore[reportMissingTypeStubs]
    ApplicationMessage,
    IncomingApplicationMessage,
    OutgoingApplicationMessage,
    Session,
)

from daq.gateway.lifeline import set_at_end

MOST_WAITING = 10
"""Messages of one client that it has sent and that are not yet being passed on."""
MOST_ON_THE_WAY = 300
"""Messages that one subscriber has not taken: whoever publishes to it has to wait."""
MOST_COMMANDS = 1000
"""Commands wait for nobody who hears them by the way; with so many more not taken, it is sent away.
"""
PATIENCE_S = 30.0
"""A subscriber that is waited for, and takes nothing for so long, is sent away."""


class InOrder(asyncio.Queue[ApplicationMessage]):
    """A short queue whose putters keep their order; in asyncio's own a late one may overtake."""

    def __init__(self) -> None:
        super().__init__(MOST_WAITING)
        self._turn = asyncio.Lock()

    async def put(self, item: ApplicationMessage) -> None:
        """Add a message, after all that came before it."""
        async with self._turn:
            await super().put(item)


class Taker(BrokerProtocolHandler):
    """The connection of one client, which knows how much is on the way to it.

    Of amqtt's own, the wait for an acknowledgement ends after 5 s, with a traceback. A subscriber
    that has 300 messages before it may well take longer, and they do arrive.
    """

    on_the_way = 0
    _took_s = 0.0

    async def mqtt_publish(self, *args: Any, **more: Any) -> OutgoingApplicationMessage:
        """Send, and wait until it is acknowledged."""
        if not self.on_the_way:
            self._took_s = monotonic()
        self.on_the_way += 1
        try:
            return await super().mqtt_publish(*args, **more)
        finally:
            self.on_the_way -= 1
            self._took_s = monotonic()

    def is_stuck(self) -> bool:
        """Whether it has taken nothing for as long as anybody is waited for."""
        return self.on_the_way > 0 and monotonic() - self._took_s > PATIENCE_S

    def send_away(self) -> None:
        """End the connection now. To close it would be to wait until it has taken everything."""
        if isinstance(self.writer, StreamWriterAdapter):
            self.writer._writer.transport.abort()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def _handle_qos1_message_flow(
        self, app_message: OutgoingApplicationMessage | IncomingApplicationMessage
    ) -> None:
        if not isinstance(app_message, OutgoingApplicationMessage) or self.session is None:
            await super()._handle_qos1_message_flow(app_message)
            return
        number = app_message.packet_id or 0  # 0 is no number; who publishes gives each its own
        again = app_message.publish_packet is not None
        self.session.inflight_out[number] = app_message
        app_message.publish_packet = app_message.build_publish_packet(dup=again)
        self._puback_waiters[number] = waiter = asyncio.Future[Any]()
        try:
            await self._send_packet(app_message.publish_packet)
            app_message.puback_packet = await waiter
        finally:
            self._puback_waiters.pop(number, None)
            self.session.inflight_out.pop(number, None)


class CarefulBroker(Broker):
    """Mends four of amqtt's ways of losing messages, and of holding them up.

    It takes them faster than its subscribers do: here whoever publishes has to wait for them. But
    only for those that take what is published there, and only while they take anything at all; and
    a command waits for nobody but those that listen to commands, or one hung display would hold up
    every stop.

    It acknowledges a message before it passes it on, and forgets what it has not passed on when
    the connection ends: then an acknowledgement would mean nothing. And when a second client comes
    with the id of one that is there, it forgets the first one's session but leaves its connection
    standing (against MQTT-3.1.4-2): neither hears of the other.
    """

    async def _delete_session(self, client_id: str) -> None:
        session, handler = self._sessions.get(client_id, (None, None))
        if not (session and handler and handler.reader and session.transitions.is_connected()):
            await super()._delete_session(client_id)
            return
        del self._sessions[client_id]
        await self._del_all_subscriptions(session)
        # As if the client had hung up: its own task then passes on what there is, publishes its
        # will and closes. Not handler.stop(): that waits for ever for a reader whose cancellation
        # got lost in asyncio.wait_for (cpython#86296).
        handler.reader.feed_eof()

    async def _client_message_loop(
        self, client_session: Session, handler: BrokerProtocolHandler
    ) -> None:
        await super()._client_message_loop(client_session, handler)
        await self._pass_on(client_session)

    async def _broadcast_message(
        self,
        session: Session | None,
        topic: str | None,
        data: bytes | bytearray | None,
        force_qos: int | None = None,
    ) -> None:
        while topic and self._must_wait(topic):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await super()._broadcast_message(session, topic, data, force_qos)

    def _must_wait(self, topic: str) -> bool:
        """Whether somebody must take more before another message on this topic is passed on."""
        late = [
            (taker, listened_to)
            for listened_to, subscriptions in self._subscriptions.items()
            if self._matches(topic, listened_to)
            for session, _ in subscriptions
            if (taker := self._taker(session)) and taker.on_the_way >= MOST_ON_THE_WAY
        ]
        for taker, _ in late:
            if taker.is_stuck() or taker.on_the_way >= MOST_ON_THE_WAY + MOST_COMMANDS:
                taker.send_away()
        waits_for_all = not _is_about_commands(topic)
        return any(waits_for_all or _is_about_commands(listened_to) for _, listened_to in late)

    def _taker(self, session: Session) -> Taker | None:
        handler = self._get_handler(session)
        connected = session.transitions.state == "connected"
        return handler if connected and isinstance(handler, Taker) else None

    async def _initialize_client_session(
        self, reader: ReaderAdapter, writer: WriterAdapter, remote_address: str, remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        _, session = await super()._initialize_client_session(
            reader, writer, remote_address, remote_port
        )
        return Taker(self.plugins_manager), session

    async def _authenticate(self, session: Session, _: ListenerConfig) -> bool:
        session.delivered_message_queue = InOrder()
        return await super()._authenticate(session, _)

    async def _pass_on(self, session: Session) -> None:
        """Everything that was acknowledged to this client and still waits."""
        while not session.delivered_message_queue.empty():
            message = session.delivered_message_queue.get_nowait()
            await self._broadcast_message(session, message.topic, message.data)
            if message.publish_packet and message.publish_packet.retain_flag:
                await self.retain_message(session, message.topic, message.data, message.qos)


def _is_about_commands(topic: str) -> bool:
    """Of `daq/LAB/cmd/VERB`, or of a filter that names commands."""
    return topic.split("/")[2:3] == ["cmd"]


async def serve(port: int) -> None:
    """Run the broker until standard input ends, then end the process."""
    stop = asyncio.Event()
    set_at_end(stop)
    broker = CarefulBroker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
            },
        }
    )
    try:
        await broker.start()
    except BrokerError:
        os._exit(1)
    print(os.getpid(), flush=True)
    await stop.wait()
    # Not broker.shutdown(), nor the cancellation of its tasks: it takes seconds to say goodbye
    # to its clients and has nothing to save. The kernel closes the connections.
    os._exit(0)


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.ERROR)
    # What a client that was thrown out goes on to say is a traceback to asyncio.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    asyncio.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
