"""A stand-in for as much of Telegraf as docs/examples/telegraf needs. Telegraf itself is not here.

Written from Telegraf's documentation: mqtt_consumer with the data format `value`, and the processor
`starlark`, whose language is a part of Python, so that Python runs it (tests/peers runs it in
Telegraf's own interpreter).
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from paho.mqtt import client as mqtt

CONFIG = Path(__file__).parents[1] / "docs" / "examples" / "telegraf" / "daq.conf"


@dataclass
class Metric:
    name: str
    tags: dict[str, str] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    time: int = 0


def configuration() -> dict[str, Any]:
    return tomllib.loads(CONFIG.read_text(encoding="utf-8"))


def source() -> str:
    """The Starlark code of the processor."""
    (processor,) = configuration()["processors"]["starlark"]
    return processor["source"]


def applied(topic: str, payload: bytes) -> list[Metric]:
    """What the processor makes of a message."""
    (consumer,) = configuration()["inputs"]["mqtt_consumer"]
    (processor,) = configuration()["processors"]["starlark"]
    assert (consumer["data_format"], consumer["data_type"]) == ("value", "string")
    metric = Metric(consumer["name_override"])
    metric.tags[consumer["topic_tag"]] = topic
    metric.fields["value"] = payload.decode()
    if metric.name not in processor["namepass"]:
        return [metric]
    codec = SimpleNamespace(decode=json.loads, encode=lambda v: json.dumps(v, sort_keys=True))
    scope: dict[str, Any] = {"load": lambda *_: None, "json": codec, "Metric": Metric}
    exec(source(), scope)
    return scope["apply"](metric)


class Telegraf:
    """Subscribes as the configuration says, and keeps the points."""

    def __init__(self, port: int) -> None:
        (consumer,) = configuration()["inputs"]["mqtt_consumer"]
        self.points: list[Metric] = []
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=consumer["client_id"],
            clean_session=not consumer["persistent_session"],
        )
        topics = [(topic, consumer["qos"]) for topic in consumer["topics"]]
        self._client.on_connect = lambda client, *_: client.subscribe(topics)
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _take(self, _client: object, _data: object, message: Any) -> None:
        self.points += applied(message.topic, message.payload)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def line_protocol(metric: Metric) -> str:
    """A point as Telegraf's `influx` serializer writes it."""
    tags = "".join(f",{_escaped(k)}={_escaped(v)}" for k, v in sorted(metric.tags.items()))
    fields = ",".join(f"{_escaped(k)}={_value(v)}" for k, v in sorted(metric.fields.items()))
    return f"{metric.name}{tags} {fields} {metric.time}"


def _escaped(text: str) -> str:
    return text.replace(",", r"\,").replace("=", r"\=").replace(" ", r"\ ")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return f"{value:.17g}"
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
