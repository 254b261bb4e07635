"""Who is at the other end of a local socket, as the kernel knows it."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

from daq.model import Role

_ROOT = 0
_CREDENTIALS = struct.Struct("3i")  # struct ucred of Linux: pid, uid, gid


class HasOptions(Protocol):
    """A socket, or what asyncio shows of one."""

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes:
        """Read an option of the socket."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """A process of this machine."""

    pid: int
    uid: int

    @property
    def role(self) -> Role:
        """The owner of the daemon, and root, may do everything; nobody else anything."""
        return Role.ADMIN if self.uid in (os.geteuid(), _ROOT) else Role.NOBODY


def peer_of(connection: HasOptions) -> Peer:
    """Who opened this connection."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return Peer(pid, uid)
