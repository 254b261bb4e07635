"""Journal entries -> messages. Pure: no clock, no socket, no file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from daq.gateway.cursor import Gap
from daq.gateway.messages import (
    COLUMNS,
    EventMessage,
    HistoryEvent,
    HistorySamples,
    Samples,
    Span,
)
from daq.gateway.topics import Topics
from daq.model import Entry, Event, Record

Row = tuple[float | int | None, ...]
_row = attrgetter(*COLUMNS)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One MQTT message."""

    topic: str
    payload: bytes
    retain: bool = False


class LiveBatches:
    """Makes live messages; remembers per station what came before, for `previous_seq`."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self._previous: dict[str, int] = {}

    def break_chain(self) -> None:
        """Entries have been left to the back-fill: say so in the next batch of each station."""
        self._previous.clear()

    def messages(self, entries: Sequence[Entry]) -> Iterator[Outgoing]:
        """One batch per station and run, and one message per event."""
        for part in _parts(entries):
            if isinstance(part, Event):
                yield Outgoing(self._topics.events(part.station), _event(part).payload())
            else:
                yield self._batch(part)

    def _batch(self, records: list[Record]) -> Outgoing:
        station, first = records[0].station, records[0].seq
        batch = Samples.model_construct(
            station=station,
            run=records[0].run,
            first_seq=first,
            previous_seq=self._previous.get(station),
            rows=_rows(records),
        )
        self._previous[station] = records[-1].seq
        return Outgoing(self._topics.samples(station), batch.payload())


def history_messages(topics: Topics, gap: Gap, entries: Sequence[Entry]) -> Iterator[Outgoing]:
    """The same entries as back-fill, oldest first within each station."""
    span = Span(first_seq=gap.after + 1, last_seq=gap.last)
    for part in _parts(entries):
        if isinstance(part, Event):
            topic = topics.history(part.station)
            yield Outgoing(topic, HistoryEvent(gap=span, event=_event(part)).payload())
        else:
            yield _history_batch(topics, span, part)


def _history_batch(topics: Topics, span: Span, records: list[Record]) -> Outgoing:
    batch = HistorySamples.model_construct(
        gap=span,
        station=records[0].station,
        run=records[0].run,
        first_seq=records[0].seq,
        rows=_rows(records),
    )
    return Outgoing(topics.history(records[0].station), batch.payload())


def _parts(entries: Sequence[Entry]) -> Iterator[Event | list[Record]]:
    """Per station: its events, and between them its records in batches of one run."""
    by_station: dict[str, list[Entry]] = {}
    for entry in entries:
        by_station.setdefault(entry.station, []).append(entry)
    for of_station in by_station.values():
        for _, group in groupby(of_station, key=_batch_key):
            records: list[Record] = []
            for entry in group:
                if isinstance(entry, Event):
                    yield entry
                else:
                    records.append(entry)
            if records:
                yield records


def _batch_key(entry: Entry) -> tuple[bool, str]:
    return isinstance(entry, Event), entry.run


def _rows(records: Sequence[Record]) -> list[Row]:
    return [_row(record) for record in records]


def _event(event: Event) -> EventMessage:
    return EventMessage.model_construct(
        seq=event.seq,
        station=event.station,
        run=event.run,
        kind=event.kind.value,
        utc_s=event.utc_s,
        test_time_s=event.test_time_s,
        data=dict(event.data),
    )
