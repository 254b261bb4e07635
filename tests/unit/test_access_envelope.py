"""The envelope of commands: what must never be believed."""

import json
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daq.access.envelope import (
    MAX_VALIDITY_S,
    OFF_WINDOW_S,
    VERBS,
    WINDOW_S,
    EnvelopeRefused,
    parse,
)
from daq.access.roles import OFF_VERBS
from daq.jsontext import DEEPEST as MAX_DEPTH
from daq.jsontext import LARGEST as MAX_BYTES
from daq.model import Command

NOW = 1_800_000_000.0


def message(**changes):
    basic = {"id": "c-1", "client": "ana", "station": "A1", "issued": NOW - 1, "expires": NOW + 9}
    return basic | changes


def payload(**changes):
    return json.dumps(message(**changes)).encode()


def refused(data, verb="stop", **how):
    with pytest.raises(EnvelopeRefused) as caught:
        parse(verb, data, **({"retained": False, "now_utc_s": NOW} | how))
    return caught.value


def test_a_stop_becomes_a_command():
    command = parse("stop", payload(reason="lunch"), retained=False, now_utc_s=NOW)
    assert command == Command("stop", "c-1", "ana", "A1", NOW - 1, NOW + 9, {"reason": "lunch"})


def test_times_may_be_written_in_iso_8601_with_a_zone():
    data = payload(issued="2027-01-15T09:00:00+01:00", expires="2027-01-15T08:01:00Z")
    command = parse("stop", data, retained=False, now_utc_s=1_800_000_001.0)
    assert (command.issued_utc_s, command.expires_utc_s) == (1_800_000_000.0, 1_800_000_060.0)


@pytest.mark.parametrize(
    "moment",
    ["2027-01-15T08:01:00", "tomorrow", "", None, True, [], -1, 0, (NOW + 9) * 1000, 10**18],
)
def test_a_time_that_is_not_clear_is_refused(moment):
    assert refused(payload(expires=moment)).id == "c-1"


def test_a_retained_command_is_refused_and_its_sender_is_told():
    refusal = refused(payload(), retained=True)
    assert "retained" in refusal.message
    assert (refusal.client, refusal.id) == ("ana", "c-1")


def test_an_expired_command_is_refused():
    assert "expired" in refused(payload(expires=NOW), verb="resume").message


@pytest.mark.parametrize("away_s", [-WINDOW_S - 1, WINDOW_S + 1])
def test_a_command_that_was_not_issued_now_is_refused(away_s):
    data = payload(issued=NOW + away_s, expires=NOW + 99)
    assert "clock" in refused(data, verb="resume").message


@pytest.mark.parametrize("away_s", [-WINDOW_S, WINDOW_S])
def test_clocks_may_differ_by_the_window(away_s):
    data = payload(issued=NOW + away_s, expires=NOW + 99)
    assert parse("resume", data, retained=False, now_utc_s=NOW).verb == "resume"


@pytest.mark.parametrize("verb", ["stop", "pause"])
@pytest.mark.parametrize("away_s", [-OFF_WINDOW_S, -3600, 3600, OFF_WINDOW_S])
def test_off_is_taken_from_a_client_whose_clock_is_wrong(verb, away_s):
    data = payload(issued=NOW + away_s, expires=NOW + away_s + 1)
    assert parse(verb, data, retained=False, now_utc_s=NOW).verb == verb


@pytest.mark.parametrize("away_s", [-OFF_WINDOW_S - 1, OFF_WINDOW_S + 1])
def test_but_not_for_longer_than_its_id_is_remembered(away_s):
    assert "clock" in refused(payload(issued=NOW + away_s)).message


def test_a_command_that_would_be_valid_for_too_long_is_refused():
    data = payload(expires=NOW + MAX_VALIDITY_S + 1)
    assert "valid" in refused(data, verb="resume").message


def test_an_unknown_verb_is_refused_and_the_known_ones_are_named():
    refusal = refused(payload(), verb="energise")
    assert all(verb in refusal.message for verb in VERBS)


def test_an_unknown_key_is_refused_by_its_name():
    assert refused(payload(current_A=100.0)).message.startswith("current_A")


def test_a_start_needs_one_protocol_and_not_two():
    for protocols in ({}, {"protocol": "a.yaml", "text": "steps: []"}):
        assert "either" in refused(payload(cell="C1", **protocols), verb="start").message


def test_clearing_a_trip_needs_a_reason():
    assert refused(payload(), verb="clear").message.startswith("reason")


@pytest.mark.parametrize("key", ["id", "client"])
@pytest.mark.parametrize(
    "name", ["", "a/b", "+", "#", "..", "-a", "a" * 65, "a\n", "ä", 7, None, ["a"]]
)
def test_nobody_is_answered_on_a_topic_made_of_an_unsafe_name(key, name):
    refusal = refused(payload(**{key: name}))
    assert (refusal.client, refusal.id) == ("", "")


@pytest.mark.parametrize("station", ["a/b", "+", "#", "**", "a b", 1, None])
def test_an_unsafe_station_is_refused(station):
    assert refused(payload(station=station)).message.startswith("station")


@pytest.mark.fault("F75")
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_number_that_is_not_finite_is_refused(number):
    data = payload().replace(b'"A1"', b'"A1", "reason": ' + number.encode())
    assert refused(data).message.startswith("not JSON")


@pytest.mark.fault("F75")
def test_a_duplicate_key_is_refused():
    assert refused(b'{"id": "a", "id": "b"}').message.startswith("not JSON")


@pytest.mark.fault("F75")
def test_a_payload_larger_than_the_limit_is_refused_unread():
    assert "bytes" in refused(payload(reason="x" * MAX_BYTES)).message


def nested(depth):
    value = []
    for _ in range(depth - 2):
        value = [value]
    return payload(deep=value)


def test_a_payload_nested_deeper_than_the_limit_is_refused():
    assert "nested" in refused(nested(MAX_DEPTH + 1)).message
    assert "nested" not in refused(nested(MAX_DEPTH)).message


@pytest.mark.fault("F75")
def test_a_depth_bomb_is_refused_and_not_followed():
    assert refused(b"[" * MAX_BYTES).message.startswith("not JSON")


@pytest.mark.fault("F75")
@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"null", b"[]", b"7", b'"id"', "{}".encode("utf-16")]
)
def test_what_is_not_a_json_object_is_refused(data):
    assert refused(data).id == ""


def test_the_reason_of_a_refusal_does_not_repeat_what_was_sent():
    assert "s3cret" not in refused(payload(station="s3cret/#")).message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
keys = st.sampled_from(["id", "client", "station", "issued", "expires", "cell", "text", "reason"])
near_misses = st.dictionaries(keys, json_values | st.just("C1") | st.just(NOW)).map(
    lambda changes: json.dumps(message(**changes)).encode()
)
verbs = st.sampled_from(sorted(VERBS)) | st.text()


@settings(max_examples=500, deadline=None)
@given(verbs, st.binary() | json_values.map(lambda v: json.dumps(v).encode()) | near_misses)
def test_whatever_comes_in_is_a_command_or_a_refusal(verb, data):
    try:
        command = parse(verb, data, retained=False, now_utc_s=NOW)
    except EnvelopeRefused as refusal:
        assert refusal.message
        assert bool(refusal.id) == bool(refusal.client)
    else:
        assert command.verb in VERBS
        assert command.verb in OFF_VERBS or NOW < command.expires_utc_s
        assert command.expires_utc_s < inf
        json.dumps(dict(command.arguments), allow_nan=False)


# Alarms.


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("ack", {"alarm": "17", "reason": "on my way"}),
        ("maintenance", {"station": "A1", "for_s": 3600.0, "reason": "a new sensor"}),
        ("maintenance", {"station": "A1", "end": True}),
        ("alarms", {}),
    ],
)
def test_alarms_are_commanded_over_mqtt(verb, arguments):
    command = parse(verb, payload(**arguments), retained=False, now_utc_s=NOW)
    assert command.verb == verb
    for key, value in arguments.items():
        assert value in (command.station, command.arguments.get(key))


@pytest.mark.parametrize(
    ("verb", "arguments"),
    [
        ("ack", {"alarm": "17"}),
        ("ack", {"alarm": "17", "reason": ""}),
        ("ack", {"alarm": "../17", "reason": "x"}),
        ("maintenance", {"for_s": 86401.0, "reason": "x"}),
        ("maintenance", {"for_s": 0.0, "reason": "x"}),
        ("report", {"cause": "broker-away"}),
    ],
)
def test_what_no_alarm_command_may_say_is_refused(verb, arguments):
    refused(payload(**arguments), verb=verb)
