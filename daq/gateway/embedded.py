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

from daq.gateway.lifeline import set_at_end


class OneOfEachName(Broker):
    """Ends the earlier connection of a client id when a new one comes, as MQTT demands.

    amqtt forgets the earlier session and leaves its connection standing (MQTT-3.1.4-2): two
    clients of one id then live side by side, and neither hears of the other.
    """

    async def _delete_session(self, client_id: str) -> None:
        session, handler = self._sessions.get(client_id, (None, None))
        await super()._delete_session(client_id)
        if session and handler and handler.reader and session.transitions.is_connected():
            # As if the client had hung up: its own task then publishes its will and closes. Not
            # handler.stop(): that waits for ever for a reader whose cancellation got lost in
            # asyncio.wait_for (cpython#86296).
            handler.reader.feed_eof()


async def serve(port: int) -> None:
    """Run the broker until standard input ends, then end the process."""
    stop = asyncio.Event()
    set_at_end(stop)
    broker = OneOfEachName(
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
    asyncio.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
