"""A TCP line between a client and a server on this machine, that can misbehave on command.

Cut, it refuses connections and has reset those that it had; held, it accepts everything and passes
nothing on, like a router that has lost its way; slow, it passes so many bytes a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any

_RST_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK = 65536

Edit = Callable[[bytes], bytes]


class Line:
    """The line, on a thread of its own; usable from any other.

    Attributes:
        port: Where it listens, on loopback, for as long as it lives.
        connections: How many it has accepted so far.
        to_client: What becomes of a chunk on its way to the client; None lets it pass.
        to_server: The same for the other direction.
        bytes_per_s: How fast each direction is; 0 for as fast as it goes.

    Args:
        server_port: Where the server listens, on loopback.
    """

    def __init__(self, server_port: int) -> None:
        self.connections = 0
        self.to_client: Edit | None = None
        self.to_server: Edit | None = None
        self.bytes_per_s = 0.0
        self._server_port = server_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)
        self._thread.start()
        self._do(self._listen())

    def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        self._do(self._cut())

    def mend(self) -> None:
        """Take connections again, on the same port."""
        self._do(self._listen())

    def hold(self) -> None:
        """Pass nothing on any more, and say nothing about it."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def release(self) -> None:
        """Pass on what was held, and what comes."""
        self._loop.call_soon_threadsafe(self._open.set)

    def reset(self) -> None:
        """Reset every connection; new ones are welcome."""
        self._do(self._reset())

    def close(self) -> None:
        """End it."""
        self.release()
        self._do(self._cut())
        self._do(_settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10.0)

    async def _listen(self) -> None:
        if self._server is None:
            if self._socket.fileno() == -1:
                self._socket = socket.create_server(("127.0.0.1", self.port))
            self._server = await asyncio.start_server(self._serve, sock=self._socket)

    async def _cut(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        await self._reset()

    async def _reset(self) -> None:
        for writer in self._writers:
            taken: socket.socket = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST_ON_CLOSE)
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._open.wait()  # a black hole does not reach the server
            there, back = await asyncio.open_connection("127.0.0.1", self._server_port)
            self._writers.add(back)
            await asyncio.gather(
                self._pass(reader, back, lambda: self.to_server),
                self._pass(there, writer, lambda: self.to_client),
            )
        writer.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        edit: Callable[[], Edit | None],
    ) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                await self._open.wait()
                change = edit()
                writer.write(change(chunk) if change else chunk)
                await writer.drain()
                if self.bytes_per_s:
                    await asyncio.sleep(len(chunk) / self.bytes_per_s)
        finally:
            writer.close()


async def _settle() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
