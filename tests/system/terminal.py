"""A program on a terminal of 80 columns, and somebody who looks at it and types."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_S = 90.0
CTRL_C = b"\x03"
IN_THE_FOREGROUND = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A program in the foreground of a terminal of its own.

    Args:
        command: the program and its arguments.
        folder: where it starts.

    Attributes:
        shown: everything that it has shown so far.
    """

    def __init__(self, command: list[str], folder: Path) -> None:
        self.shown = ""
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", IN_THE_FOREGROUND, *command],
            cwd=folder,
            env=os.environ | {"COLUMNS": "80", "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self.pid = self._process.pid

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        if self._terminal >= 0:
            os.close(self._terminal)

    def shows(self, text: str) -> None:
        """Wait until it has shown a text."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            assert time.monotonic() < deadline, self.shown
            assert self._read(), f"it ended: {self.shown}"

    def types(self, keys: bytes) -> None:
        """Type something; Ctrl-C reaches everything in the foreground."""
        os.write(self._terminal, keys)

    def hang_up(self) -> None:
        """Close the window."""
        os.close(self._terminal)
        self._terminal = -1

    def ends(self) -> int:
        """Wait until it has ended; its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline, self.shown
            if self._terminal >= 0:
                self._read()
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        while self._terminal >= 0 and self._read():
            pass
        return self._process.returncode

    def _read(self) -> bool:
        """Take what it shows; False when nobody can show anything any more."""
        if not select.select([self._terminal], [], [], 0.1)[0]:
            return True
        try:
            data = os.read(self._terminal, 65536)
        except OSError:  # so says Linux
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
