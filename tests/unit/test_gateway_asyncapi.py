"""The AsyncAPI document is made from the models and is fresh."""

import json

from daq.access.envelope import VERBS
from daq.gateway import asyncapi
from daq.gateway.topics import Topics


def references(value):
    if isinstance(value, dict):
        yield from (item for key, item in value.items() if key == "$ref")
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def resolve(document, reference):
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return document


def test_the_committed_document_is_fresh():
    assert asyncapi.main(["--check"]) == 0, "run python -m daq.gateway.asyncapi"


def test_a_stale_document_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(asyncapi, "FILE", tmp_path / "schema" / "mqtt.json")
    assert asyncapi.main(["--check"]) == 1
    assert asyncapi.main([]) == 0
    assert asyncapi.main(["--check"]) == 0
    document = json.loads(asyncapi.FILE.read_text())
    document["info"]["title"] = "another"
    asyncapi.FILE.write_text(json.dumps(document))
    assert asyncapi.main(["--check"]) == 1


def test_every_reference_leads_somewhere():
    document = asyncapi.document()
    found = list(references(document))
    assert len(found) > 20
    assert all(resolve(document, reference) for reference in found)


def test_every_verb_and_topic_has_a_channel():
    addresses = {channel["address"] for channel in asyncapi.document()["channels"].values()}
    topics = Topics("LAB")
    stations = (topics.state, topics.samples, topics.events, topics.history)
    expected = {topics.status, topics.alarms, topics.reply("{client}", "{id}")}
    expected |= {topic("STATION") for topic in stations}
    expected |= {topics.events(""), topics.history("")}
    expected |= {topics.command(verb) for verb in VERBS}
    spelled = {a.replace("{lab}", "LAB").replace("{station}", "STATION") for a in addresses}
    assert spelled == expected


def test_inbound_messages_allow_no_unknown_key():
    schemas = asyncapi.document()["components"]["schemas"]
    commands = [schemas[model.__name__] for model in VERBS.values()]
    assert all(schema["additionalProperties"] is False for schema in commands)
