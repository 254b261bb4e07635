"""How a child process knows that its parent is gone: its standard input ends.

The parent holds the other end of the pipe and never writes to it. However the parent ends, kill
-9 included, the kernel closes that end. Unlike a parent-death signal this works on every POSIX
system, and it survives a child that changes its user id (as mosquitto does when started by
root), which makes Linux forget such a signal.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable


def call_at_eof(gone: Callable[[], object]) -> None:
    """Call `gone` on a thread of its own once standard input has ended."""
    threading.Thread(target=_wait, args=(gone,), name="lifeline", daemon=True).start()


def set_at_end(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends or on SIGTERM; SIGINT is the parent's business.

    Call it on the running loop that waits for the event.
    """
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    call_at_eof(lambda: loop.call_soon_threadsafe(stop.set))


def _wait(gone: Callable[[], object]) -> None:
    # os.read and not sys.stdin: a thread that holds the lock of a buffered file breaks the exit
    # of the interpreter.
    while os.read(0, 4096):
        pass
    gone()
