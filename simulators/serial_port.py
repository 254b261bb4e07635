"""Real serial ports (ptys) in front of simulated instruments."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from pathlib import Path

from simulators.servers import Box, Line

_MOST_WAITING_BYTES = 1 << 20  # a serial port that nobody reads forgets beyond this


class PtyPort:
    """A serial port: a pty behind a symlink that keeps its name.

    Args:
        box: The instrument.
        link: Where clients find it; replaced if it is a symlink already.
        scheme: How the address is printed.
    """

    def __init__(self, box: Box, link: Path, scheme: str = "pty") -> None:
        self.box = box
        self.link = link
        self._scheme = scheme
        self._master = self._slave = -1
        self._line: Line | None = None
        self._unsent = bytearray()

    @property
    def address(self) -> str:
        """The symlink, as a URL."""
        return f"{self._scheme}:{self.link}"

    async def open(self) -> None:
        """Make the pty and its symlink.

        Raises:
            OSError: The link cannot be made, or something else is in its place.
        """
        self.link.parent.mkdir(parents=True, exist_ok=True)
        if self.link.is_symlink():
            self.link.unlink()
        self._plug_in()

    def _plug_in(self) -> None:
        # Our own hold on the slave end keeps the master readable while no client has it open.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.link.symlink_to(os.ttyname(self._slave))
        self._line = Line(self.box, self._write)
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def close(self) -> None:
        """Remove the symlink and hang up."""
        if self._line is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._master)
        loop.remove_writer(self._master)
        with contextlib.suppress(FileNotFoundError):
            self.link.unlink()
        os.close(self._master)
        os.close(self._slave)
        self._line.close()
        self._line = None
        self._unsent.clear()

    def tick(self) -> None:
        """Do what faults and the session ask for since the last beat."""
        if self.box.faults.planned or self._line is None:
            self._suffer()
        self.box.advance()
        if self._line is not None:
            self._line.tick()

    def _suffer(self) -> None:
        self.box.faults.advance()
        if self.box.faults.hangup() or self.box.faults.refusing:
            self.close()  # as pulling the plug does; the next beat plugs it in again
        elif self._line is None:
            self._plug_in()

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except BlockingIOError:
            return
        if data and self._line is not None:
            self._line.receive(data)

    def _write(self, data: bytes) -> None:
        if len(self._unsent) + len(data) > _MOST_WAITING_BYTES:
            return
        self._unsent += data
        self._drain()

    def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(BlockingIOError):
            del self._unsent[: os.write(self._master, self._unsent)]
        if self._unsent:
            loop.add_writer(self._master, self._drain)
        else:
            loop.remove_writer(self._master)
