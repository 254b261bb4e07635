"""A word to the service manager, as systemd understands it (sd_notify(3)); silent without one.

`WATCHDOG=1` is sent from the supervisor's loop: the manager ends a daemon whose loop hangs. The
sentinel has switched everything OFF long before that.
"""

from __future__ import annotations

import contextlib
import os
import socket


def ready() -> None:
    """It serves: commands are taken."""
    _say("READY=1")


def alive() -> None:
    """Its loop goes round."""
    _say("WATCHDOG=1")


def stopping() -> None:
    """It has begun to end."""
    _say("STOPPING=1")


def _say(state: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    # Neither a manager that is gone nor one that does not read may hold up the loop.
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as manager,
    ):
        manager.sendto(state.encode(), name)
