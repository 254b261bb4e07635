"""The gateway's end of the control socket: one request, one connection, one answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from daq.control.client import SOCKET_NAME, decode_reply
from daq.control.requests import Request, encode_request
from daq.errors import DaqError
from daq.model import Reply

_LONGEST_ANSWER = 4_000_000


class NoAnswer(DaqError):  # noqa: N818 - named like the other errors
    """A command was sent and not answered: nobody knows whether it was carried out."""


class Uplink:
    """Asks control over its local socket.

    Each request has a connection of its own, so that none waits for the answer to another.
    Beside `daq.control.client.ask` it tells "nobody was there" from "nobody answered": the
    first is a refusal, and calling the second one would be a lie.

    Args:
        data: the lab's data folder.
    """

    def __init__(self, data: Path) -> None:
        self._socket = data / SOCKET_NAME

    async def ask(self, request: Request, timeout_s: float) -> Reply:
        """The answer of control.

        Raises:
            DaqError: nobody is there, so the command was not carried out.
            NoAnswer: it was sent and not answered in time, or the line broke.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(request)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise NoAnswer(str(error)) from error

    async def _exchange(self, request: Request) -> Reply:
        try:
            reader, writer = await asyncio.open_unix_connection(self._socket, limit=_LONGEST_ANSWER)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise DaqError("the daemon does not run") from error
        try:
            writer.write(encode_request(request))
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise NoAnswer("the daemon closed the line")
        return decode_reply(line)
