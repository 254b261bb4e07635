"""Journal -> MQTT: the live tail, the back-fill of what it missed, and the stations' states.

The live tail never waits for the back-fill: when it is behind (after an outage, or because the
broker is slow) it leaves what lies between to the back-fill and goes on at the journal's head.
So live data is young again at once, and the buffer of an outage is the journal on disk, never
memory: one page of each kind is all that is ever held.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ParamSpec, Protocol, TypeVar

from daq.clock import monotonic
from daq.gateway.batches import HistoryBatches, LiveBatches, Outgoing
from daq.gateway.cursor import Cursor, Gap
from daq.gateway.messages import as_json
from daq.gateway.topics import Topics
from daq.journal import JournalReader, Kept

POLL_S = 0.1
SAMPLES_S = 0.5
"""Between two batches of samples: a message costs more than the rows in it. Events do not wait."""
LIVE_PAGE = 1000
MOST_BEHIND = 5000
"""Entries that the live tail may be behind before it leaves them to the back-fill."""
STATE_PERIOD_S = 0.5
HISTORY_RATE_HZ = 20_000.0
"""Most back-filled entries per second, a quarter of a core: the processor belongs to control."""
SMALLEST_PAGE, FIRST_PAGE, LARGEST_PAGE = 64, 512, 4096
"""Entries of history in flight at once. A large page has more rows to a message, which is what
makes it cheap; on a slow line it would make what happens now wait, or never get through at all."""
QUICK_S, SLOW_S = 0.2, 0.5
"""A page acknowledged within the first may be followed by a larger one, after the second not."""


class Outbox(Protocol):
    """What publishes; returns when the broker has acknowledged everything, else raises."""

    async def publish_all(self, messages: Iterable[Outgoing]) -> None:
        """Publish in the given order at QoS 1."""
        ...


Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")
Announce = Callable[[], Awaitable[None]]


class LiveTail:
    """Publishes new entries and states as they come, for as long as one connection lasts.

    Args:
        reader: a journal reader of its own.
        announce: publishes the status again, after the backlog has changed.
    """

    def __init__(
        self,
        reader: JournalReader,
        cursor: Cursor,
        outbox: Outbox,
        topics: Topics,
        *,
        announce: Announce,
        missed: asyncio.Event,
    ) -> None:
        self._reader = reader
        self._cursor = cursor
        self._outbox = outbox
        self._topics = topics
        self._announce = announce
        self._missed = missed
        self._batches = LiveBatches(topics)
        self._kept_version: dict[str, int] = {}
        self._samples_due_s = self._states_due_s = 0.0

    async def run(self) -> None:
        """Publish until cancelled, or until the connection fails."""
        await self._leave_to_back_fill()
        while True:
            behind, has_event = await in_thread(self._news)
            if behind > MOST_BEHIND:
                await self._leave_to_back_fill()
            elif has_event or behind >= LIVE_PAGE or (behind > 0 and self._samples_are_due()):
                await self._publish_page()
            if monotonic() >= self._states_due_s:
                await self._publish_states()
            if behind <= LIVE_PAGE:
                await asyncio.sleep(POLL_S)

    def _news(self) -> tuple[int, bool]:
        """How many entries are not published yet, and whether an event is among them."""
        live = self._cursor.live
        return self._reader.head() - live, self._reader.last_event() > live

    def _samples_are_due(self) -> bool:
        return monotonic() >= self._samples_due_s

    async def _leave_to_back_fill(self) -> None:
        head = await in_thread(self._reader.head)
        await in_thread(self._cursor.miss, head)
        self._batches.break_chain()
        self._missed.set()
        await self._announce()

    async def _publish_page(self) -> None:
        after = self._cursor.live
        page = await in_thread(self._reader.page, after, LIVE_PAGE)
        if not page:
            return
        await self._outbox.publish_all(self._batches.messages(page))
        await in_thread(self._cursor.advance, page.last_seq)
        self._samples_due_s = monotonic() + SAMPLES_S
        if page.events:
            self._states_due_s = 0.0  # an edge: the state that goes with it follows at once

    async def _publish_states(self) -> None:
        states = await in_thread(self._news_of, Kept.STATE)
        alarms = await in_thread(self._news_of, Kept.ALARM)
        retained = [(self._topics.state(name), document) for name, document in states.items()]
        retained += [(self._topics.alarms, document) for document in alarms.values()]
        await self._outbox.publish_all(
            Outgoing(topic, as_json(document), retain=True) for topic, document in retained
        )
        self._states_due_s = monotonic() + STATE_PERIOD_S

    def _news_of(self, kind: str) -> dict[str, dict[str, Any]]:
        """Documents that have changed since they were asked for last."""
        kept = self._reader.kept(kind, self._kept_version.get(kind, 0))
        versions = [version for version, _ in kept.values()]
        self._kept_version[kind] = max(versions, default=self._kept_version.get(kind, 0))
        return {name: document for name, (_, document) in kept.items()}


class BackFill:
    """Publishes the gaps on `history`, oldest first, beside the live tail.

    Args:
        reader: a journal reader of its own.
        announce: publishes the status again, after a gap has been filled.
        missed: set by the live tail when there is a new gap.
    """

    def __init__(
        self,
        reader: JournalReader,
        cursor: Cursor,
        outbox: Outbox,
        topics: Topics,
        *,
        announce: Announce,
        missed: asyncio.Event,
        rate_hz: float = HISTORY_RATE_HZ,
    ) -> None:
        self._reader = reader
        self._cursor = cursor
        self._outbox = outbox
        self._batches = HistoryBatches(topics)
        self._announce = announce
        self._missed = missed
        self._rate_hz = rate_hz
        self._limit = FIRST_PAGE

    async def run(self) -> None:
        """Publish until cancelled, or until the connection fails."""
        while True:
            self._missed.clear()
            gap = await in_thread(self._cursor.oldest_gap)
            if gap is None:
                await self._missed.wait()
            else:
                await self._fill(gap)

    async def _fill(self, gap: Gap) -> None:
        began_s = monotonic()
        messages, last, count = await in_thread(self._page, gap)
        sent_s = monotonic()
        await self._outbox.publish_all(messages)
        self._adapt(monotonic() - sent_s)
        if await in_thread(self._cursor.fill, gap, last):
            await self._announce()
        await asyncio.sleep(max(0.0, began_s + count / self._rate_hz - monotonic()))

    def _page(self, gap: Gap) -> tuple[list[Outgoing], int, int]:
        """Messages, the number they reach to, and how many entries they hold."""
        page = self._reader.page(gap.after, self._limit, gap.last)
        # Nothing there any more (pruned): the gap ends all the same.
        last = page.last_seq or gap.last
        return list(self._batches.messages(gap, page)), last, len(page)

    def _adapt(self, took_s: float) -> None:
        if took_s > SLOW_S:
            self._limit = max(SMALLEST_PAGE, self._limit // 2)
        elif took_s < QUICK_S:
            self._limit = min(LARGEST_PAGE, 2 * self._limit)


async def in_thread(
    function: Callable[Asked, Answer], *args: Asked.args, **kwargs: Asked.kwargs
) -> Answer:
    """Run what touches the disk on another thread: a slow disk must not hold up a stop.

    When cancelled it still waits for the thread, so that nobody closes a database under it.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait((work,))
        raise
