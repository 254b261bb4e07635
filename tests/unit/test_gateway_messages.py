"""Topics, messages and batches: what leaves the gateway."""

import json
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daq.access.names import NAME
from daq.filemodel import NAME_PATTERN
from daq.gateway.batches import HistoryBatches, LiveBatches
from daq.gateway.cursor import Gap
from daq.gateway.messages import (
    COLUMNS,
    EventMessage,
    HistoryEvent,
    HistorySamples,
    Samples,
    State,
    as_json,
)
from daq.gateway.topics import Topics
from daq.journal import RECORD_COLUMNS, Page
from daq.journal.tables import record_row
from daq.model import Event, EventKind, Record

TOPICS = Topics("bench-3")


def record(seq, station="A1", run="r1", **changes):
    values = {
        "test_time_s": 1.0, "step_time_s": 1.0, "utc_s": 2.0, "voltage_V": 3.7, "current_A": 1.0,
        "temperature_degC": 25.0, "chamber_degC": nan, "cycle": 1, "step": 1, "step_count": 1,
        "step_record": 1, "charge_Ah": 0.0, "discharge_Ah": 0.0, "charge_Wh": 0.0,
        "discharge_Wh": 0.0,
    }  # fmt: skip
    return Record(station, run, **(values | changes), seq=seq)


def event(seq, station="A1", run="r1", **data):
    return Event(EventKind.NOTE, 3.0, station, run, data=data, seq=seq)


def page(*entries):
    """A page as the journal reads it."""
    rows = [(*record_row(e, e.seq)[1:], e.seq) for e in entries if isinstance(e, Record)]
    return Page(rows, [e for e in entries if isinstance(e, Event)])


def read(outgoing):
    return [(message.topic, json.loads(message.payload)) for message in outgoing]


def strictly(text):
    """JSON as a strict reader takes it: NaN and Infinity are errors."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_topics_are_those_of_the_design():
    assert TOPICS.status == "daq/bench-3/status"
    assert TOPICS.state("A1") == "daq/bench-3/A1/state"
    assert TOPICS.samples("A1") == "daq/bench-3/A1/samples"
    assert TOPICS.events("A1") == "daq/bench-3/A1/events"
    assert TOPICS.history("A1") == "daq/bench-3/A1/history"
    assert TOPICS.command("stop") == "daq/bench-3/cmd/stop"
    assert TOPICS.reply("ana", "c1") == "daq/bench-3/reply/ana/c1"
    assert TOPICS.events("") == "daq/bench-3/events"


def test_a_name_means_the_same_here_as_in_a_lab_file():
    assert f"^{NAME.pattern}$" == NAME_PATTERN


@given(st.text(min_size=1))
def test_no_station_can_publish_outside_its_own_topics(station):
    levels = TOPICS.samples(station).split("/")
    assert [*levels[:2], *levels[3:]] == ["daq", "bench-3", "samples"]
    assert not set("+#\0") & set(levels[2])


@pytest.mark.parametrize("station", ["cmd", "reply"])
def test_a_station_of_an_unlucky_name_publishes_neither_commands_nor_replies(station):
    topic = TOPICS.state(station)
    assert TOPICS.verb(topic) == ""
    assert not topic.startswith(f"daq/bench-3/{station}/")


@pytest.mark.parametrize("lab", ["", "a/b", "#", "a b", "-a"])
def test_a_lab_without_a_safe_name_has_no_topics(lab):
    with pytest.raises(ValueError, match="not a name"):
        Topics(lab)


def test_the_verb_is_read_from_command_topics_only():
    assert TOPICS.verb("daq/bench-3/cmd/stop") == "stop"
    assert TOPICS.verb("daq/bench-4/cmd/stop") == ""


def test_a_batch_says_what_it_holds_and_what_came_before():
    batches = LiveBatches(TOPICS)
    first, second = read(batches.messages(page(record(5), record(6)))), None
    second = read(batches.messages(page(record(8))))
    assert first[0][0] == "daq/bench-3/A1/samples"
    assert (first[0][1]["first_seq"], first[0][1]["previous_seq"]) == (5, None)
    assert (second[0][1]["first_seq"], second[0][1]["previous_seq"]) == (8, 6)
    assert [row[COLUMNS.index("seq")] for row in first[0][1]["rows"]] == [5, 6]
    Samples.model_validate(first[0][1])


def test_a_batch_after_missed_entries_says_that_rows_may_be_missing():
    batches = LiveBatches(TOPICS)
    list(batches.messages(page(record(5))))
    batches.break_chain()
    assert read(batches.messages(page(record(9))))[0][1]["previous_seq"] is None


def test_stations_and_runs_are_never_mixed_in_one_batch():
    entries = [record(1), record(2, "B2"), record(3), record(4, run="r2"), event(5), record(6)]
    found = read(LiveBatches(TOPICS).messages(page(*entries)))
    batches = [
        (body["station"], body["run"], [row[0] for row in body["rows"]])
        for topic, body in found
        if topic.endswith("samples")
    ]
    assert batches == [
        ("A1", "r1", [1, 3]),
        ("A1", "r2", [4]),
        ("A1", "r1", [6]),
        ("B2", "r1", [2]),
    ]


def test_history_keeps_records_and_events_of_a_station_in_their_order():
    entries = [record(11), record(12), event(13, text="x"), record(14)]
    found = read(HistoryBatches(TOPICS).messages(Gap(10, 20), page(*entries)))
    assert {topic for topic, _ in found} == {"daq/bench-3/A1/history"}
    assert [body["kind"] for _, body in found] == ["samples", "event", "samples"]
    assert all(body["backfill"] for _, body in found)
    assert all(body["gap"] == {"first_seq": 11, "last_seq": 20} for _, body in found)
    HistorySamples.model_validate(found[0][1])
    assert HistoryEvent.model_validate(found[1][1]).event.seq == 13


def test_a_lost_message_of_history_shows_and_so_does_another_gap():
    batches = HistoryBatches(TOPICS)
    pages = [
        (Gap(10, 20), page(record(11), event(12), record(13, "B2"))),
        (Gap(13, 20), page(record(14), record(15, "B2"), event(16))),
        (Gap(30, 40), page(record(31), event(32))),
    ]
    found = [body for gap, of_gap in pages for _, body in read(batches.messages(gap, of_gap))]
    samples = [(m["first_seq"], m["previous_seq"]) for m in found if m["kind"] == "samples"]
    events = [m["event"] for m in found if m["kind"] == "event"]
    assert samples == [(11, None), (13, None), (14, 11), (15, 13), (31, None)]
    assert [(e["seq"], e["previous_seq"]) for e in events] == [(12, None), (16, 12), (32, None)]


def test_a_lost_live_event_shows():
    batches = LiveBatches(TOPICS)
    first = read(batches.messages(page(event(5), event(6, "B2"), event(7))))
    batches.break_chain()
    found = first + read(batches.messages(page(event(9))))
    assert [(b["seq"], b["previous_seq"]) for _, b in found] == [
        (5, None),
        (7, 5),
        (6, None),
        (9, None),
    ]


def test_a_row_of_the_journal_is_a_row_of_a_message():
    assert ("seq", *RECORD_COLUMNS[2:]) == COLUMNS


def test_a_channel_that_measures_nothing_is_null():
    batch = read(LiveBatches(TOPICS).messages(page(record(1, voltage_V=inf))))[0][1]
    row = dict(zip(COLUMNS, batch["rows"][0], strict=True))
    assert (row["voltage_V"], row["chamber_degC"], row["current_A"]) == (None, None, 1.0)


def test_text_that_is_not_unicode_still_leaves_as_json():
    message = EventMessage(
        seq=1, station="A1", run="", kind="note", utc_s=nan, data={"raw": "\udcff", "x": nan}
    )
    found = strictly(message.payload())
    assert found["data"] == {"raw": "\udcff", "x": None}
    assert found["utc_s"] is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_whatever_an_event_holds_leaves_as_strict_json(value):
    strictly(as_json({"data": value}))


def test_a_state_as_control_writes_it_fits_the_published_schema():
    document = {
        "station": "A1", "mode": "running", "why": "", "run": "r1", "cell": "C1",
        "protocol": "formation", "version": "1.0.0", "cycle": 1, "cycles": 3, "step": 4,
        "step_kind": "charge", "step_text": "charge: C/20", "step_count": 9, "step_time_s": 1.5,
        "test_time_s": 9.5, "expected_s": 100.0, "remaining_s": 90.5, "progress": 0.1,
        "voltage_V": 3.7, "current_A": 0.25, "temperature_degC": 25.0, "chamber_degC": None,
        "sensors": {"top_degC": 25.5},
        "output_on": True, "output_owed": False, "charge_Ah": 0.1, "discharge_Ah": 0.0,
        "charge_Wh": 0.37, "discharge_Wh": 0.0, "utc_s": 1.8e9,
        "trip": {"check": "V1", "message": "4.30 V", "source": "aps1"},
        "maintenance": None,
    }  # fmt: skip
    assert set(document) == set(State.model_fields)
    State.model_validate(document)
