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
from amqtt.errors import BrokerError  # pyright: ignore[reportMissingTypeStubs]
from amqtt.mqtt.protocol.broker_handler import (  # pyright: ignore[reportMissingTypeStubs]
    BrokerProtocolHandler,
)
from amqtt.session import Session  # pyright: ignore[reportMissingTypeStubs]

from daq.gateway.lifeline import set_at_end


class CarefulBroker(Broker):
    """Mends two of amqtt's ways at the end of a connection.

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
