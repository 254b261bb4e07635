"""Disk space, taken before HDF5 needs it.

HDF5 does not survive a write that fails: closing the file raises, the handle stays, and the
interpreter crashes at exit. So it never gets to see a full disk: the space for what comes next
is allocated first, by a call that fails cleanly.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

_RESERVE = 32 << 20  # the last of a disk belongs to the journal
_SLACK = 256 << 10  # for HDF5's own structures: object headers, chunk indexes
_STEP = 1 << 20


def require_room(folder: Path, need: int = 0) -> None:
    """Check that so many bytes, and a reserve, are free.

    Raises:
        OSError: ENOSPC.
    """
    free = shutil.disk_usage(folder).free
    if free < need + _RESERVE:
        raise OSError(errno.ENOSPC, f"{free >> 20} MiB free, {(need + _RESERVE) >> 20} needed")


class Room:
    """Keeps one open HDF5 file ahead of its own growth.

    Where the system cannot allocate ahead (macOS), nothing is done: a full disk then ends the
    recorder, control starts it again, and it makes its files anew from the journal.
    """

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDWR)
        self._allocate = getattr(os, "posix_fallocate", None)

    def take(self, used: int, need: int = 0) -> None:
        """Make sure that `need` bytes can be added.

        Args:
            used: size of the file as HDF5 sees it.
            need: bytes of data to be written next.

        Raises:
            OSError: there is no room.
        """
        size = os.fstat(self._handle).st_size
        end = used + need + need // 8 + _SLACK
        if self._allocate and end > size:
            self._allocate(self._handle, size, end - size + _STEP)

    def give_back(self, used: int) -> None:
        """Cut off what was taken and not used, once HDF5 has closed the file."""
        os.ftruncate(self._handle, used)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._handle)
