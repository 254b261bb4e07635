"""Every example in docs/mqtt.md is a message of the schema."""

import json
import re
from pathlib import Path

import pytest

from daq.access import envelope
from daq.access.envelope import VERBS, parse
from daq.gateway import messages
from daq.gateway.messages import COLUMNS

TEXT = (Path(__file__).parents[2] / "docs" / "mqtt.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json (\w+)\n(.*?)```", TEXT, re.DOTALL)


def test_every_kind_of_published_message_has_an_example():
    shown = {name for name, _ in EXAMPLES}
    assert {model.__name__ for model in messages.Outbound.__subclasses__()} - shown == {
        "Backlog",  # parts of other messages
        "Maintenance",
        "Symptom",
        "Alarm",
        "Span",
        "TripState",
    }


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_an_example_fits_its_model(name, text):
    document = json.loads(text)
    if model := getattr(messages, name, None):
        model.model_validate(document)
        assert set(document) <= set(model.model_fields)
    else:
        signed = name == "SignedCommand"
        verb = next((v for v, m in VERBS.items() if m is getattr(envelope, name)), "stop")
        assert signed or VERBS[verb] is getattr(envelope, name)
        parse(verb, text.encode(), retained=False, now_utc_s=1_800_000_001.0)


def test_the_columns_shown_are_the_columns_sent():
    shown = next(json.loads(text) for name, text in EXAMPLES if name == "Samples")
    assert tuple(shown["columns"]) == COLUMNS
    assert all(len(row) == len(COLUMNS) for row in shown["rows"])


def test_every_verb_is_listed():
    assert set(re.findall(r"^\| `([a-z]+)` \|", TEXT, re.MULTILINE)) >= set(VERBS)
