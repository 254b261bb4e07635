"""Where the daemon's processes stand in the queue for the processor.

The niceness of a process counts among the processes of its session only, where the kernel groups
them by session (Linux: `sched_autogroup_enabled`; "The nice value and group scheduling" in
sched(7)). Every process of the daemon has a session of its own, so its session is given the same
niceness. Other systems, and services with a control group of their own, need nothing of this.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def claim() -> None:
    """What we were started with holds for our session, unless it is somebody's terminal."""
    if os.getsid(0) == os.getpid():
        _tell_session(os.getpid(), _own())


def give(pid: int, nicer_by: int = 0) -> None:
    """Let a child with a session of its own stand where we do, or so far behind us."""
    with suppress(OSError):  # it may have ended already
        os.setpriority(os.PRIO_PROCESS, pid, _own() + nicer_by)
    _tell_session(pid, _own() + nicer_by)


def _own() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def _tell_session(pid: int, niceness: int) -> None:
    if niceness == 0:
        return  # so every session begins, and the kernel takes ten of these a second
    with suppress(OSError):  # not there, or not allowed: then it is as it was
        (_PROC / str(pid) / "autogroup").write_text(str(min(niceness, 19)), encoding="ascii")
