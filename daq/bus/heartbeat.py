"""Heartbeats in shared memory: every bus thread beats after each exchange and each full pass.

The sentinel watches.

The file is a row of little-endian doubles, each a `monotonic()` stamp, then the names:

| slot | beaten by |
|---|---|
| 0 | the sentinel itself |
| 1 | control's event loop |
| 2... | one bus thread each |

A stamp of 0 is a slot that nobody has used yet; RETIRED means "the owner ended on purpose,
after its outputs were verified OFF". daq/sentinel.py reads the same layout without importing
this module: it must not depend on anything.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from daq.clock import monotonic

SENTINEL_SLOT = 0
LOOP_SLOT = 1
FIRST_BUS_SLOT = 2
SLOTS = 512
RETIRED = -1.0
_DOUBLE = struct.Struct("<d")


def last_beat_s(path: Path) -> float | None:
    """Last beat of the event loop of the session that wrote this file; None where none is owed.

    None for a session that retired, for one that never beat, and where there is no such file.
    """
    try:
        stamp: float = _DOUBLE.unpack_from(path.read_bytes(), LOOP_SLOT * _DOUBLE.size)[0]
    except (OSError, struct.error):
        return None
    return stamp if stamp > 0 else None


class Heartbeat:
    """The writing side, in control. Making it forgets every earlier beat."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # an old sentinel keeps its own copy of the old one
        with path.open("w+b") as file:
            file.truncate(SLOTS * _DOUBLE.size)
            self._memory = mmap.mmap(file.fileno(), SLOTS * _DOUBLE.size)

    def beat(self, slot: int) -> None:
        """Stamp a slot with the present moment."""
        _DOUBLE.pack_into(self._memory, slot * _DOUBLE.size, monotonic())

    def retire(self, slot: int) -> None:
        """Say that this slot's owner ended on purpose."""
        _DOUBLE.pack_into(self._memory, slot * _DOUBLE.size, RETIRED)

    def age_s(self, slot: int) -> float:
        """Seconds since the slot's last beat; infinite before the first."""
        stamp: float = _DOUBLE.unpack_from(self._memory, slot * _DOUBLE.size)[0]
        return monotonic() - stamp if stamp > 0 else float("inf")
