"""tomato's own schemas take the payloads that we read, and all versions of one read the same."""

from __future__ import annotations

import json

import pytest

from tests.peers.exchanged import ours, steps

FIRST = {
    "version": "1.0",
    "sample": {"name": "cell-7", "capacity": 0.05},
    "method": [
        {
            "component_tag": "cycler",
            "technique_name": "open_circuit_voltage",
            "max_duration": 3600.0,
            "sampling_interval": 10.0,
        },
        {
            "component_tag": "cycler",
            "technique_name": "constant_current",
            "max_duration": 10800.0,
            "sampling_interval": 10.0,
            "technique_params": {"current": "C/5", "limit_voltage_max": 4.2},
        },
        {
            "component_tag": "cycler",
            "technique_name": "constant_voltage",
            "max_duration": 7200.0,
            "sampling_interval": 1.0,
            "technique_params": {"voltage": 4.2, "limit_current_min": "C/50"},
        },
        {
            "component_tag": "cycler",
            "technique_name": "constant_current",
            "max_duration": 36000.0,
            "sampling_interval": 10.0,
            "technique_params": {"current": -0.01, "limit_voltage_min": 3.0},
        },
        {
            "component_tag": "cycler",
            "technique_name": "loop",
            "max_duration": 1.0,
            "sampling_interval": 1.0,
            "technique_params": {"goto": 1, "n_gotos": 2},
        },
    ],
}

UPDATE = """
import json, sys
from dgbowl_schemas.tomato import to_payload
payload = to_payload(**json.loads(sys.argv[1]))
found = []
while True:
    found.append(json.loads(payload.model_dump_json(exclude_none=True)))
    if not hasattr(payload, "update"):
        break
    payload = payload.update()
print(json.dumps(found))
"""

TAKE = """
import json, sys
from dgbowl_schemas.tomato import to_payload
print(to_payload(**json.loads(sys.argv[1])).model_dump_json(exclude_none=True))
"""

EARLY = {
    "version": "0.2",
    "sample": {"name": "cell-7", "capacity": 0.05},
    "method": [
        {
            "device": "MPG2", "technique": "open_circuit_voltage", "time": 3600,
            "record_every_dt": 10,
        },
        {
            "device": "MPG2", "technique": "constant_current", "time": 10800, "current": "C/5",
            "limit_voltage_max": 4.2, "record_every_dt": 10, "I_range": "10 mA",
        },
        {
            "device": "MPG2", "technique": "constant_voltage", "time": 7200, "voltage": 4.2,
            "limit_current_min": "C/50", "record_every_dt": 1,
        },
        {
            "device": "MPG2", "technique": "constant_current", "time": 36000, "current": -0.01,
            "limit_voltage_min": 3.0, "record_every_dt": 10,
        },
        {"device": "MPG2", "technique": "loop", "goto": 1, "n_gotos": 2},
    ],
    "tomato": {"verbosity": "DEBUG"},
}  # fmt: skip


@pytest.fixture(scope="session")
def schemas(peer):
    return peer("dgbowl-schemas")


def test_every_version_that_its_schemas_make_of_a_payload_reads_the_same(schemas):
    versions = schemas.json(UPDATE, json.dumps(FIRST))
    assert [one["version"] for one in versions] == ["1.0", "2.0", "2.1", "2.2"]
    read = [steps(ours(json.dumps(one), "tomato")) for one in versions]
    assert all(one == read[0] for one in read)
    assert read[0][1]["repeat"] == 3


def test_its_schemas_take_the_early_payload_and_it_reads_the_same_too(schemas):
    made = schemas.json(TAKE, json.dumps(EARLY))
    assert made["version"] == "0.2"
    later = steps(ours(json.dumps(FIRST), "tomato"))
    assert steps(ours(json.dumps(made), "tomato")) == later
