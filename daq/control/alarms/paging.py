"""Starts the lab's own program for alarms that call somebody. It can hold up nothing.

The program is a process of its own with the alarm as JSON on its standard input, one at a time,
for 30 s at most; what it does with it (a pager, a phone, a chat) is the lab's business.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from daq.control.alarms.alarm import Alarm, State
from daq.logs import get_logger

LONGEST_S = 30.0
MOST_WAITING = 100
CALLED = frozenset({State.BEGAN, State.AGAIN})
_log = get_logger()


class Paging:
    """Calls the program; `heard` on the event loop, which it never blocks.

    Args:
        command: the program and its arguments; nothing is called when it is empty.
    """

    def __init__(self, command: Sequence[str], longest_s: float = LONGEST_S) -> None:
        self._command = tuple(command)
        self._longest_s = longest_s
        self._waiting: deque[bytes] = deque(maxlen=MOST_WAITING)
        self._task: asyncio.Task[None] | None = None

    def heard(self, state: State, alarm: Alarm) -> None:
        """Something has happened to an alarm."""
        if not self._command or state not in CALLED or alarm.suppressed:
            return
        if len(self._waiting) == MOST_WAITING:
            _log.error("too many alarms wait for the paging program; the oldest is dropped")
        self._waiting.append(json.dumps({"state": state.value, **alarm.document()}).encode())

    def tend(self) -> None:
        """Start the next one; on the loop, again and again."""
        if self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._call(self._waiting.popleft()))

    async def finish(self, patience_s: float) -> None:
        """The daemon ends: let the last call end, too."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self._waiting or (self._task and not self._task.done()):
                    self.tend()
                    await asyncio.sleep(0.02)
        if self._task and not self._task.done():
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _call(self, document: bytes) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            _log.error("the paging program cannot be started", error=str(error))
            return
        try:
            async with asyncio.timeout(self._longest_s):
                await process.communicate(document)
        except TimeoutError:
            _log.error("the paging program was killed", after_s=self._longest_s)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            _log.error("the paging program failed", code=process.returncode)
