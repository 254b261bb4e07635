"""The other three processes: started by control, watched, started again, ended with it.

Each child has a pipe on its standard input that is never written to: when control dies, however
it dies, the pipe closes and the child finishes what it is doing and goes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from daq.clock import monotonic
from daq.control import priority
from daq.logs import get_logger

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
GOOD_AFTER_S = 60.0
YIELDING = 10
"""How much nicer than control; see `nice(2)`."""


@dataclass(slots=True)
class Child:
    """One child process.

    Attributes:
        name: for the log.
        arguments: what follows `python`.
        yields: it leaves the processor to control and the sentinel when there is not enough.
    """

    name: str
    arguments: Sequence[str]
    yields: bool = False
    process: subprocess.Popen[bytes] | None = None
    restarts: int = -1
    _retry_at: float = 0.0
    _started_at: float = 0.0
    _pause_s: float = field(default=FIRST_PAUSE_S)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def lived_s(self) -> float:
        """How long it has run; 0 when it does not."""
        return monotonic() - self._started_at if self.alive else 0.0

    def tend(self) -> bool:
        """Start it if it does not run and its pause is over; whether it had died."""
        if self.alive:
            return False
        died = self._note_death()
        if monotonic() >= self._retry_at:
            self._start()
        return died

    def _note_death(self) -> bool:
        if self.process is None:
            return False
        get_logger().error("a process ended", child=self.name, code=self.process.returncode)
        if monotonic() - self._started_at > GOOD_AFTER_S:
            self._pause_s = FIRST_PAUSE_S
        self._retry_at = monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self.close_pipe()
        self.process = None
        return True

    def _start(self) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - our own module, arguments as a list
            [sys.executable, *self.arguments],
            stdin=subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C is control's business
        )
        priority.give(self.process.pid, YIELDING if self.yields else 0)
        self._started_at = monotonic()
        self.restarts += 1

    def kill(self) -> None:
        """End it at once: it hangs. The next `tend` finds it dead."""
        if self.process and self.alive:
            get_logger().error("a process hangs and is killed", child=self.name)
            self.process.kill()
            self.process.wait()

    def end(self, timeout_s: float) -> None:
        """Close its pipe and wait; kill it when it does not go."""
        process = self.process
        if process is None:
            return
        self.close_pipe()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            get_logger().error("a process had to be killed", child=self.name)
            process.kill()
            process.wait()

    def close_pipe(self) -> None:
        """Tell it to finish."""
        if self.process and self.process.stdin:
            self.process.stdin.close()
