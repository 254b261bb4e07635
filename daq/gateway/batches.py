"""Journal entries -> messages. Pure: no clock, no socket, no file.

Rows go from the journal's table into JSON without becoming objects: a week of 64 stations is 39
million of them, and the processor belongs to control.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from daq.gateway.cursor import Gap
from daq.gateway.messages import EventMessage, HistoryEvent, HistorySamples, Samples, Span
from daq.gateway.topics import Topics
from daq.journal import Page
from daq.model import Event

Row = tuple[float | int | None, ...]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One MQTT message."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one station and run, in the order of `COLUMNS`."""

    station: str
    run: str
    rows: list[Row]


class Chain:
    """What was published last of each station: lets a subscriber see that a message was lost."""

    def __init__(self) -> None:
        self._row: dict[str, int] = {}
        self._event: dict[str, int] = {}

    def forget(self) -> None:
        """Entries are left out here: the next message of each station must say so."""
        self._row.clear()
        self._event.clear()

    def before_batch(self, batch: Batch) -> int | None:
        """The last row of the station's batch before; None when that is not known."""
        return _replaced(self._row, batch.station, _seq(batch.rows[-1]))

    def before_event(self, event: Event) -> int | None:
        """The station's event before."""
        return _replaced(self._event, event.station, event.seq)


class LiveBatches:
    """Makes live messages."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._chain = Chain()

    def break_chain(self) -> None:
        """Entries have been left to the back-fill."""
        self._chain.forget()

    def messages(self, page: Page) -> Iterator[Outgoing]:
        """One batch per station and run, and one message per event."""
        for part in _parts(page):
            if isinstance(part, Event):
                message = _event(part, self._chain)
                yield Outgoing(self._topics.events(part.station), message.payload())
            else:
                yield self._batch(part)

    def _batch(self, batch: Batch) -> Outgoing:
        samples = Samples.model_construct(
            station=batch.station,
            run=batch.run,
            first_seq=_seq(batch.rows[0]),
            previous_seq=self._chain.before_batch(batch),
            rows=batch.rows,
        )
        return Outgoing(self._topics.samples(batch.station), samples.payload())


class HistoryBatches:
    """Makes the same messages as back-fill, oldest first within each station."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._chain = Chain()
        self._reached: int | None = None

    def messages(self, gap: Gap, page: Page) -> Iterator[Outgoing]:
        """What stands at the beginning of the gap."""
        if gap.after != self._reached:
            self._chain.forget()  # another gap
        self._reached = page.last_seq
        span = Span(first_seq=gap.after + 1, last_seq=gap.last)
        for part in _parts(page):
            topic = self._topics.history(part.station)
            if isinstance(part, Event):
                event = HistoryEvent.model_construct(gap=span, event=_event(part, self._chain))
                yield Outgoing(topic, event.payload())
            else:
                yield Outgoing(topic, self._batch(span, part).payload())

    def _batch(self, span: Span, batch: Batch) -> HistorySamples:
        return HistorySamples.model_construct(
            gap=span,
            station=batch.station,
            run=batch.run,
            first_seq=_seq(batch.rows[0]),
            previous_seq=self._chain.before_batch(batch),
            rows=batch.rows,
        )


def _parts(page: Page) -> Iterator[Event | Batch]:
    """Per station: its events, and between them its records in batches of one run."""
    stations: dict[str, list[Event | Batch]] = {}
    events = iter(page.events)
    event = next(events, None)
    for row in page.rows:
        while event and event.seq < row[-1]:
            stations.setdefault(event.station, []).append(event)
            event = next(events, None)
        _put(stations, row)
    while event:
        stations.setdefault(event.station, []).append(event)
        event = next(events, None)
    for parts in stations.values():
        yield from parts


def _put(stations: dict[str, list[Event | Batch]], row: tuple[Any, ...]) -> None:
    # From RECORD_COLUMNS and seq, as the journal has them, to COLUMNS.
    station, run = row[:2]
    values = (row[-1], *row[2:-1])
    parts = stations.setdefault(station, [])
    if parts and isinstance(batch := parts[-1], Batch) and batch.run == run:
        batch.rows.append(values)
    else:
        parts.append(Batch(station, run, [values]))


def _event(event: Event, chain: Chain) -> EventMessage:
    return EventMessage.model_construct(
        seq=event.seq,
        previous_seq=chain.before_event(event),
        station=event.station,
        run=event.run,
        kind=event.kind.value,
        utc_s=event.utc_s,
        test_time_s=event.test_time_s,
        data=dict(event.data),
    )


def _seq(row: Row) -> int:
    return int(row[0] or 0)


def _replaced(last: dict[str, int], station: str, seq: int) -> int | None:
    before = last.get(station)
    last[station] = seq
    return before
