"""The test's side of shim.c: build it, steer it, and read what it has logged."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path

_SOURCE = Path(__file__).parent / "shim.c"
_CONTROL = struct.Struct("=7qd")
_HEAD = struct.Struct("=IIQQ")
ENOSPC, EIO, EROFS = errno.ENOSPC, errno.EIO, errno.EROFS


class Kind(IntFlag):
    """What is done to a file; a deed may be meant for several kinds."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 4
    UNLINK = 8
    ACK = 16
    ANY = 15


class Deed(IntEnum):
    """What the disk does at the n-th operation."""

    NOTHING = 0
    FAIL = 1
    KILL_BEFORE = 2
    KILL_AFTER = 3
    DELAY = 4


class File(IntEnum):
    """The files of a journal; the last is where a test notes what was acknowledged."""

    DATABASE = 0
    WAL = 1
    ROLLBACK = 2
    FOLDER = 3
    ACKS = 4


@dataclass(frozen=True, slots=True)
class Operation:
    """One that SQLite has asked of the kernel. `offset` of a truncation is the new length."""

    kind: Kind
    file: File
    offset: int
    data: bytes


def build(folder: Path) -> Path:
    """Compile the shim."""
    library = folder / "shim.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return library


class Disk:
    """One disk, shared by all processes that are started with its `environment`."""

    def __init__(self, library: Path, folder: Path, *, logged: bool = False) -> None:
        self._path = folder / "disk.control"
        self._path.write_bytes(bytes(_CONTROL.size))
        self.log = folder / "disk.log"
        self.environment = {"LD_PRELOAD": str(library), "DISK_CONTROL": str(self._path)}
        if logged:
            self.environment["DISK_LOG"] = str(self.log)
        self._attach()

    def _attach(self) -> None:
        handle = os.open(self._path, os.O_RDWR)
        self._memory = mmap.mmap(handle, _CONTROL.size)
        os.close(handle)

    @classmethod
    def inherited(cls) -> Disk:
        """The disk that this very process runs on."""
        disk = cls.__new__(cls)
        disk._path = Path(os.environ["DISK_CONTROL"])
        disk._attach()
        return disk

    def will(
        self,
        deed: Deed,
        *,
        at: int = 1,
        for_ever: bool = False,
        kinds: Kind = Kind.ANY,
        error: int = ENOSPC,
        delay_s: float = 0.0,
    ) -> None:
        """Do a deed at the n-th operation from now on, of those kinds, once or for ever."""
        values = (0, at, int(for_ever), deed, kinds, error, 0, delay_s)
        self._memory[:] = _CONTROL.pack(*values)

    def mended(self) -> None:
        """Work as a disk should; what it has counted stays to be seen."""
        self._memory[24:32] = struct.pack("=q", Deed.NOTHING)

    @property
    def operations(self) -> int:
        """How many there were since it was last told what to do."""
        return _CONTROL.unpack(self._memory[:])[0]

    @property
    def hits(self) -> int:
        """How often it has done its deed."""
        return _CONTROL.unpack(self._memory[:])[6]


def read_log(path: Path) -> Iterator[Operation]:
    """Every operation, in its order."""
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            kind, which, offset, length = _HEAD.unpack(head)
            yield Operation(Kind(kind), File(which), offset, file.read(length))
