"""JSON from others: every limit under, at and over it, and what hostile texts cost."""

from __future__ import annotations

import json
import time

import pytest

from daq.access.envelope import EnvelopeRefused, parse
from daq.control.client import LONGEST_COMMAND, decode_command, decode_reply
from daq.errors import DaqError, InputError
from daq.jsontext import DEEPEST, LARGEST, read_object

NOW = 1_800_000_000.0
COMMAND = {"verb": "start", "id": "1", "client": "ana", "station": "A1", "issued_utc_s": NOW}


def sized(size: int) -> bytes:
    """An object of so many bytes."""
    return b'{"a": "' + b"x" * (size - 9) + b'"}'


def nested(depth: int, begin: bytes, end: bytes, last: bytes) -> bytes:
    """An object that is `depth` containers deep, itself included."""
    return b'{"a": ' + begin * (depth - 1) + last + end * (depth - 1) + b"}"


def said(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_object(raw)
    return caught.value.message


@pytest.mark.fault("F75")
def test_size_is_bounded():
    for size in (LARGEST - 1, LARGEST):
        assert len(sized(size)) == size
        assert read_object(sized(size))
    assert said(sized(LARGEST + 1)) == "more than 65536 bytes"


@pytest.mark.fault("F75")
@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"b":', b"}")])
@pytest.mark.parametrize("last", [b"1", b'"x"'])
def test_depth_is_bounded(begin, end, last):
    for depth in (DEEPEST - 1, DEEPEST):
        assert read_object(nested(depth, begin, end, last))
    assert said(nested(DEEPEST + 1, begin, end, last)) == "nested deeper than 16"


@pytest.mark.fault("F75")
@pytest.mark.parametrize(
    "number",
    ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "9223372036854775808", "1" + "0" * 5000],
)
def test_a_number_out_of_range_is_refused(number):
    assert said(b'{"a": [' + number.encode() + b"]}").startswith("not JSON: ")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e308", 1e308), ("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1)],
)
def test_the_largest_numbers_are_taken(text, value):
    assert read_object(b'{"a": ' + text.encode() + b"}") == {"a": value}


@pytest.mark.fault("F75")
@pytest.mark.parametrize("inner", ['{"b": 1, "b": 1}', '[{"b": 1, "\\u0062": 2}]'])
def test_a_duplicate_key_is_refused_at_any_depth(inner):
    assert said(b'{"a": ' + inner.encode() + b"}") == "not JSON: a duplicate key"


@pytest.mark.parametrize("text", ['"\\u0000"', '"\\ud800"', '["x", {"\\udfff": 1}]'])
def test_text_that_no_file_can_hold_is_refused(text):
    assert said(b'{"a": ' + text.encode() + b"}") == "text that no file can hold"


@pytest.mark.parametrize("raw", [b"", b"\xff", b"\xef\xbb\xbf{}", b"{'a': 1}", b"{}x", b"[]", b"1"])
def test_what_is_no_json_object_is_refused(raw):
    assert said(raw).startswith("not ")


def test_a_refusal_does_not_repeat_what_was_sent():
    assert "s3cret" not in said(b'{"a": s3cret}') + said(b'{"s3cret": 1, "s3cret": 2}')


@pytest.mark.fault("F75")
@pytest.mark.parametrize(
    "change",
    [
        {"issued_utc_s": 10**400}, {"issued_utc_s": "nan"}, {"issued_utc_s": True},
        {"expires_utc_s": "inf"}, {"expires_utc_s": []}, {"verb": ["stop"]}, {"id": 7},
        {"client": None}, {"station": {}}, {"arguments": [["cell", "C1"]]}, {"arguments": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_the_local_socket_takes_no_other_types_for_the_right_ones(change):
    with pytest.raises(DaqError):
        decode_command(json.dumps(COMMAND | change).encode())


@pytest.mark.fault("F75")
def test_only_the_text_of_a_protocol_may_make_a_local_command_long():
    text = "# \u00e4\n" * 150_000  # as a protocol of 0.75 MB, escaped to 1.5 MB
    long = json.dumps(COMMAND | {"arguments": {"text": text}}).encode()
    assert LARGEST < len(long) < LONGEST_COMMAND
    assert decode_command(long).arguments["text"] == text
    with pytest.raises(DaqError, match="beside the protocol's text"):
        decode_command(json.dumps(COMMAND | {"arguments": {"name": text}}).encode())
    with pytest.raises(DaqError, match="more than 2000000 bytes"):
        decode_command(json.dumps(COMMAND | {"arguments": {"text": text * 2}}).encode())


HOSTILE = {
    "depth": b"[" * LONGEST_COMMAND,
    "objects": b'{"a":' * (LONGEST_COMMAND // 5),
    "width": b'{"a":[' + b"[]," * (LONGEST_COMMAND // 3 - 5) + b"[]]}",
    "keys": b"{" + b",".join(b'"%d":1' % n for n in range(150_000)) + b"}",
    "digits": b'{"a":' + b"1" * (LONGEST_COMMAND - 10) + b"}",
    "quotes": b'{"a":[' + b'"",' * (LONGEST_COMMAND // 3 - 5) + b'""]}',
    "escapes": b'{"a":"' + b"\\u0061" * (LONGEST_COMMAND // 6 - 5) + b'"}',
}


@pytest.mark.fault("F75")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_line_of_the_largest_size_costs_a_moment(name, figure):
    assert len(HOSTILE[name]) <= LONGEST_COMMAND
    began = time.process_time()
    with pytest.raises(DaqError):
        decode_command(HOSTILE[name])
    took_s = time.process_time() - began
    figure(f"2 MB of {name} refused in", 1000 * took_s, "ms")
    assert took_s < 1.0
    with pytest.raises(DaqError):
        decode_reply(HOSTILE[name][:-1])
    with pytest.raises(EnvelopeRefused, match="more than 65536 bytes"):
        parse("start", HOSTILE[name], retained=False, now_utc_s=NOW)
