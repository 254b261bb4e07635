"""Bus: the thread that owns a line, and its grid of ticks.

One thread, plain synchronous code. What happens in a tick is the control loop's business
(daq/control/loop.py); this module keeps the time:

- ticks lie on a fixed monotonic grid; a late tick is counted and the missed ones are skipped,
  never queued up;
- while somebody is in a hurry there is a finer grid besides: most of its ticks are for who hurries
  alone, and the first one when all others are due is for everybody;
- the urgent lane (`urge`) runs before anything else, at the latest after the exchange in
  flight; ordinary jobs (`post`) run between ticks;
- after each pass the bus beats.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from math import inf
from typing import Any, TypeVar

from daq.bus.latest import Latest
from daq.clock import monotonic
from daq.errors import DaqError

Job = Callable[[], Any]
T = TypeVar("T")
_BEAT_S = 0.25
"""Longest sleep: a slow grid must not look like a dead thread."""
LONGEST_S = 10.0
"""How long exchanges count as life: to open and set up a slow instrument takes seconds."""


@dataclass(slots=True)
class TickStatistics:
    """How well the grid was kept. Times in real seconds."""

    ticks: int = 0
    missed: int = 0
    latest_s: float = 0.0


class Bus:
    """One thread for one line.

    Args:
        name: for the thread and the log.
        period_s: distance of the grid, real seconds.
        tick: one pass; called on this bus's thread.
        between: what is done at the ticks of a finer grid where a whole pass is not due.
        beat: called after every pass and at least every 0.25 s of waiting.
        crashed: called on this thread with an exception that `tick` or a job let through,
            whatever it is; it means OFF.
        phase: from 0 to 1, how far the grid lies behind the first tick, in periods. With a phase
            of its own for each, many buses do not all want the interpreter at the same moment.
    """

    def __init__(
        self,
        name: str,
        period_s: float,
        *,
        tick: Job,
        beat: Job,
        between: Job | None = None,
        crashed: Callable[[BaseException], None],
        phase: float = 0.0,
    ) -> None:
        self.name = name
        self.period_s = period_s
        self._shift_s = phase * period_s
        self.statistics = TickStatistics()
        self.lateness_s = Latest(4096)
        self._tick = tick
        self._between = between or _nothing
        self._hurries: dict[str, tuple[float, float]] = {}
        self._beat = beat
        self._crashed = crashed
        self._urgent: deque[Job] = deque()
        self._jobs: deque[Job] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._since_s = monotonic()
        self._busy_since_s = 0.0  # last sign of life of a job in progress; 0 between jobs
        self._thread = threading.Thread(target=self._run, name=f"bus {name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self) -> None:
        """Ask the thread to end after its present pass; what is urgent is still done."""
        self._stopping = True
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; whether it did in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def thread(self) -> int | None:
        """The thread's number, as in `sys._current_frames`."""
        return self._thread.ident

    def held_s(self) -> float:
        """Seconds since a job in progress last finished an exchange; 0 while the thread rests."""
        since_s = self._busy_since_s
        return monotonic() - since_s if since_s else 0.0

    def here(self) -> bool:
        """Whether the caller is on this bus's thread."""
        return threading.current_thread() is self._thread

    def urge(self, job: Job) -> None:
        """Run a job ahead of everything queued. From any thread; never blocks."""
        self._urgent.append(job)
        self._wake.set()

    def post(self, job: Job) -> None:
        """Run a job between two ticks. From any thread; never blocks."""
        self._jobs.append(job)
        self._wake.set()

    def call(self, job: Callable[[], T], *, urgent: bool = False) -> Future[T]:
        """Like `post` or `urge`, for a caller who wants the result."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return  # the caller gave up waiting: then it must not happen later either
            try:
                future.set_result(job())
            except DaqError as error:
                future.set_exception(error)
            except BaseException as error:
                future.set_exception(error)
                raise  # a bug means OFF, whoever asked for the job

        (self.urge if urgent else self.post)(run)
        return future

    def hurry(self, who: str, period_s: float, from_s: float) -> None:
        """Tick more often until `ease`. On this bus's thread; asking again changes the grid.

        Args:
            who: who asks; the shortest of all periods holds.
            period_s: distance of the finer grid, real seconds; nothing where it is no finer.
            from_s: a monotonic time on that grid.
        """
        self._hurries[who] = (period_s, from_s)

    def ease(self, who: str) -> None:
        """Let the hurry go again; nothing where there was none. On this bus's thread."""
        self._hurries.pop(who, None)

    def exchanged(self) -> None:
        """An exchange has ended: a sign of life, but not from a driver that never comes back."""
        now_s = monotonic()
        if self._busy_since_s:
            self._busy_since_s = now_s
        if now_s - self._since_s < LONGEST_S:
            self._beat()

    def run_urgent(self) -> None:
        """Run what waits in the urgent lane. The tick calls this between two instruments."""
        self._since_s = monotonic()
        while self._urgent:
            self._guarded(self._urgent.popleft())

    def _run(self) -> None:
        due, shift_s = monotonic(), self._shift_s  # the very first tick is not put off
        whole = due  # when everything is read next
        while not self._stopping:
            self._wait_until(due)
            if self._stopping:
                break
            self._since_s = monotonic()
            late = self._since_s - due
            is_whole = due >= whole
            self._guarded(self._tick if is_whole else self._between)
            self._beat()
            self._count(due, late)
            if is_whole:
                whole, shift_s = _next(whole, self.period_s) + shift_s, 0.0
            due = self._finer(whole)
        self.run_urgent()

    def _finer(self, whole: float) -> float:
        """The next tick of the finest grid; of the whole one where nobody hurries."""
        period_s, from_s = min(self._hurries.values(), default=(self.period_s, whole))
        if period_s >= self.period_s:
            return whole
        passed = int((monotonic() - from_s) / period_s)
        return from_s + (1 + passed) * period_s

    def _wait_until(self, due: float) -> None:
        while not self._stopping:
            self.run_urgent()
            while self._jobs and not self._urgent:
                self._guarded(self._jobs.popleft())
            left = due - monotonic()
            if left <= 0:
                return
            self._wake.wait(min(left, _BEAT_S))
            self._wake.clear()
            if left > _BEAT_S:
                self._beat()

    def _count(self, due: float, late: float) -> None:
        statistics = self.statistics
        statistics.ticks += 1
        statistics.latest_s = max(statistics.latest_s, late)
        self.lateness_s.append(late)
        period_s = min((period_s for period_s, _ in self._hurries.values()), default=inf)
        statistics.missed += _passed(due, min(period_s, self.period_s))

    def _guarded(self, job: Job) -> None:
        outer = self._busy_since_s
        try:
            self._busy_since_s = monotonic()
            job()
        except BaseException as error:  # noqa: BLE001 - the top of a bus thread: it means OFF
            # SystemExit too: a thread that ended would leave its stations to the sentinel.
            self._crashed(error)
        finally:
            self._busy_since_s = outer and monotonic()


def _passed(due: float, period_s: float) -> int:
    """How many points of the grid have gone by since one that was due."""
    return max(0, int((monotonic() - due) / period_s))


def _next(due: float, period_s: float) -> float:
    return due + (1 + _passed(due, period_s)) * period_s


def _nothing() -> None:
    """Where nobody hurries there is nothing to do between two passes."""
