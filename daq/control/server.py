"""The local command socket: takes commands, one task each, and never makes a `stop` wait.

Each connection may send many commands; every command runs in its own task, so that one that
takes long does not hold up the next. What a command means is daq/control/commands.py.

Who connects is asked of the kernel; what they may do is daq/control/door.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from daq.access.peer import Peer, peer_of
from daq.control.client import LONGEST_COMMAND, SOCKET_NAME, encode_reply
from daq.control.requests import Request, decode_request
from daq.errors import DaqError
from daq.logs import get_logger
from daq.model import Reply

LONGEST_LINE = 2_000_000
AT_ONCE = 32
"""Commands of one connection that are carried out at once. More wait in its socket: the loop that
takes them also shows the sentinel that control lives."""
Handler = Callable[[Request, Peer], Awaitable[Reply]]


class CommandServer:
    """Serves the socket in the lab's data folder.

    Args:
        data: the folder.
        handle: answers one request; must not raise for a refused one.
    """

    def __init__(self, data: Path, handle: Handler) -> None:
        self._path = data / SOCKET_NAME
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind the socket; replaces one that a dead daemon left behind (the lab is locked)."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve, self._path, limit=LONGEST_COMMAND
        )
        self._path.chmod(0o600)

    async def stop(self) -> None:
        """Take no more commands; those being carried out are finished first."""
        if self._server:
            self._server.close()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)
        self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks: set[asyncio.Task[None]] = set()
        room = asyncio.Semaphore(AT_ONCE)
        peer = peer_of(writer.get_extra_info("socket"))
        try:
            while line := await reader.readline():
                await room.acquire()
                await asyncio.sleep(0)  # lines that are there are read without a pause
                task = asyncio.create_task(self._answer(line, peer, writer))
                task.add_done_callback(lambda _: room.release())
                for owner in (tasks, self._tasks):
                    owner.add(task)
                    task.add_done_callback(owner.discard)
            await asyncio.gather(*tasks)  # it has said all, and may still listen
        except (ValueError, OSError) as error:  # too long a line, or the peer is gone
            get_logger().warning("command connection dropped", error=str(error))
        finally:
            writer.close()

    async def _answer(self, line: bytes, peer: Peer, writer: asyncio.StreamWriter) -> None:
        try:
            reply = await self._handle(decode_request(line), peer)
        except DaqError as error:
            reply = Reply("", "refused", str(error))
        if not writer.is_closing():
            writer.write(encode_reply(reply))
            try:
                await writer.drain()
            except OSError:
                return  # the asker has gone; the reply is in the journal
