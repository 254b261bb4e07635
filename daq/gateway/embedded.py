"""`python -m daq.gateway.embedded PORT`: an MQTT broker on loopback, for want of a better one.

It forgets everything when it ends, which the journal makes harmless. It ends when its standard
input ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from amqtt.broker import Broker  # pyright: ignore[reportMissingTypeStubs]
from amqtt.contexts import ListenerConfig  # pyright: ignore[reportMissingTypeStubs]
from amqtt.errors import BrokerError  # pyright: ignore[reportMissingTypeStubs]
from amqtt.mqtt.protocol.broker_handler import (  # pyright: ignore[reportMissingTypeStubs]
    BrokerProtocolHandler,
)
from amqtt.session import (  # pyright: ignore[reportMissingTypeStubs]
    ApplicationMessage,
    Session,
)

from daq.gateway.lifeline import set_at_end

MOST_WAITING = 10
"""Messages of one client that it has sent and that are not yet being passed on."""
MOST_ON_THE_WAY = 300
"""Messages that subscribers have not acknowledged, of all together."""


class InOrder(asyncio.Queue[ApplicationMessage]):
    """A short queue whose putters keep their order; in asyncio's own a late one may overtake."""

    def __init__(self) -> None:
        super().__init__(MOST_WAITING)
        self._turn = asyncio.Lock()

    async def put(self, item: ApplicationMessage) -> None:
        """Add a message, after all that came before it."""
        async with self._turn:
            await super().put(item)


class CarefulBroker(Broker):
    """Mends three of amqtt's ways of losing messages.

    It takes them faster than its subscribers do, and gives up what one of them has not
    acknowledged within 5 s: here whoever publishes has to wait for its acknowledgement meanwhile.

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
        while sum(not task.done() for task in self._tasks_queue) > MOST_ON_THE_WAY:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await super()._broadcast_message(session, topic, data, force_qos)

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
