"""The JSON Schemas in docs/schema are those of the models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from daq.labfile import LabFileModel
from daq.protocol.schema import ProtocolModel
from daq.protocol.steps import KINDS
from daq.schemas import FOLDER, schemas, write


@pytest.mark.parametrize("name", schemas())
def test_the_committed_schema_is_fresh(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")
    assert committed == schemas()[name], "run: python -m daq.schemas"


def test_what_is_written_is_json(tmp_path: Any) -> None:
    write(tmp_path)
    for name in schemas():
        assert json.loads((tmp_path / name).read_text(encoding="utf-8"))["$schema"]


def schema(name: str) -> dict[str, Any]:
    return json.loads(schemas()[f"{name}.schema.json"])


def parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from parts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from parts(inner)


def test_an_editor_completes_every_key_of_both_files() -> None:
    assert list(schema("lab")["properties"]) == LabFileModel.keys()
    protocol = schema("protocol")
    assert list(protocol["properties"]) == ProtocolModel.keys()
    for model in KINDS.values():
        assert list(protocol["$defs"][model.__name__]["properties"]) == model.keys()


def test_every_key_that_a_person_writes_is_explained() -> None:
    for name in ("lab", "cells", "protocol"):
        for part in parts(schema(name)):
            if part.get("type") == "object" and "properties" in part:
                assert part["additionalProperties"] is False
                for key, value in part["properties"].items():
                    assert value.get("description"), f"{part.get('title')}: {key}"


@pytest.mark.parametrize(
    ("kind", "key", "good", "bad"),
    [
        ("Charge", "charge", ["C/20", "500 mA", "2W", "$rate"], ["20", "4.2 V", "C/h", "$"]),
        ("Hold", "hold", ["4.2 V", "$v_max"], ["4.2", "4.2 A", "4.2 MV"]),
        ("Rest", "rest", ["30 min", "12h", "2 d"], ["30", "30 Min", "1 y"]),
        ("ChamberStep", "chamber", ["25 degC", "25 °C", "298 K"], ["25", "25 F"]),
    ],
)
def test_a_pattern_catches_a_wrong_unit_in_the_editor(
    kind: str, key: str, good: list[str], bad: list[str]
) -> None:
    pattern = schema("protocol")["$defs"][kind]["properties"][key]["pattern"]
    assert all(re.search(pattern, text) for text in good)
    assert not any(re.search(pattern, text) for text in bad)


def test_an_end_condition_is_checked_in_the_editor() -> None:
    pattern = schema("protocol")["$defs"]["Charge"]["properties"]["until"]["anyOf"][0]["pattern"]
    for text in ("voltage >= 4.2 V", "current <= C/50", "charge >= 80 %", "voltage >= $v_max"):
        assert re.search(pattern, text)
    for text in ("voltage > 4.2 V", "voltage >= 4.2", "voltage >= 4.2 A", "volts >= 4.2 V"):
        assert not re.search(pattern, text)


def test_a_number_of_passes_may_be_a_parameter() -> None:
    choices = schema("protocol")["$defs"]["RepeatModel"]["properties"]["repeat"]["anyOf"]
    assert choices[0] == {"type": "integer", "minimum": 1, "maximum": 100_000}
    assert re.search(choices[1]["pattern"], "$n")
