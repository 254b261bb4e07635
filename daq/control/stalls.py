"""Names what holds a thread up: the event loop, or a bus thread between two signs of life.

A small thread looks every 50 ms. What is late by more than 100 ms is logged once, with the frames
of the thread that is at fault, from `sys._current_frames`. Beyond 1.5 s the sentinel acts, and
this log says why it had to.
"""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

from daq.clock import monotonic
from daq.logs import get_logger

LOOK_S = 0.05
LATE_S = 0.1
FRAMES = 8
TELL_AGAIN_S = 600.0
"""The same line of code again is no news."""
_HERE = str(Path(__file__).parent.parent.parent)


class Watched:
    """One thread.

    Args:
        name: for the log.
        held_s: seconds since it should have given a sign of life; 0 while it rests.
        thread: its number (`threading.get_ident`); None before it runs.
    """

    def __init__(
        self, name: str, held_s: Callable[[], float], thread: Callable[[], int | None]
    ) -> None:
        self.name = name
        self.held_s = held_s
        self.thread = thread
        self.told = False


class StallWatch:
    """Looks at all of them, on a thread of its own.

    Args:
        watched: the event loop and every bus thread.
        tell: told of each stall: thread's name, seconds, the frames innermost first.
    """

    def __init__(
        self,
        watched: list[Watched],
        tell: Callable[[str, float, list[str]], None] | None = None,
    ) -> None:
        self._watched = watched
        self._tell = tell or _log_stall
        self._told_at: dict[tuple[str, str], float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stalls", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self) -> None:
        """Ask it to end."""
        self._end.set()

    def look(self) -> None:
        """Look once at every thread."""
        late = [one for one in self._watched if self._is_new(one)]
        if late:
            frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            for one in late:
                self._name(one, frames)

    def _is_new(self, one: Watched) -> bool:
        if one.held_s() < LATE_S:
            one.told = False
            return False
        was_told, one.told = one.told, True
        return not was_told

    def _name(self, one: Watched, frames: Mapping[int, FrameType]) -> None:
        frame = frames.get(one.thread() or -1)
        lines = innermost(frame) if frame else []
        key, now_s = (one.name, lines[0] if lines else ""), monotonic()
        if now_s - self._told_at.get(key, -TELL_AGAIN_S) >= TELL_AGAIN_S:
            self._told_at[key] = now_s
            self._tell(one.name, one.held_s(), lines)

    def _run(self) -> None:
        while not self._end.wait(LOOK_S):
            self.look()


def innermost(frame: FrameType) -> list[str]:
    """The last calls of a stack, innermost first: `drivers/x.py:31 read`. Reads no source file."""
    calls = [(found.f_code, line) for found, line in traceback.walk_stack(frame)][:FRAMES]
    return [
        f"{code.co_filename.removeprefix(_HERE + '/')}:{line} {code.co_name}"
        for code, line in calls
    ]


def _log_stall(name: str, held_s: float, frames: list[str]) -> None:
    at = frames[0] if frames else "unknown"
    get_logger().warning(
        "a thread is held up", thread=name, held_s=round(held_s, 3), at=at, frames=frames
    )
