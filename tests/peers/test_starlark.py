"""The processor of docs/examples/telegraf in the interpreter that Telegraf has: starlark-go."""

from __future__ import annotations

import json
from collections.abc import Callable

from daq.gateway.messages import COLUMNS, EventMessage, HistoryEvent, Samples, Span
from tests.peers.environments import Peer
from tests.telegraf import applied, source

RUN = """
import json, sys
from starlark_go import Starlark
source, messages = json.loads(sys.stdin.read())
starlark = Starlark()
starlark.exec(source)
made = []
for topic, message in messages:
    starlark.set(topic=topic, message=message)
    made.append(starlark.eval("points(topic, message, lambda data: repr(sorted(data)))"))
print(json.dumps(made))
"""

ROW = (6201, 44210.0, 610.0, 1800044210.125, 3.6121, 0.25, 25.1, None, 1, 4, 4, 62, 0.042, 0.0,
       0.149, 0.0)  # fmt: skip
SAMPLES = Samples(station="A1", run="r-1", first_seq=6201, rows=[ROW, (6202, *ROW[1:])])
EVENT = EventMessage(
    seq=6203, station="", run="", kind="alarm", utc_s=1800044211.5, data={"cause": "x"}
)
PAST = HistoryEvent(gap=Span(first_seq=1, last_seq=9), event=EVENT)
MESSAGES = [
    ("daq/bench-3/A1/samples", SAMPLES),
    ("daq/bench-3/events", EVENT),
    ("daq/bench-3/history", PAST),
]


def test_the_processor_makes_the_same_points_in_telegrafs_own_interpreter(
    peer: Callable[[str], Peer],
) -> None:
    code = source().replace('load("json.star", "json")\n', "")  # given by Telegraf alone
    code = code[: code.index("def apply")] + code[code.index("def points") :]  # its glue
    messages = [(topic, json.loads(message.payload())) for topic, message in MESSAGES]
    found = peer("starlark").json(RUN, stdin=json.dumps([code, messages]))
    for (topic, message), points in zip(MESSAGES, found, strict=True):
        expected = applied(topic, message.payload())
        for (name, tags, fields, time), metric in zip(points, expected, strict=True):
            assert (name, tags, time) == (metric.name, metric.tags, metric.time)
            assert fields.keys() == metric.fields.keys()
            assert all(fields[k] == metric.fields[k] for k in fields if k != "data")
            assert {k: type(v) for k, v in fields.items()} == {
                k: type(v) for k, v in metric.fields.items()
            }
    first = found[0][0]
    assert first[3] == 1800044210125000000
    assert set(first[2]) == set(COLUMNS) - {"utc_s", "chamber_degC"}
    assert found[1] == found[2]  # what comes again is the same point
